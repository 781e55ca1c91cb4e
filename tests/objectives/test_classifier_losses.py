import math
import sys

import pytest
import torch
from torch import nn

from nls.attacks import is_correct
from nls.errors import UserError
from nls.levelset import class_margin
from nls.networks.classifiers import build_classifier
from nls.objectives.base import Moment, rows_to_train_on, warmed_up
from nls.objectives.classifiers import METHODS, make_method
from nls.objectives.large_margin import LargeMargin
from nls.objectives.madry import Madry
from nls.objectives.mma import MMA
from nls.objectives.robust import RobustLevelSets, fastest_axis_distance
from nls.objectives.settings import check_settings
from nls.objectives.trades import Trades

SETTINGS = {
    "standard": {},
    "madry": {"eps": 0.1, "steps": 3},
    "trades": {"eps": 0.1, "beta": 6, "steps": 3},
    "ours": {
        "eps_correct": 0.3,
        "eps_wrong": 0.3,
        "eps_attack": 0.1,
        "steps": 10,
        "step_size": 0.05,
        "lost_weight": 1,
    },
    "mma": {"eps_max": 0.3, "steps": 5, "step_size": 0.1},
    "large-margin": {"gamma": 0.2},
    "mart": {"eps": 0.1, "steps": 3},
    "hat": {"eps": 0.1, "steps": 3, "helper": "helper.pt"},
    "dyart": {"radius": 0.3, "weight": 3, "steps": 3, "burn_in_epochs": 0},
    "ours-level": {"eps": 0.1, "steps": 3},
    "ours-linf": {"eps": 0.1, "wanted": 0.12, "weight": 3, "steps": 5, "step_size": 0.05},
}


def moment(epoch=0.0):
    return Moment(epoch, torch.Generator().manual_seed(0))


def linear(weights, bias):
    model = nn.Sequential(nn.Flatten(), nn.Linear(weights.shape[1], len(weights)))
    model[1].weight.data = weights.clone()
    model[1].bias.data = bias.clone()
    return model


@pytest.fixture
def plane():
    """Two classes in the plane: F^0 = 2·(4 x₁ + 1 x₂ − 2.5), four points, the first and the last one correct."""
    weights = torch.tensor([[4.0, 1.0], [-4.0, -1.0]])
    model = linear(weights, torch.tensor([-2.5, 2.5]))
    images = torch.tensor([[0.7, 0.5], [0.45, 0.5], [0.4, 0.5], [0.3, 0.5]]).reshape(4, 1, 1, 2)
    labels = torch.tensor([0, 0, 1, 1])
    return model, images, labels


def test_rho_takes_the_fastest_axis_and_its_gradient_is_exact():
    # F(x) = a·x − b with a = (3, −1): p(θ) = p − a (a·p − b)/|a|², so dp/db = a/|a|², along axis 0 only in ρ.
    a, b = torch.tensor([3.0, -1.0]), torch.tensor(1.0, requires_grad=True)
    point = torch.tensor([[0.5, 0.5]])
    moved = point - a * ((point @ a)[:, None] - b) / a.dot(a)
    image = torch.tensor([[0.8, 0.1]])
    rho = fastest_axis_distance(image, moved, a.expand(1, 1, 2))
    assert rho.item() == pytest.approx(0.3)
    (gradient,) = torch.autograd.grad(rho.sum(), b)
    assert gradient.item() == pytest.approx(-3 / 10)


def test_eq_12_by_hand_in_the_plane(plane):
    model, images, labels = plane
    method = RobustLevelSets(
        eps_correct=0.4, eps_wrong=0.5, eps_attack=0.4, weight_correct=2, steps=60, step_size=0.02
    )
    loss = method(model, images, labels, moment())
    # Sign steps end in a corner of the box, x ± ε(1, 1); i* is axis 0, since |a₁| > |a₂|. From a sample with
    # 4 x₁ + x₂ − 2.5 = r the segment along (−1, −1)·sign(r) meets the line after |r| / 5 in each axis.
    residual = images.flatten(1) @ torch.tensor([4.0, 1.0]) - 2.5
    rho = residual.abs() / 5
    correct = torch.tensor([True, False, True, True])
    expected = torch.where(correct, 2 * (0.4 - rho), 0.5 + rho).mean()
    assert loss.item() == pytest.approx(expected.item(), abs=2e-4)
    # p_0(θ) = p_0 − a_0 (F(p) − c)/|a|², F = 2(a·x − 2.5); a bias b₀ of class 0 moves F^0 by +b₀, F^1 by −b₀.
    (gradient,) = torch.autograd.grad(loss, model[1].bias)
    speed = 2 * 4 / (4 * 17)  # |dp_0/db_0|
    # An increase of b₀ moves the boundary to smaller x₁ for every sample; ρ grows where x₁ > p₁.
    grows = torch.tensor([1.0, -1.0, -1.0, -1.0])
    expected_gradient = (torch.where(correct, -2.0, 1.0) * grows * speed).mean()
    assert gradient[0].item() == pytest.approx(expected_gradient.item(), rel=1e-3)
    assert gradient[1].item() == pytest.approx(-expected_gradient.item(), rel=1e-3)


