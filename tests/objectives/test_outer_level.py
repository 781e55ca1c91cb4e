"""The loss on an outer level set, against closed forms and against the motion of its samples."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from nls.attacks import ascend, under_attack
from nls.levelset import SampleNetwork, class_margin, soft_class_margin, values_and_jacobian
from nls.objectives.base import Moment
from nls.objectives.madry import Madry
from nls.objectives.outer_level import OuterLevel
from nls.objectives.search import box, uniform_in


def moment(epoch=0.0):
    return Moment(epoch, torch.Generator().manual_seed(0))


@pytest.fixture
def binary():
    """A linear model of two classes, whose soft margin is the margin, with room inside the unit box."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 2)).double()
    images = 0.3 + 0.4 * torch.rand(30, 1, 3, 3, dtype=torch.float64)
    return model, images, torch.randint(2, (30,))


@pytest.fixture
def curved():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 20), nn.Tanh(), nn.Linear(20, 3)).double()
    images = 0.3 + 0.4 * torch.rand(20, 1, 3, 3, dtype=torch.float64)
    return model, images, model(images).argmax(dim=1)


def test_it_equals_its_closed_form_on_a_linear_model(binary):
    model, images, labels = binary
    loss = OuterLevel(eps=0.2, level=1.5, steps=50, step_size=0.02)(model, images, labels, moment())
    speed = (model[1].weight[0] - model[1].weight[1]).abs().sum()
    # In its two classes' difference the level set S_m lies (F^y − m) / ‖w_y − w_other‖₁ from an image.
    distance = (class_margin(model(images), labels) - 1.5) / speed
    expected = functional.softplus(speed * (0.2 - distance)).mean()
    torch.testing.assert_close(loss, expected)
    for one, other in zip(
        *(torch.autograd.grad(value, tuple(model.parameters())) for value in (loss, expected)), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_level_0_is_adversarial_training(curved):
    model, images, labels = curved
    search = {"eps": 0.1, "steps": 10, "step_size": 0.02}
    ours, madry = (
        method(model, images, labels, moment()) for method in (OuterLevel(level=0, **search), Madry(**search))
    )
    torch.testing.assert_close(ours, madry)
    assert OuterLevel(level=1, **search)(model, images, labels, moment()) > ours


def test_its_gradient_is_that_of_the_distance_of_the_sample_network(curved):
    """``−Σ σ(m − φ) ‖g‖₁ D_θ d / N`` with d the L∞ distance to the samples of Eq. 9."""
    model, images, labels = curved
    method = OuterLevel(eps=0.1, level=2, steps=10, step_size=0.02)
    found = torch.autograd.grad(method(model, images, labels, moment()), tuple(model.parameters()))

    def field(points):
        return soft_class_margin(model(points), labels, 1.0)

    lower, upper = box(images, 0.1)
    with under_attack(model):
        start = uniform_in(lower, upper, moment().generator)
        ends = ascend(lambda points: -field(points), start, lower, upper, steps=10, step_size=0.02)
        levels, jacobian = values_and_jacobian(field, ends)
    samples = SampleNetwork(field, ends, levels, jacobian, norm="linf")()
    slope = jacobian[:, 0].flatten(1)
    # Outwards is down the field; in L∞ all coordinates move alike.
    distance = -(slope.sign() * (samples - images).flatten(1)).mean(dim=1)
    weight = torch.sigmoid(2 - levels[:, 0]) * slope.abs().sum(dim=1)
    expected = torch.autograd.grad(-(weight * distance).mean(), tuple(model.parameters()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_it_warms_up_from_the_images_themselves(curved):
    model, images, labels = curved
    method = OuterLevel(eps=0.2, level=2, steps=5, step_size=0.05, warm_up_epochs=4)
    clean = functional.softplus(2 - soft_class_margin(model(images), labels, 1.0)).mean()
    torch.testing.assert_close(method(model, images, labels, moment(0.0)), clean)
    assert method(model, images, labels, moment(2.0)) > clean
    assert method(model, images, labels, moment(4.0)) > method(model, images, labels, moment(2.0))
