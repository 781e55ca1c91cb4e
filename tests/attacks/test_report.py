from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import nls
from nls.attacks import ATTACKS, Ball, Effort, attack, is_correct, library_attack
from nls.attacks.masking import masking_reasons, vanishing_share
from nls.errors import UserError

QUICK = Effort(apgd_steps=8, fab_steps=8, queries=60)


@pytest.fixture(scope="module")
def examples():
    """Clusters around ten corners and a linear classifier of them: distances to the boundary are known."""
    torch.manual_seed(1)
    side = 5
    labels = torch.arange(60) % 10
    centres = torch.full((10, 1, side, side), 0.4)
    for label in range(10):
        centres[label, 0].view(-1)[label] = 0.7
    images = (centres[labels] + torch.randn(60, 1, side, side) * 0.04).clamp(0, 1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(side**2, 10))
    model[1].weight.data = 8 * torch.eye(10, side**2)
    model[1].bias.data.zero_()
    return model, images, labels


def exact_robust_accuracy(model, images, labels, eps):
    """The margin of class y against class i falls by eps·|w_y − w_i|₁ = eps·16 at most, short of the unit box."""
    logits = model(images)
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    margin = logits.gather(1, labels[:, None])[:, 0] - others
    return float((margin > 16 * eps).float().mean())


def test_figures_of_a_linear_model_are_exact(examples):
    model, images, labels = examples
    eps = 0.11
    exact = exact_robust_accuracy(model, images, labels, eps)
    report = attack(model, images, labels, eps=eps, effort=QUICK, step_size=0.02, steps=20).to_dict()
    assert 0.2 < exact < 0.8
    assert report["n"] == 60
    assert report["clean_accuracy"] == 1
    assert exact <= report["robust_accuracy"]["pgd-margin"] < 1
    assert report["robust_accuracy"]["min"] == pytest.approx(exact)
    assert report["robust_accuracy"]["autoattack"] == pytest.approx(exact)
    assert set(report["robust_accuracy"]) == {"pgd-xent", "pgd-margin", "autoattack", "min"}
    assert nls.attack is attack


