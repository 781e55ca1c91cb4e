from functools import partial

import pytest
import torch
from torch import nn

from nls.errors import UserError
from nls.levelset import SampleNetwork, false_position, newton, project
from nls.networks.ensemble import Ensemble
from nls.networks.small_convnet import SmallConvNet
from nls.objectives import geometric_svm
from nls.objectives.binary import CrossEntropy, Hinge
from nls.objectives.boundary_distance import BoundaryDistance
from nls.objectives.geometric_svm import GeometricSVM
from nls.objectives.settings import make_loss


def affine(weight, bias):
    network = nn.Linear(len(weight), 1).double()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([weight]))
        network.bias.fill_(bias)
    return network


@pytest.fixture
def samples():
    torch.manual_seed(0)
    return torch.randn(40, 3, dtype=torch.float64), torch.where(torch.rand(40) < 0.5, -1.0, 1.0).double()


def test_geometric_svm_is_the_soft_margin_svm_for_an_affine_field(samples):
    """Eq. 11 with α = −2 and d = L2 against Eq. 10, value and gradient."""
    points, labels = samples
    network, regularization = affine([0.7, -1.1, 0.4], 0.2), 0.3
    loss = GeometricSVM(regularization, alpha=-2.0, norm="l2", radius=torch.inf)
    loss(network, points, labels).backward()
    by_loss = [network.weight.grad.clone(), network.bias.grad.clone()]
    value = loss(network, points, labels).detach()
    assert loss.fallback_share == 0

    network.zero_grad()
    hinge = (1 - labels * network(points)[:, 0]).clamp_min(0).mean()
    soft_margin = hinge + regularization * network.weight.square().sum()
    soft_margin.backward()
    torch.testing.assert_close(value, soft_margin.detach())
    torch.testing.assert_close(by_loss, [network.weight.grad, network.bias.grad])


def plain_geometric_svm(network, points, labels, regularization):
    """Eq. 11 with the hinge for samples without all three projections, every value computed anew."""
    reach = partial(project, network, tolerance=1e-3, max_iterations=15)
    found = [reach(points, 0.0)]
    found += [reach(found[0].points, level) for level in (-1.0, 1.0)]
    zero, minus, plus = (SampleNetwork(network, each.points, each.levels, each.jacobian)() for each in found)
    away = (points - zero).flatten(1).abs().amax(dim=1)
    delta = torch.minimum(*((zero - level).flatten(1).abs().amax(dim=1) for level in (minus, plus)))
    total, fallbacks = 0.0, 0
    for i in range(len(points)):
        if all(each.converged[i] for each in found) and 0 < away[i] <= 1 and delta[i] <= 1:
            side = torch.sign(labels[i] * network(points[i : i + 1])[0, 0]).detach()
            total = total + (1 - side * away[i] / delta[i]).clamp_min(0) + regularization / delta[i]
        else:
            total = total + (1 - labels[i] * network(points[i : i + 1])[0, 0]).clamp_min(0)
            fallbacks += 1
    return total / len(points), fallbacks / len(points)


