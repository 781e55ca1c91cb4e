import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from nls.cli import main
from nls.data import load_images

MODEL = """
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))

def half():
    return net().half()

def double():
    return net().double()

def broken():
    raise KeyError("nope")

def number():
    return 3

def nan():
    class NaN(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net()
        def forward(self, x):
            return self.inner(x) * float("nan")
    return NaN()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model trained without this project: its file, and its weights in both formats."""
    path = tmp_path_factory.mktemp("model")
    (path / "model.py").write_text(MODEL)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    data = load_images("digits", path)
    images = torch.from_numpy(data.train.images.copy()).float() / 255
    labels = torch.from_numpy(data.train.labels)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    torch.save(network.state_dict(), path / "weights.pt")
    save_file(network.state_dict(), path / "weights.safetensors")
    return path


def _words(folder, **changes):
    options = {
        "model": f"{folder / 'model.py'}:net",
        "weights": folder / "weights.pt",
        "dataset": "digits",
        "data-root": folder,
        "eps": 0.2,
        "attacks": "pgd-xent,pgd-margin,autoattack",
        "steps": 10,
        "step-size": 0.04,
        "limit": 80,
        "restarts": 2,
        "apgd-steps": 10,
        "fab-steps": 10,
        "queries": 50,
    } | changes
    return ["attack", *(word for name, value in options.items() for word in (f"--{name}", str(value)))]


def test_report_on_a_model_from_outside(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    for weights, out in [("weights.pt", "a.json"), ("weights.safetensors", "b.json")]:
        words = _words(folder, weights=folder / weights, out=folder / out)
        assert main([*words, "--mean-over-starts"]) == 0
    report = json.loads((folder / "a.json").read_text())
    assert report["n"] == 80
    assert report["clean_accuracy"] > 0.85
    assert set(report["robust_accuracy"]) == {"pgd-xent", "pgd-margin", "autoattack", "min"}
    assert report["robust_accuracy"]["min"] == min(report["robust_accuracy"].values())
    assert report["robust_accuracy"]["min"] < 0.2
    assert report["settings"]["eps"] == 0.2
    assert report["settings"]["pgd"]["starts"] == 2
    other = json.loads((folder / "b.json").read_text())
    assert other["robust_accuracy"] == report["robust_accuracy"]
    printed = capsys.readouterr().out
    assert "threat model  L∞, eps 0.2" in printed
    assert "mean over starts" in printed


@pytest.mark.parametrize(("factory", "kind"), [("half", "float16"), ("double", "float64")])
def test_a_network_of_other_numbers_is_attacked_in_float32_and_told(
    folder, factory, kind, capsys, monkeypatch
):
    monkeypatch.chdir(folder)
    quick = {"attacks": "pgd-margin", "steps": 2, "limit": 20}
    for name in ("net", factory):
        assert main(_words(folder, model=f"model.py:{name}", out=f"{name}.json", **quick)) == 0
    assert f"network       its {kind} turned into float32" in capsys.readouterr().out
    figures = [
        json.loads((folder / f"{name}.json").read_text())["robust_accuracy"] for name in ("net", factory)
    ]
    assert figures[0] == figures[1]


class _Evil:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.fixture(scope="module")
def bad_weights(folder):
    good = torch.load(folder / "weights.pt", weights_only=True)
    torch.save(_Evil(), folder / "evil.pt")
    torch.save(good | {"0.weight": torch.zeros(8, 1, 5, 5)}, folder / "shape.pt")
    torch.save({k: v for k, v in good.items() if k != "3.bias"}, folder / "lacks.pt")
    torch.save(good | {"9.weight": torch.zeros(2)}, folder / "extra.pt")
    torch.save([1, 2], folder / "list.pt")
    (folder / "text.pt").write_text("hello")
    (folder / "cut.pt").write_bytes((folder / "weights.pt").read_bytes()[:2000])
    np.savez(
        folder / "empty.npz",
        x_train=np.zeros((3, 8, 8), np.uint8),
        y_train=np.arange(3),
        x_test=np.zeros((0, 8, 8), np.uint8),
        y_test=np.zeros(0, np.int64),
    )
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "evil.pt"}, "evil.pt: refused, because reading it would execute code"),
        ({"weights": "shape.pt"}, "0.weight has shape (8, 1, 5, 5), the network's has (8, 1, 3, 3)"),
        (
            {"weights": "lacks.pt"},
            "lacks 3.bias (10,), which the network has; its keys are 0.weight, 0.bias, 3.weight",
        ),
        ({"weights": "extra.pt"}, "holds 9.weight (2,), which the network lacks"),
        ({"weights": "list.pt"}, "holds a list, no state_dict"),
        ({"weights": "text.pt"}, "text.pt"),
        ({"weights": "cut.pt"}, "cut.pt"),
        ({"weights": "absent.pt"}, "there is no such file"),
        ({"model": "model.py"}, "write FILE.py:FACTORY"),
        ({"model": "absent.py:net"}, "there is no file absent.py"),
        ({"model": "model.py:nets"}, "holds no 'nets'"),
        ({"model": "model.py:broken"}, "the factory failed (KeyError: 'nope')"),
        ({"model": "model.py:number"}, "returned int"),
        ({"dataset": "imagenet"}, "unknown dataset 'imagenet'"),
        ({"dataset": "empty.npz"}, "empty"),
        ({"attacks": "pgd-xent,cw"}, "unknown attack 'cw'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_report(bad_weights, changes, message, capsys, monkeypatch):
    monkeypatch.chdir(bad_weights)
    out = bad_weights / "new" / "never.json"
    assert main(_words(bad_weights, out=out, **changes)) == 2
    error = capsys.readouterr()
    assert message in error.err
    assert len([line for line in error.err.splitlines() if not line.startswith("  ")]) == 1
    assert "executed" not in error.out
    assert not out.parent.exists()


@pytest.mark.parametrize("option", ["--out", "--save-adversarial"])
@pytest.mark.parametrize("place", [".", "model.py/a.json"])
def test_a_place_that_cannot_be_written_is_told_before_the_work(folder, option, place, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    assert main([*_words(folder), option, place]) == 2
    printed = capsys.readouterr()
    assert f"{place}: cannot be written" in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_a_model_that_returns_nan(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    weights = torch.load(folder / "weights.pt", weights_only=True)
    torch.save({f"inner.{name}": value for name, value in weights.items()}, folder / "inner.pt")
    assert main(_words(folder, model="model.py:nan", weights="inner.pt")) == 2
    assert "NaN" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_lines_on_the_way_are_neither_for_the_quiet_nor_among_figures(folder, capfd, monkeypatch, option):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("nls.attacks.progress.LINE_SECONDS", -1)
    assert main([*_words(folder, attacks="pgd-xent", steps=1), option]) == 0
    out, err = capfd.readouterr()
    if option == "--quiet":
        assert (out, err) == ("", "")
    else:
        assert json.loads(out)["n"] == 80
        assert "pgd-xent, start 2\n" in err
