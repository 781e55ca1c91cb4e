"""A tape gives evaluations of the past the graph that an evaluation of now would have."""

import pytest
import torch

from nls.levelset import Tape, project, values_and_jacobian
from nls.networks.small_convnet import SmallConvNet


@pytest.fixture
def network():
    network = SmallConvNet(2, 9, 11).double()
    with torch.no_grad():
        network[-1].weight.mul_(20)
    return network


def assert_live(network, tape, points, places):
    """Values, and their gradients in the parameters, are those of the network at the points."""
    weights = torch.randn(len(points), 1, dtype=torch.float64)
    found, expected = tape(points, places), network(points)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad((found * weights).sum(), list(network.parameters())),
        torch.autograd.grad((expected * weights).sum(), list(network.parameters())),
    )


def test_each_place_holds_the_last_point_that_was_there(network):
    points = torch.rand(12, 2, 9, 11, dtype=torch.float64)
    tape = Tape(network.traceable(), 9)
    for at, places in ((points[:6], range(6)), (points[6:9], (4, 1, 8)), (points[9:], (8, 0, 7))):
        places = torch.tensor(places)
        torch.testing.assert_close(values_and_jacobian(tape, at, (places,)), values_and_jacobian(network, at))
    held = {0: 10, 1: 7, 2: 2, 3: 3, 4: 6, 5: 5, 7: 11, 8: 9}
    places = torch.tensor([8, 0, 3, 3, 1, 7, 5, 4, 2])
    assert_live(network, tape, points[[held[place] for place in places.tolist()]], places)
    assert_live(network, tape, points[:0], places[:0])


def test_a_projection_leaves_its_end_at_every_place_and_forgets_the_way(network):
    points = torch.rand(20, 2, 9, 11, dtype=torch.float64)
    with torch.no_grad():
        level = float(network(points).mean())
    tape, places = Tape(network.traceable(), len(points)), torch.randperm(len(points))
    found = project(tape, points, level, context=(places,), tolerance=1e-9, max_iterations=30)
    expected = project(network, points, level, tolerance=1e-9, max_iterations=30)
    torch.testing.assert_close(found.points, expected.points)
    assert found.converged.sum() > 10
    assert_live(network, tape, found.points, places)
    assert sum(map(bool, tape._traces)) < len(tape._traces), "the first points are held no longer"