@pytest.mark.parametrize("device", ["cpu", "as on a GPU"])
def test_geometric_svm_equals_its_plain_form(device, monkeypatch):
    """Value and gradient, on a network of which part of the samples fall back; with and without active sets."""
    if device != "cpu":
        for module in (newton, geometric_svm):
            monkeypatch.setattr(module, "rows_where", lambda flags, members=1: torch.arange(len(flags)))
        monkeypatch.setattr(
            geometric_svm, "_with_places", lambda network, points: (network, lambda places: ())
        )
    torch.manual_seed(1)
    network = SmallConvNet(1, 8, 8).double()
    with torch.no_grad():
        network[-1].weight.mul_(20)
    points = torch.rand(24, 1, 8, 8, dtype=torch.float64)
    labels = torch.where(torch.rand(24) < 0.5, -1.0, 1.0).double()
    plain, fallback_share = plain_geometric_svm(network, points, labels, 0.3)
    assert 0.1 < fallback_share < 0.9
    by_plain = torch.autograd.grad(plain, list(network.parameters()))
    loss = GeometricSVM(0.3)
    value = loss(network, points, labels)
    assert loss.fallback_share == fallback_share
    torch.testing.assert_close(value, plain, rtol=0, atol=1e-12)
    gradients = torch.autograd.grad(value, list(network.parameters()))
    for gradient, expected in zip(gradients, by_plain, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


def networks_apart(images):
    """Networks whose projections end early, late, beyond the data and, the dead one, never."""
    for seed, scale in enumerate((1, 20, 100, 0)):
        torch.manual_seed(seed)
        network = SmallConvNet(*images).double()
        with torch.no_grad():
            network[-1].weight.mul_(scale)
        yield network


@pytest.mark.parametrize("device", ["cpu", "as on a GPU"])
@pytest.mark.parametrize("kind", [CrossEntropy, Hinge, partial(GeometricSVM, 0.3)])
def test_networks_together_have_the_losses_and_gradients_of_each_alone(kind, device, monkeypatch):
    if device != "cpu":
        for module in (newton, geometric_svm):
            monkeypatch.setattr(module, "rows_where", lambda flags, members=1: torch.arange(len(flags)))
    networks = list(networks_apart((1, 8, 8)))
    ensemble, together = Ensemble(networks), kind()
    points = torch.rand(24, len(networks), 1, 8, 8, dtype=torch.float64)
    labels = torch.where(torch.rand(24, len(networks)) < 0.5, -1.0, 1.0).double()
    for _ in range(2):  # counts grow from call to call
        found = together(ensemble, points.flatten(0, 1), labels.flatten())
    found.sum().backward()
    shares = []
    for i, network in enumerate(networks):
        alone = kind()
        expected = [alone(network, points[:, i], labels[:, i]) for _ in range(2)][1]
        expected.backward()
        torch.testing.assert_close(found[i], expected, rtol=1e-12, atol=1e-12)
        for stacked, parameter in zip(ensemble.parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(stacked.grad[i], parameter.grad, rtol=1e-9, atol=1e-12)
        shares.append(getattr(alone, "fallback_share", None))
    if isinstance(together, GeometricSVM):
        assert together.fallback_shares == shares
        assert any(0 < share < 1 for share in shares), shares
        assert shares[-1] == 1, "a dead network has no level sets"


def test_roots_of_networks_together_are_those_of_each_alone():
    networks = list(networks_apart((1, 8, 8)))
    start, end = torch.rand(2, 30, len(networks), 1, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        level = float(networks[1](start[:, 1]).median())
    find = partial(false_position, level=level, tolerance=1e-9)
    together = find(Ensemble(networks), start.flatten(0, 1), end.flatten(0, 1))
    assert 0 < together.bracketed.sum() < len(together.bracketed)
    for i, network in enumerate(networks):
        alone = find(network, start[:, i], end[:, i])
        torch.testing.assert_close(together.points.unflatten(0, (30, -1))[:, i], alone.points)
        torch.testing.assert_close(together.bracketed.reshape(30, -1)[:, i], alone.bracketed)


def test_networks_with_running_statistics_cannot_be_evaluated_together():
    with pytest.raises(ValueError, match="running_mean"):
        Ensemble([nn.BatchNorm2d(3)])


def test_geometric_svm_measures_in_linf(samples):
    """For an affine field Δ = 1/‖w‖₁ only along w's L2 direction: d∞ of the L2 projection is ‖w‖∞/‖w‖₂²."""
    points, labels = samples
    network = affine([3.0, 4.0, 0.0], 0.0)
    value = GeometricSVM(1.0, radius=torch.inf)(network, points, labels)
    hinge = Hinge()(network, points, labels)
    torch.testing.assert_close(value - hinge, torch.tensor(25.0 / 4.0).double())


def test_a_field_without_level_sets_falls_back_to_the_hinge(samples):
    points, labels = samples
    network = affine([1e-8, 0.0, 0.0], 0.5)
    loss = GeometricSVM(0.1)
    value = loss(network, points, labels)
    torch.testing.assert_close(value, Hinge()(network, points, labels))
    assert loss.fallback_share == 1.0
    value.backward()
    assert network.bias.grad.abs() > 0


def test_a_level_set_beyond_the_radius_is_not_believed():
    network = affine([1.0], 0.0)
    points, labels = torch.tensor([[0.5], [3.0]]).double(), torch.ones(2).double()
    loss = GeometricSVM(0.0, radius=1.0)
    loss(network, points, labels)
    assert loss.fallback_share == 0.5


def test_no_gradient_is_ever_undefined():
    """A point on the boundary, a flat field, a dead network: the gradient stays finite."""
    for network in (affine([1.0], 0.0), affine([0.0], 0.0), nn.Sequential(affine([-1.0], -9.0), nn.ReLU())):
        for loss in (GeometricSVM(0.1), BoundaryDistance(0.1, "linf")):
            network.zero_grad()
            loss(
                network, torch.tensor([[0.0], [0.2]]).double(), torch.tensor([1.0, -1.0]).double()
            ).backward()
            assert all(value.grad.isfinite().all() for value in network.parameters())


@pytest.mark.parametrize(("norm", "per_unit"), [("l2", 5.0), ("linf", 25.0 / 4.0)])
def test_boundary_distance_of_an_affine_field_is_exact(norm, per_unit):
    """d(x, S) is |F|/‖w‖₂ in L2; the L2 projection is 4|F|/25 away in L∞."""
    torch.manual_seed(0)
    network = affine([3.0, 4.0], 0.0)
    points = torch.tensor([[0.03, 0.04], [0.3, 0.4], [-0.03, 0.0]]).double()
    labels = torch.ones(3).double()
    value = BoundaryDistance(0.1, norm, starts=1)(network, points, labels)
    signed = network(points)[:, 0] / per_unit
    torch.testing.assert_close(value, (0.1 - signed).clamp_min(0).mean())


def test_boundary_distance_moves_the_boundary_away_from_a_right_sample_and_towards_a_wrong_one():
    network = affine([1.0], -0.5)
    for label, direction in ((1.0, -1), (-1.0, 1)):
        network.zero_grad()
        BoundaryDistance(1.0, "l2", starts=1)(
            network, torch.tensor([[0.7]]).double(), torch.tensor([label]).double()
        ).backward()
        boundary_step = network.bias.grad.item()  # a step of −gradient on the bias moves −bias/weight by this
        assert boundary_step * direction > 0


def test_cross_entropy_of_a_margin():
    network = affine([1.0], 0.0)
    value = CrossEntropy()(network, torch.tensor([[2.0], [-1.0]]).double(), torch.tensor([1.0, 1.0]).double())
    torch.testing.assert_close(value, torch.log1p(torch.exp(torch.tensor([-2.0, 1.0]).double())).mean())


def test_a_loss_of_ones_own_and_its_errors(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "class Scaled:\n    def __init__(self, factor): self.factor = factor\n"
        "    def __call__(self, network, points, labels): pass\n"
    )
    assert make_loss(f"{file}:Scaled", {}, {"factor": 2}).factor == 2
    with pytest.raises(UserError, match="does not take the settings"):
        make_loss(f"{file}:Scaled", {}, {"faktor": 2})
    with pytest.raises(UserError, match="holds no 'Other'"):
        make_loss(f"{file}:Other", {}, {})
    with pytest.raises(UserError, match="there is no file"):
        make_loss(f"{tmp_path}/none.py:Other", {}, {})
