import pytest
import torch
from torch import nn

from nls.errors import UserError
from nls.networks.classifiers import build_classifier
from nls.networks.strided_conv import HalvingConv2d, input_gradient, input_gradient_taps


@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [
        ("convnet4a", (1, 28), 312_202),
        ("convnet4a-linear-head", (1, 28), 312_202),
        ("convnet4b", (3, 32), 2_466_858),
        ("resnet18", (3, 32), 11_173_962),
        ("resnet8", (1, 28), 77_754),
        ("resnet8-group", (1, 28), 77_754),
    ],
)
def test_parameter_counts_and_logits(name, shape, parameters):
    channels, side = shape
    network = build_classifier(name, channels, side, 10)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert network(torch.rand(2, channels, side, side)).shape == (2, 10)


def test_the_linear_head_is_linear_and_the_published_one_is_not():
    def relus(name):
        head = build_classifier(name, 1, 28, 10).head
        return sum(isinstance(part, nn.ReLU) for part in head)

    assert relus("convnet4a") == 2
    assert relus("convnet4a-linear-head") == 0
    head = build_classifier("convnet4a-linear-head", 1, 28, 10).head
    a, b = torch.randn(2, 1, 1024)
    torch.testing.assert_close(head(a) + head(b), head(a + b) + head(torch.zeros(1, 1024)))


def test_both_heads_take_the_same_weights():
    published, linear = (build_classifier(n, 1, 28, 10) for n in ("convnet4a", "convnet4a-linear-head"))
    # The ReLUs shift the indices inside the head, the shapes stay.
    assert [p.shape for p in published.parameters()] == [p.shape for p in linear.parameters()]


def test_digits_sized_images():
    assert build_classifier("convnet-small", 1, 8, 10)(torch.rand(3, 1, 8, 8)).shape == (3, 10)


@pytest.mark.parametrize(
    ("name", "side"),
    [("convnet4a", 16), ("convnet4a-linear-head", 16), ("convnet4b", 4), ("convnet-small", 2)],
)
def test_images_that_are_too_small_are_told(name, side):
    assert build_classifier(name, 1, side, 10)(torch.rand(1, 1, side, side)).shape == (1, 10)
    with pytest.raises(UserError, match=f"{name} takes images of {side} x {side} pixels or more, not"):
        build_classifier(name, 1, side - 1, 10)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match=r"unknown network 'vgg'.*resnet18"):
        build_classifier("vgg", 1, 28, 10)


@pytest.mark.parametrize(("kernel", "height", "width"), [(1, 4, 4), (3, 7, 6), (5, 8, 9), (7, 11, 5)])
def test_a_halving_convolution_is_torchs_own(kernel, height, width):
    """Values and every gradient, on images of even and odd sides."""
    ours = HalvingConv2d(3, 4, kernel).double()
    torchs = nn.Conv2d(3, 4, kernel, stride=2, padding=kernel // 2).double()
    torchs.load_state_dict(ours.state_dict())
    images = torch.rand(2, 3, height, width, dtype=torch.float64, requires_grad=True)
    values = [layer(images) for layer in (ours, torchs)]
    torch.testing.assert_close(*values)
    weights = torch.randn_like(values[0])
    gradients = [
        torch.autograd.grad((value * weights).sum(), [images, *layer.parameters()])
        for value, layer in zip(values, (ours, torchs), strict=True)
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("cell", [2, 4])
@pytest.mark.parametrize(("kernel", "height", "width"), [(1, 4, 4), (3, 7, 6), (5, 8, 9), (7, 11, 5)])
def test_the_gradient_of_an_input_is_formed_in_cells_of_any_size(cell, kernel, height, width):
    layer = nn.Conv2d(3, 4, kernel, stride=2, padding=kernel // 2).double()
    images = torch.rand(2, 3, height, width, dtype=torch.float64, requires_grad=True)
    values = layer(images)
    by_values = torch.randn_like(values)
    (expected,) = torch.autograd.grad(values, images, by_values)
    taps = input_gradient_taps(layer.weight.detach(), cell)
    torch.testing.assert_close(input_gradient(by_values, taps, cell, height, width), expected)