@pytest.mark.parametrize("row", [0, 1])
def test_one_step_moves_the_boundary_away_from_a_correct_sample_and_towards_a_wrong_one(plane, row):
    model, images, labels = plane
    method = RobustLevelSets(eps_correct=0.4, eps_wrong=0.5, eps_attack=0.4, steps=40, step_size=0.03)
    image, label = images[row : row + 1], labels[row : row + 1]

    def crossing():
        """The boundary's place on the axis-0 line through the sample."""
        weight, bias = model[1].weight[0] - model[1].weight[1], model[1].bias[0] - model[1].bias[1]
        return ((-bias - weight[1] * image[0, 0, 0, 1]) / weight[0]).item()

    before = abs(image[0, 0, 0, 0].item() - crossing())
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    method(model, image, label, moment()).backward()
    optimizer.step()
    after = abs(image[0, 0, 0, 0].item() - crossing())
    assert (after > before) == (row == 0)


def test_one_row_alone_has_no_batch_statistics():
    normalised = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.BatchNorm1d(2))
    flags = torch.tensor([False, True, False])
    assert rows_to_train_on(normalised, flags).tolist() == []
    assert rows_to_train_on(normalised[:2], flags).tolist() == [1]
    assert rows_to_train_on(normalised, ~flags).tolist() == [0, 2]


def test_the_loss_is_right_at_theta_0_under_batch_normalisation():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    model[1].momentum = 0.0
    model[1].running_mean += 0.1
    model[1].running_var *= 3
    nn.init.normal_(model[4].weight)
    images, labels = torch.rand(40, 1, 4, 4), torch.randint(2, (40,))
    method = RobustLevelSets(eps_correct=0.5, eps_wrong=0.5, eps_attack=0.5, steps=20, step_size=0.05)
    found = method.find_boundary(model, images, labels, 0.5, moment().generator)
    assert len(found.rows) > 10
    model.eval()
    assert class_margin(model(found.points), labels[found.rows]).abs().max() < 0.1
    model.train()
    assert class_margin(model(found.points), labels[found.rows]).abs().max() > 0.1
    axis = found.jacobian.flatten(1).abs().argmax(1, keepdim=True)
    rho = (images[found.rows] - found.points).flatten(1).gather(1, axis)[:, 0].abs()
    expected = torch.where(found.correct, (0.5 - rho).clamp_min(0), 0.5 + rho).sum() / 40
    loss = method(model, images, labels, moment())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_no_boundary_in_reach_is_a_loss_of_zero():
    model = linear(torch.zeros(2, 4), torch.tensor([1.0, 0.0]))
    method = RobustLevelSets(eps_correct=0.1, eps_wrong=0.1, eps_attack=0.1, steps=3)
    loss = method(model, torch.rand(5, 1, 2, 2), torch.tensor([0, 1, 0, 1, 0]), moment())
    loss.backward()
    assert loss.item() == 0
    assert model[1].weight.grad is None
    # Drawn back on request: two wrong samples with a margin of −1 among five.
    drawn = RobustLevelSets(eps_correct=0.1, eps_wrong=0.1, eps_attack=0.1, steps=3, lost_weight=2)
    assert drawn(
        model, torch.rand(5, 1, 2, 2), torch.tensor([0, 1, 0, 1, 0]), moment()
    ).item() == pytest.approx(0.8)


def test_eps_warms_up_by_epoch():
    assert [warmed_up(0.001, 0.045, 50, epoch) for epoch in (0, 25, 50, 90)] == pytest.approx(
        [0.001, 0.023, 0.045, 0.045]
    )
    assert warmed_up(0.1, 0.4, 0, 0) == 0.4


@pytest.fixture
def binary():
    """A linear model of two classes with room inside the unit box, so that inner maxima are known exactly."""
    torch.manual_seed(0)
    model = linear(torch.randn(2, 9), torch.zeros(2))
    images, labels = torch.rand(30, 1, 3, 3) * 0.4 + 0.3, torch.randint(2, (30,))
    return model, images, labels


def worst_margins(model, images, labels, eps):
    """F^y − ε·|w_y − w_other|₁."""
    difference = model[1].weight[0] - model[1].weight[1]
    return class_margin(model(images), labels) - eps * difference.abs().sum()


