import pytest
import torch
from torch.func import functional_call, jacrev

from nls.levelset import SampleNetwork, project
from nls.networks.mlp import mlp


@pytest.fixture(params=[1, 2])
def sampled(request):
    """A smooth network in float64, its projected points and their sample network."""
    torch.manual_seed(3)
    network = mlp(4, request.param, 16, 2).double()
    for index, part in enumerate(network):
        if isinstance(part, torch.nn.ReLU):
            network[index] = torch.nn.Tanh()
    found = project(network, torch.randn(6, 4, dtype=torch.float64), tolerance=1e-12, max_iterations=50)
    assert found.converged.all()
    return network, found


def test_its_value_at_the_current_parameters_is_the_point(sampled):
    network, found = sampled
    torch.testing.assert_close(SampleNetwork.of(network, found)(), found.points, atol=1e-10, rtol=0)


def test_its_derivative_is_equation_8(sampled):
    network, found = sampled
    samples = SampleNetwork.of(network, found)
    parameters = {name: value.detach() for name, value in network.named_parameters()}

    by_theta = jacrev(lambda theta: functional_call(network, theta, found.points))(parameters)
    of_samples = jacrev(
        lambda theta: functional_call(samples, {f"field.{name}": value for name, value in theta.items()}, ())
    )(parameters)

    for name, value in parameters.items():
        d_theta_f = by_theta[name].reshape(6, found.levels.shape[1], -1)
        expected = -torch.linalg.pinv(found.jacobian) @ d_theta_f
        torch.testing.assert_close(of_samples[name].reshape(6, 4, -1), expected, msg=name)
        assert value.shape == of_samples[name].shape[2:]


def test_it_predicts_how_the_level_set_moves(sampled):
    """The point projected again after a small step of θ is where the sample network says, to second order."""
    network, found = sampled
    samples = SampleNetwork.of(network, found)
    torch.manual_seed(0)
    direction = [torch.randn_like(value) for value in network.parameters()]
    errors = []
    for size in (1e-3, 5e-4):
        with torch.no_grad():
            for value, step in zip(network.parameters(), direction, strict=True):
                value.add_(size * step)
        predicted = samples().detach()
        reached = project(network, predicted, tolerance=1e-13, max_iterations=50).points
        moved = (reached - found.points).norm()
        errors.append(float((predicted - reached).norm() / moved))
        with torch.no_grad():
            for value, step in zip(network.parameters(), direction, strict=True):
                value.sub_(size * step)
    assert errors[0] < 0.05
    assert errors[1] < 0.6 * errors[0]


def test_parameters_receive_gradients_through_it_and_points_none(sampled):
    network, found = sampled
    samples = SampleNetwork.of(network, found)
    samples().square().sum().backward()
    assert all(value.grad is not None for value in network[0].parameters())
    assert {name for name, _ in samples.named_buffers()} == {"points", "levels", "inverse"}


def test_a_point_without_a_gradient_does_not_move():
    field = torch.nn.Linear(2, 1)
    torch.nn.init.zeros_(field.weight)
    found = project(field, torch.randn(3, 2))
    samples = SampleNetwork.of(field, found)
    torch.nn.init.ones_(field.weight)
    assert torch.equal(samples(), found.points)
