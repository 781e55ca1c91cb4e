import pytest
import torch

from nls.geometry.curves import extract_curves, length
from nls.geometry.octree import Grid
from nls.levelset import values_and_jacobian, values_of
from nls.levelset.fields import live_values_and_jacobian
from nls.networks.implicit import ImplicitMLP


@pytest.mark.parametrize(("width", "depth"), [(256, 4), (512, 8), (300, 1)])
def test_starts_as_the_distance_to_a_sphere(width, depth):
    torch.manual_seed(0)
    points = torch.randn(2000, 3)
    points *= torch.rand(2000, 1) * 1.5 / points.norm(dim=1, keepdim=True)
    with torch.no_grad():
        values = ImplicitMLP(width, depth, radius=0.8)(points)
    assert values.shape == (2000,)
    error = (values - (points.norm(dim=1) - 0.8)).abs()
    # A random network's factor on ‖x‖ is 1 on average and differs from direction to direction.
    assert error.mean() < 0.3
    assert error[points.norm(dim=1) < 0.1].max() < 0.1


def test_two_outputs_start_as_a_closed_curve():
    torch.manual_seed(0)
    network = ImplicitMLP(256, 4, outputs=2, radius=0.7)
    assert network(torch.zeros(5, 3)).shape == (5, 2)
    (curve,) = extract_curves(network, Grid(50))
    assert length(curve) == pytest.approx(2 * torch.pi * 0.7, rel=0.4)


def test_equals_a_network_that_concatenates_its_input():
    torch.manual_seed(0)
    network = ImplicitMLP(16, 3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()
    points = torch.randn(10, 3)
    hidden = torch.relu(points @ network.first.weight.T + network.first.bias)
    for layer in network.layers:
        weight = torch.cat([layer.hidden.weight, layer.entry.weight], dim=1)
        hidden = torch.relu(torch.cat([hidden, points], dim=1) @ weight.T + layer.entry.bias)
    weight = torch.cat([network.last.hidden.weight, network.last.entry.weight], dim=1)
    values = torch.cat([hidden, points], dim=1) @ weight.T + network.last.entry.bias
    torch.testing.assert_close(network(points), values[:, 0])


def test_smooth_activation_is_close_to_relu():
    torch.manual_seed(0)
    sharp, smooth = ImplicitMLP(64, 2), ImplicitMLP(64, 2, activation="softplus")
    smooth.load_state_dict(sharp.state_dict())
    points = torch.randn(100, 3)
    gap = (sharp(points) - smooth(points)).abs()
    assert 0 < gap.max() < 0.1


def test_more_outputs_than_dimensions():
    with pytest.raises(ValueError, match="at most dimension"):
        ImplicitMLP(8, 1, dimension=2, outputs=3)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("depth", [1, 4])
def test_one_evaluation_gives_what_autograd_gives_in_three(outputs, depth):
    torch.manual_seed(0)
    network = ImplicitMLP(32, depth, outputs=outputs).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    points, slope = torch.randn(50, 3, dtype=torch.float64), torch.randn(50, outputs, dtype=torch.float64)

    def by_autograd(x):  # a function brings no evaluation of its own
        return network(x)

    expected, jacobian = values_and_jacobian(by_autograd, points)
    found = live_values_and_jacobian(network, points)
    torch.testing.assert_close(found[0].detach(), expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(found[1], jacobian, rtol=0, atol=1e-9)
    parameters = list(network.parameters())
    gradients = torch.autograd.grad((found[0] * slope).sum(), parameters)
    plain = torch.autograd.grad((values_of(network, points) * slope).sum(), parameters)
    for one, other in zip(gradients, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_other_fields_are_left_to_autograd():
    torch.manual_seed(0)
    network = ImplicitMLP(16, 2, activation="softplus").double()
    points = torch.randn(9, 3, dtype=torch.float64)
    values, jacobian = live_values_and_jacobian(network, points)
    torch.testing.assert_close(jacobian, values_and_jacobian(network, points)[1])
    assert not jacobian.requires_grad
    values.sum().backward()
    assert network.first.weight.grad.abs().sum() > 0