def test_madry_equals_its_closed_form_on_a_linear_model(binary):
    model, images, labels = binary
    loss = Madry(eps=0.2, steps=50, step_size=0.02)(model, images, labels, moment())
    expected = torch.nn.functional.softplus(-worst_margins(model, images, labels, 0.2)).mean()
    torch.testing.assert_close(loss, expected)
    ours, theirs = (torch.autograd.grad(value, model[1].weight)[0] for value in (loss, expected))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_trades_equals_its_closed_form_on_a_linear_model(binary):
    model, images, labels = binary
    loss = Trades(eps=0.2, beta=6, steps=80, step_size=0.02)(model, images, labels, moment())
    logits = model(images)
    difference = model[1].weight[0] - model[1].weight[1]
    reach = 0.2 * difference.abs().sum()
    s = logits[:, 0] - logits[:, 1]
    p = s.sigmoid()

    def divergence(t):
        """KL of Bernoulli(σ(s)) from Bernoulli(σ(t))."""
        entropy = p * p.log() + (1 - p) * (1 - p).log()
        return entropy - p * nn.functional.logsigmoid(t) - (1 - p) * nn.functional.logsigmoid(-t)

    # The divergence is convex in t with its minimum at s: each maximum is at an end; which end sign steps find
    # depends on the Gaussian start.
    ends = torch.stack([divergence(s - reach), divergence(s + reach)])
    natural = nn.functional.cross_entropy(logits, labels)
    per_sample = (loss - natural) / 6 * 30
    low, high = ends.amin(0).sum(), ends.amax(0).sum()
    assert low <= per_sample <= high + 1e-4
    single = Trades(eps=0.2, beta=6, steps=80, step_size=0.02)(model, images[:1], labels[:1], moment())
    robust = ((single - nn.functional.cross_entropy(logits[:1], labels[:1])) / 6).item()
    assert min(abs(robust - end) for end in ends[:, 0].tolist()) < 1e-4


def test_warm_up_starts_at_the_standard_loss(binary):
    model, images, labels = binary
    standard = make_method("standard", {})(model, images, labels, moment())
    for method in (Madry(eps=0.2, warm_up_epochs=5), Trades(eps=0.2, beta=6, warm_up_epochs=5)):
        torch.testing.assert_close(method(model, images, labels, moment(0.0)), standard)
        assert method(model, images, labels, moment(2.0)) > standard


@pytest.mark.parametrize(("name", "epsilon"), [("mma", "eps_max"), ("mart", "eps"), ("hat", "eps")])
def test_later_methods_warm_up_as_a_smaller_eps(name, epsilon, binary, tmp_path, monkeypatch):
    model, images, labels = binary
    monkeypatch.chdir(tmp_path)
    torch.save(model.state_dict(), "helper.pt")
    settings = SETTINGS[name] | {"step_size": 0.1, epsilon: 0.3}
    half = settings | {"step_size": 0.05, epsilon: 0.15}
    warm = make_method(name, settings | {"warm_up_epochs": 4.0})
    assert torch.equal(
        warm(model, images, labels, moment(2.0)), make_method(name, half)(model, images, labels, moment())
    )
    assert torch.equal(
        warm(model, images, labels, moment(4.0)), make_method(name, settings)(model, images, labels, moment())
    )


@pytest.mark.parametrize("name", ["madry", "trades", "ours", "mma", "mart", "hat", "ours-level", "ours-linf"])
def test_fading_steps_reach_the_search_of_every_method(name, binary, tmp_path, monkeypatch):
    model, images, labels = binary
    monkeypatch.chdir(tmp_path)
    torch.save(model.state_dict(), "helper.pt")

    def loss(size, fading):
        settings = SETTINGS[name] | {"steps": 2, "step_size": size, "fading_steps": fading}
        return make_method(name, settings)(model, images, labels, moment())

    # On a linear model both steps have one direction: 1 + 1/2 of the size are two steps of 3/4.
    for size in (0.04, 0.2):
        torch.testing.assert_close(loss(size, True), loss(0.75 * size, False))
    # The point of MMA is the same if both searches cross the boundary.
    assert any(abs(loss(size, True) - loss(size, False)) > 1e-5 for size in (0.04, 0.2))


def test_large_margin_is_the_distance_of_a_linear_model(binary):
    model, images, labels = binary
    difference = (model[1].weight[0] - model[1].weight[1]).detach()
    distance = class_margin(model(images), labels) / difference.abs().sum()
    loss = LargeMargin(gamma=0.1)(model, images, labels, moment())
    torch.testing.assert_close(loss, (0.1 - distance).clamp_min(0).mean())