@pytest.mark.parametrize("name", ["apgd-ce", "apgd-t", "fab-t", "square"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_library_attacks_stay_in_the_ball_and_repeat(examples, name, norm):
    model, images, labels = examples
    ball = Ball(0.1 if norm == "linf" else 0.25, norm)
    settings = {"classes": 10, "effort": QUICK, "seed": 3}
    first, second = (library_attack(name, model, images, labels, ball, **settings) for _ in range(2))
    assert torch.equal(first, second)
    offset = (first - images).flatten(1)
    assert (offset.abs().amax(1) if norm == "linf" else offset.norm(dim=1)).max() <= ball.eps + 1e-6
    assert first.min() >= 0
    assert first.max() <= 1
    assert is_correct(model, first, labels).float().mean() < 1


def test_eps_zero_gives_the_clean_accuracy(examples):
    model, images, labels = examples
    labels = labels.clone()
    labels[:7] = (labels[:7] + 1) % 10
    report = attack(model, images, labels, eps=0, attacks=ATTACKS, effort=QUICK, steps=3).to_dict()
    assert report["clean_accuracy"] == pytest.approx(53 / 60)
    assert set(report["robust_accuracy"].values()) == {report["clean_accuracy"]}


def test_more_steps_or_starts_never_help_the_model(examples):
    model, images, labels = examples
    figures = [
        attack(
            model,
            images,
            labels,
            eps=0.1,
            attacks=["pgd-xent"],
            steps=steps,
            restarts=restarts,
            step_size=0.004,
        )
        for steps, restarts in [(2, 1), (6, 1), (12, 1), (12, 3)]
    ]
    left = [report.minimum for report in figures]
    for weaker, stronger in pairwise(left):
        assert (weaker | ~stronger).all()
    assert left[0].sum() > left[-1].sum()


def test_the_mean_over_starts_stands_beside_the_worst_case(examples):
    model, images, labels = examples
    settings = {"eps": 0.1, "attacks": ["pgd-xent"], "steps": 2, "restarts": 8, "step_size": 0.01}
    report = attack(model, images, labels, mean_over_starts=True, **settings)
    figures = report.to_dict()
    assert report.starts["pgd-xent"].shape == (8, 60)
    mean = report.starts["pgd-xent"].double().mean()
    assert figures["mean_over_starts"]["pgd-xent"] == pytest.approx(float(mean))
    assert figures["robust_accuracy"]["pgd-xent"] < figures["mean_over_starts"]["pgd-xent"]
    # Without the mean, a start works on what those before have left, and the worst case is the same.
    worst = attack(model, images, labels, **settings)
    assert torch.equal(worst.robust["pgd-xent"], report.robust["pgd-xent"])
    assert worst.to_dict()["mean_over_starts"] == {}


def test_named_members_are_reported_and_belong_to_autoattack(examples):
    model, images, labels = examples
    report = attack(model, images, labels, eps=0.1, attacks=["square", "apgd-ce", "autoattack"], effort=QUICK)
    both = report.robust["square"] & report.robust["apgd-ce"]
    assert (both | ~report.robust["autoattack"]).all()


def test_a_saturated_model_is_flagged(examples):
    model, images, labels = examples
    saturated = nn.Sequential(model, nn.Threshold(-1e9, 0), _Scale(1e4))
    report = attack(
        saturated, images, labels, eps=0.1, attacks=["pgd-xent", "pgd-margin", "square"], effort=QUICK
    ).to_dict()
    assert report["vanishing_gradient_share"]["pgd-xent"] > 0.9
    assert report["vanishing_gradient_share"]["pgd-margin"] == 0
    assert report["gradient_masking"]["flagged"]
    assert any("gradient of pgd-xent vanishes" in reason for reason in report["gradient_masking"]["reasons"])


def test_the_share_of_vanishing_gradients_is_among_the_correct_examples(examples):
    """Half of the labels are wrong; there the saturated cross-entropy is steep, where they are right it is flat."""
    model, images, labels = examples
    labels = torch.where(torch.arange(60) < 30, labels, (labels + 1) % 10)
    saturated = nn.Sequential(model, _Scale(1e4))
    report = attack(
        saturated, images, labels, eps=0.01, attacks=["pgd-xent"], steps=1, effort=QUICK
    ).to_dict()
    assert report["clean_accuracy"] == 0.5
    assert report["vanishing_gradient_share"]["pgd-xent"] == 1
    assert "on 100.0% of the correct examples" in report["gradient_masking"]["reasons"][0]


class _Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


def test_a_black_box_figure_below_a_white_box_one_is_a_reason():
    figures = {"pgd-xent": 1.0, "pgd-margin": 0.93, "apgd-t": 0.96, "square": 0.94}
    reasons = masking_reasons(figures, {"pgd-xent": 0.01})
    assert reasons == [
        "square leaves 94.00%, less than pgd-xent with 100.00%",
        "square leaves 94.00%, less than apgd-t with 96.00%",
    ]
    assert masking_reasons({"pgd-xent": 0.9, "square": 0.9, "transfer": 0.95}, {"pgd-xent": 0.0}) == []
    assert len(masking_reasons({"pgd-xent": 0.9, "transfer": 0.85}, {"pgd-xent": 0.5})) == 2


def test_the_gradient_of_a_plain_model_does_not_vanish(examples):
    model, images, labels = examples
    assert vanishing_share(model, images, labels, "xent") == 0
    assert vanishing_share(model, images[:0], labels[:0], "xent") == 0


class _NaN(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :10] * torch.nan


class _Answers(nn.Module):
    def forward(self, x):
        return {"logits": x.flatten(1)[:, :10]}


def _double():
    return nn.Sequential(nn.Flatten(), nn.Linear(25, 10)).double()


def test_labels_of_32_bits_and_a_model_in_float64_under_pgd(examples):
    _, images, labels = examples
    double, wide = _double(), images.double()
    for change in (torch.Tensor.int, torch.Tensor.long):
        found = attack(double, wide, change(labels), eps=0.1, attacks=["pgd-xent"], steps=2)
        assert len(found.clean) == len(images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eps": -0.1}, "eps must be 0 or larger"),
        ({"eps": float("nan")}, "eps must be 0 or larger"),
        ({"attacks": ["pgd-xent", "deepfool"]}, "unknown attack 'deepfool': take some of pgd-xent"),
        ({"attacks": []}, "no attack is named"),
        ({"images": torch.rand(0, 1, 5, 5), "labels": torch.zeros(0, dtype=torch.int64)}, "no examples"),
        ({"images": torch.full((60, 1, 5, 5), 2.0)}, "must lie in \\[0, 1\\], not in \\[2, 2\\]"),
        ({"images": torch.rand(60, 3, 5, 5)}, "does not take images of shape \\(3, 5, 5\\)"),
        ({"labels": torch.full((60,), 10)}, "label 10 is out of range: the model has 10 classes"),
        ({"labels": torch.full((60,), -1)}, "label -1 is out of range"),
        (
            {"labels": torch.zeros(59, dtype=torch.int64)},
            r"shape \(60,\), one an image, not .* shape \(59,\)",
        ),
        ({"labels": torch.zeros(60)}, "labels must be whole numbers"),
        ({"labels": torch.zeros(60, 10, dtype=torch.int64)}, r"not torch.int64 of shape \(60, 10\)"),
        ({"labels": [0] * 60}, "must be tensors"),
        ({"images": np.zeros((60, 1, 5, 5))}, "must be tensors"),
        ({"images": torch.rand(60, 1, 5, 5).double(), "model": _double()}, "float64 is for PGD alone"),
        ({"model": _NaN()}, "NaN or infinite"),
        ({"model": _Answers()}, "logits of shape \\(n, classes\\), not a dict"),
        ({"restarts": 0}, "restarts >= 1"),
        ({"batch_size": 0}, "the batch size must be at least 1"),
        ({"norm": "l1"}, "unknown norm 'l1'"),
    ],
)
def test_bad_input_is_one_line(examples, change, message):
    model, images, labels = examples
    arguments = {"model": model, "images": images, "labels": labels, "eps": 0.1} | change
    with pytest.raises(UserError, match=message) as error:
        attack(**arguments)
    assert "\n" not in str(error.value)


def test_images_on_a_device_that_no_attack_knows_are_refused():
    """The meta device stands for those of other machines, such as mps and xpu."""
    images, labels = torch.rand(2, 1, 4, 4, device="meta"), torch.zeros(2, dtype=torch.long, device="meta")
    with pytest.raises(UserError, match="the images are on meta: move them and the model to cpu or cuda"):
        attack(nn.Flatten(), images, labels, eps=0.1, attacks=["pgd-xent"])


def test_no_effort_is_refused():
    with pytest.raises(UserError, match="queries must be at least 1"):
        Effort(queries=0)


def test_square_in_l2_needs_five_pixels():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 10))
    images, labels = torch.rand(4, 1, 4, 4), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(UserError, match="images of 5 x 5 pixels or more"):
        library_attack("square", model, images, labels, Ball(0.1, "l2"), classes=10, effort=QUICK, seed=0)


def test_targeted_apgd_needs_four_classes():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    images, labels = torch.rand(4, 1, 2, 2), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(UserError, match="targeted APGD needs four classes, not 3"):
        library_attack("apgd-t", model, images, labels, Ball(0.1), classes=3, effort=QUICK, seed=0)
