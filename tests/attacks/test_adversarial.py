import numpy as np
import pytest
import torch
from torch import nn

from nls.attacks import Ball, attack, check_adversarial, read_adversarial, save_adversarial
from nls.attacks.adversarial import Saved
from nls.cli import main

FACTORY = "from torch import nn\n\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(36, 5))\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A linear classifier of the brightest of five pixels, its images, and what ``nls attack`` saved of it."""
    path = tmp_path_factory.mktemp("adversarial")
    (path / "model.py").write_text(FACTORY)
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 5
    images = torch.randint(50, 110, (40, 6, 6), generator=draws)
    images.flatten(1)[torch.arange(40), labels] += torch.randint(10, 120, (40,), generator=draws)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 5))
    model[1].weight.data = 6 * torch.eye(5, 36) + 0.1 * torch.randn(5, 36, generator=draws)
    torch.save(model.state_dict(), path / "weights.pt")
    model[1].weight.data += 3 * torch.randn(5, 36, generator=draws)
    torch.save(model.state_dict(), path / "others.pt")
    pixels = images.to(torch.uint8).numpy()
    np.savez(path / "set.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    np.savez(path / "other.npz", x_train=pixels, y_train=labels, x_test=pixels[::-1], y_test=labels)
    return path


def attacked(folder, norm, eps, name):
    words = ["--dataset", "set.npz", "--data-root", ".", "--eps", eps, "--norm", norm, "--restarts", "2"]
    words += [
        "--steps",
        "10",
        "--step-size",
        "0.05",
        "--apgd-steps",
        "5",
        "--fab-steps",
        "5",
        "--queries",
        "50",
    ]
    words += ["--save-adversarial", name, "--out", "attack.json"]
    assert main(["attack", "--model", "model.py:net", "--weights", "weights.pt", *words]) == 0


def verified(name, weights="weights.pt"):
    return main(["verify", name, "--model", "model.py:net", "--weights", weights, "--data-root", "."])


@pytest.mark.parametrize(("norm", "eps"), [("linf", "0.1"), ("l2", "0.25")])
def test_saved_points_are_verified(folder, norm, eps, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    attacked(folder, norm, eps, "points.npz")
    saved = read_adversarial(folder / "points.npz")
    assert 5 < saved.withstood.sum() < 35
    assert saved.ball == Ball(float(eps), norm)
    capsys.readouterr()
    assert verified("points.npz") == 0
    printed = capsys.readouterr().out
    assert "points        40 of set.npz, in [0, 1]" in printed
    assert "verdicts      as reported" in printed
    assert f"robust accuracy {saved.withstood.double().mean():.2%}" in printed
    # numpy alone reads it too, without pickles.
    arrays = dict(np.load(folder / "points.npz"))
    assert arrays["points"].shape == (40, 1, 6, 6)
    assert arrays["points"].dtype == np.float32


@pytest.mark.parametrize(("side", "eps"), [(32, 5.0), (224, 2.0)])
def test_the_rounding_of_many_pixels_is_no_step_out_of_the_ball(side, eps):
    """The ends of steps of PGD in L2; a thousandth more than ε is outside."""
    draws = torch.Generator().manual_seed(0)
    images = 0.45 + 0.1 * torch.rand((40, 3, side, side), generator=draws)
    ball = Ball(eps, "l2")
    points = ball.step(images, torch.randn(images.shape, generator=draws), 2 * eps, images)
    model, labels = nn.Sequential(nn.Flatten(), nn.Linear(3 * side**2, 2)), torch.zeros(40, dtype=torch.long)
    withstood = model(points).argmax(dim=1) == labels

    def outside(points):
        saved = Saved(points, labels, withstood, ball, 1, "", "")
        return check_adversarial(saved, model, images, labels)["outside_ball"]

    assert outside(points) == 0
    assert outside(images + 1.001 * (points - images)) == 40


def change(folder, name, **values):
    arrays = dict(np.load(folder / "points.npz")) | values
    np.savez(folder / name, **{key: value for key, value in arrays.items() if value is not None})


@pytest.fixture
def points(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    attacked(folder, "linf", "0.1", "points.npz")
    capsys.readouterr()
    return dict(np.load(folder / "points.npz"))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda points: {"eps": 0.05}, "are outside the ball (farthest 0.1"),
        (lambda points: {"points": points["points"] - 0.4}, "are outside [0, 1]"),
        (lambda points: {"points": points["points"] * np.nan}, "40 of 40 points are outside the ball"),
        (lambda points: {"withstood": ~points["withstood"]}, "40 of 40 points are judged otherwise"),
        (lambda points: {"points": points["points"][:10]}, "belong to other images"),
        (lambda points: {"labels": points["labels"][::-1].copy()}, "belong to other images"),
        (lambda points: {"fingerprint": "x"}, "was made on other test images than those of set.npz here"),
        (lambda points: {"dataset": "other.npz"}, "was made on other test images"),
        (lambda points: {"norm": None}, "is no file that nls attack --save-adversarial wrote"),
        (lambda points: {"points": np.array([{}])}, "is no file that nls attack --save-adversarial wrote"),
    ],
)
def test_what_is_not_as_reported_is_one_line(folder, points, make, told, capsys):
    change(folder, "changed.npz", **make(points))
    assert verified("changed.npz") == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_model_whose_logits_are_nan_confirms_nothing(folder, points, capsys):
    """Neither that all points are adversarial, which nan seems to make of them, nor anything else."""
    weights = torch.load(folder / "weights.pt", weights_only=True)
    torch.save({name: value * torch.nan for name, value in weights.items()}, folder / "nan.pt")
    change(folder, "broken.npz", withstood=points["labels"] == 0)
    for name in ("points.npz", "broken.npz"):
        assert verified(name, "nan.pt") == 2
        error = capsys.readouterr().err
        assert "the model returns NaN or infinite logits" in error
        assert error.count("\n") == 1


def test_other_weights_and_files_that_are_none(folder, points, capsys):
    assert verified("points.npz", "others.pt") == 2
    assert "are judged otherwise by this model with these weights" in capsys.readouterr().err
    (folder / "text.npz").write_text("hello")
    for name, told in (("text.npz", "is no file that nls attack"), ("absent.npz", "there is no such file")):
        assert verified(name) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1


def test_points_of_a_report_from_python(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 4))
    images, labels = torch.rand(30, 1, 3, 3), torch.randint(4, (30,))
    report = attack(model, images, labels, eps=0.15, attacks=["pgd-margin"], steps=5, step_size=0.05)
    assert 0 < report.minimum.sum() < report.clean.sum() < 30
    # Where no attack was needed, or none succeeded, the image itself stands.
    same = (report.points == images).flatten(1).all(dim=1)
    assert torch.equal(same, ~report.clean | report.minimum)
    save_adversarial(tmp_path / "p.npz", report, labels, "mine", "")
    found = check_adversarial(read_adversarial(tmp_path / "p.npz"), model, images, labels)
    assert found["outside_ball"] == found["outside_unit_box"] == found["other_verdict"] == 0
    assert found["robust_accuracy"] == pytest.approx(report.to_dict()["robust_accuracy"]["min"])
