import pytest
import torch

from nls.levelset import values_and_jacobian, values_of
from nls.levelset.fields import live_values_and_jacobian
from nls.networks.detail import DetailedMLP
from nls.networks.implicit import ImplicitMLP

CELLS = (0.2, 0.1)


def sphere(points=3000):
    draws = torch.Generator().manual_seed(1)
    return 0.6 * torch.nn.functional.normalize(torch.randn(points, 3, generator=draws), dim=1)


def made(points):
    torch.manual_seed(0)
    return DetailedMLP.around(points, CELLS, ImplicitMLP(16, 3))


@pytest.fixture(scope="module")
def network():
    found = made(sphere())
    with torch.no_grad():
        found.corrections[:-1].normal_(std=0.1)
    found.let_in((1.0, 0.5))
    return found.double()


def test_starts_as_its_mlp():
    network, points = made(sphere()), sphere(50)
    network.let_in((1.0, 1.0))
    assert torch.equal(network(points), network.mlp(points))


def test_is_its_mlp_until_grids_are_let_in_and_far_from_the_cloud(network):
    near, far = sphere(100).double(), 2.2 * sphere(100).double()
    assert (network(near) - network.mlp(near)).abs().median() > 1e-2
    torch.testing.assert_close(network(far), network.mlp(far))
    network.let_in((0.0, 0.0))
    torch.testing.assert_close(network(near), network.mlp(near))
    network.let_in((1.0, 0.5))


def test_corrections_are_those_of_the_nodes(network):
    """At a node of the finer grid its correction counts by the grid's share, on top of the coarser grid's."""
    coarse = [1.0, 0.0]
    node = (sphere(50).double() / CELLS[1]).round() * CELLS[1]
    network.let_in(coarse)
    without = network(node)
    network.let_in((1.0, 0.5))
    added = (network(node) - without).detach()
    distances = torch.cdist(added[:, None], 0.5 * network.corrections.detach()[:, None])
    assert distances.amin(dim=1).max() < 1e-6


def test_is_continuous(network):
    """Also where cells and grids end: on a line through all of them, half the step has half the change."""
    line = torch.linspace(-1, 1, 40_001, dtype=torch.float64)[:, None] * torch.tensor([[0.3, 0.9, 0.2]])
    values = network(line).detach()
    assert values.diff().abs().max() < 0.6 * values[::2].diff().abs().max()


def test_evaluation_agrees_with_autograd_and_with_differences(network):
    points = (sphere(60) + 0.05 * torch.randn(60, 3)).double()
    values, jacobian = live_values_and_jacobian(network, points)
    expected, slopes = values_and_jacobian(lambda x: network(x), points)
    torch.testing.assert_close(values.detach(), expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(jacobian, slopes, rtol=0, atol=1e-9)
    step = 1e-7 * torch.eye(3, dtype=torch.float64)
    differences = torch.stack([(network(points + h) - network(points - h)) / 2e-7 for h in step], dim=1)
    assert (differences - jacobian[:, 0]).abs().quantile(
        0.9
    ) < 1e-5  # a kink lies within a step of few points

    parameters = list(network.parameters())
    slope = torch.randn(60, 1, dtype=torch.float64)
    found = torch.autograd.grad((values * slope).sum(), parameters)
    plain = torch.autograd.grad((values_of(network, points) * slope).sum(), parameters)
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_gradient_of_the_corrections_agrees_with_differences(network):
    points, direction = sphere(40).double(), torch.randn(len(network.corrections), dtype=torch.float64)
    direction[-1] = 0
    slope = torch.autograd.grad(network(points).sum(), network.corrections)[0] @ direction
    with torch.no_grad():
        before = network(points).sum()
        network.corrections += 1e-3 * direction
        after = network(points).sum()
        network.corrections -= 1e-3 * direction
    assert (after - before) / 1e-3 == pytest.approx(float(slope), abs=1e-6)


def test_outliers_have_no_cells():
    outlier = torch.tensor([[0.9, 0.9, 0.9]])
    assert torch.equal(made(torch.cat([sphere(), outlier])).keys, made(sphere()).keys)


def test_weights_make_the_same_network_without_the_cloud(network):
    weights = network.state_dict()
    again = DetailedMLP.fitting(weights, ImplicitMLP(16, 3)).double()
    again.load_state_dict(weights)
    points = sphere(200).double() * 1.05
    assert torch.equal(again(points), network(points))
    with pytest.raises(KeyError):
        DetailedMLP.fitting(network.mlp.state_dict(), ImplicitMLP(16, 3))