def test_mma_weighs_boundary_points_of_near_samples(binary):
    model, images, labels = binary
    model[1].bias.data = -model[1].weight.data.sum(dim=1) / 2
    loss = MMA(eps_max=0.05, steps=40, step_size=0.01)(model, images, labels, moment())
    margins = class_margin(model(images), labels)
    near = (margins > 0) & (worst_margins(model, images, labels, 0.05) < 0)
    assert near.any()
    assert (~near & (margins > 0)).any()
    natural = nn.functional.softplus(-margins)
    # On the boundary of two classes the cross-entropy is log 2.
    term = torch.where(near, math.log(2), torch.where(margins < 0, natural, 0.0)).mean()
    torch.testing.assert_close(loss, natural.mean() / 3 + 2 / 3 * term, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_and_leaves_the_model_in_training_mode(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    images, labels = torch.rand(32, 1, 8, 8), torch.arange(32) % 4
    for label in range(4):
        images[labels == label, 0, 2 * label] *= 0.2
    model = build_classifier("convnet-small", 1, 8, 4)
    torch.save(model.state_dict(), "helper.pt")
    method = make_method(name, SETTINGS[name])
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        method(model, images, labels, moment()).backward()
        optimizer.step()
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert is_correct(model, images, labels).float().mean() > 0.6


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("normalised", [False, True])
def test_a_gpu_takes_all_rows_and_gets_the_same_loss(name, normalised, tmp_path, monkeypatch):
    """Samples without a boundary point, and solved segments, stay in the batch there and must not count."""
    torch.manual_seed(3)
    layers = [
        nn.Flatten(),
        nn.Linear(6, 12),
        *[nn.BatchNorm1d(12, momentum=0.0)] * normalised,
        nn.ReLU(),
        nn.Linear(12, 3),
    ]
    model = nn.Sequential(*layers).double()
    monkeypatch.chdir(tmp_path)
    torch.save(model.state_dict(), "helper.pt")
    images, labels = torch.rand(30, 1, 2, 3, dtype=torch.float64), torch.randint(3, (30,))
    found = RobustLevelSets(eps_correct=0.3, eps_wrong=0.3, eps_attack=0.1).find_boundary(
        model, images, labels, 0.3, moment().generator
    )
    assert found.lost.any()
    assert 0 < len(found.rows) < 30

    def loss_and_gradients():
        loss = make_method(name, SETTINGS[name])(model, images, labels, moment())
        return [loss, *torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)]

    on_a_cpu = loss_and_gradients()
    for module in (
        "nls.levelset.newton",
        "nls.levelset.false_position",
        "nls.objectives.base",
    ):
        monkeypatch.setattr(
            sys.modules[module], "rows_where", lambda flags, members=1: torch.arange(len(flags))
        )
    for one, other in zip(loss_and_gradients(), on_a_cpu, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_a_method_of_the_users_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_method.py").write_text(
        "class MyMethod:\n"
        "    def __init__(self, factor):\n"
        "        self.factor = factor\n"
        "    def __call__(self, model, images, labels, moment):\n"
        "        return self.factor * model(images).square().mean()\n"
    )
    method = make_method("my_method.py:MyMethod", {"factor": 2.0})
    model = linear(torch.ones(2, 4), torch.zeros(2))
    assert method(model, torch.ones(1, 1, 2, 2), torch.tensor([0]), moment()).item() == 32
    with pytest.raises(UserError, match="does not take the settings"):
        make_method("my_method.py:MyMethod", {"factors": 2.0})


def test_an_unknown_method_lists_the_known_ones():
    with pytest.raises(UserError, match=r"unknown loss .fgsm.: take one of standard, madry"):
        make_method("fgsm", {})


def test_the_search_costs_one_pass_an_iteration_and_no_gradient_of_parameters(plane):
    model, images, labels = plane
    method = RobustLevelSets(eps_correct=0.4, eps_wrong=0.5, eps_attack=0.4, steps=12, step_size=0.1)
    passes = []
    model.register_forward_hook(
        lambda module, inputs, output: passes.append(any(p.requires_grad for p in module.parameters()))
    )
    method.find_boundary(model, images, labels, 0.4, moment().generator)
    # The margins of both ends, the search's steps, false position, the gradient at the roots.
    assert len(passes) <= 2 + 12 + 6 + 1
    assert not any(passes)
    assert all(p.requires_grad for p in model.parameters())


def test_a_radius_that_steps_are_measured_by_is_not_0():
    with pytest.raises(
        UserError, match=r"ours: eps_attack: 0 is not allowed: input should be greater than 0"
    ):
        check_settings(METHODS["ours"], SETTINGS["ours"] | {"eps_attack": 0}, "ours")
