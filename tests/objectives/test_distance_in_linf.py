"""Eq. 12 in L∞ beside the outer level set, against closed forms on linear models."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from nls.levelset import class_margin
from nls.objectives.base import Moment
from nls.objectives.distance_in_linf import DistanceInLinf
from nls.objectives.outer_level import OuterLevel

SEARCH = {"eps": 0.06, "level": 1.0, "steps": 50, "step_size": 0.006}


def moment(epoch=0.0):
    return Moment(epoch, torch.Generator().manual_seed(0))


@pytest.fixture
def binary():
    """A linear model of two classes, images with room inside the box, and the L∞ distances of its boundary."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 2)).double()
    images = 0.3 + 0.4 * torch.rand(200, 1, 3, 3, dtype=torch.float64)
    labels = torch.randint(2, (200,))
    speed = (model[1].weight[0] - model[1].weight[1]).abs().sum()
    return model, images, labels, class_margin(model(images), labels) / speed


def test_the_distance_is_exact_on_a_linear_model_met_or_not(binary):
    model, images, labels, distance = binary
    reached = (distance > 0) & (distance < 0.06)
    beyond = (distance > 0.06) & (distance < 0.15)
    assert reached.sum() > 20
    assert beyond.sum() > 5
    outer = OuterLevel(**SEARCH)(model, images, labels, moment())
    loss = DistanceInLinf(wanted=0.15, weight=7, **SEARCH)(model, images, labels, moment())
    short = torch.where(distance > 0, 0.15 - distance, 0.0).clamp_min(0)
    torch.testing.assert_close(loss, outer + 7 * short.mean())


def test_its_gradient_is_that_of_the_distance_where_the_boundary_is_met(binary):
    model, images, labels, distance = binary
    rows = (distance < 0.06).nonzero()[:, 0]
    images, labels, distance = images[rows], labels[rows], distance[rows]
    parameters = tuple(model.parameters())
    found = torch.autograd.grad(
        DistanceInLinf(wanted=0.15, weight=7, **SEARCH)(model, images, labels, moment()), parameters
    )
    short = torch.where(distance > 0, 0.15 - distance, 0.0).clamp_min(0)
    outer = OuterLevel(**SEARCH)(model, images, labels, moment())
    expected = torch.autograd.grad(outer + 7 * short.mean(), parameters)
    # To the sharpness of the roots.
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=5e-3, atol=1e-3)


def test_steeper_logits_do_not_lower_the_distance_term(binary):
    model, images, labels, _ = binary
    method = DistanceInLinf(wanted=0.15, weight=7, **SEARCH)
    before, outer_before = (one(model, images, labels, moment()) for one in (method, OuterLevel(**SEARCH)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 3
    after, outer_after = (one(model, images, labels, moment()) for one in (method, OuterLevel(**SEARCH)))
    torch.testing.assert_close(after - outer_after, before - outer_before)


def test_wrong_samples_and_a_flat_field_have_the_first_term_only(binary):
    model, images, labels, distance = binary
    wrong = (distance < 0).nonzero()[:, 0]
    search = (images[wrong], labels[wrong], moment())
    method = DistanceInLinf(wanted=0.15, weight=7, **SEARCH)
    torch.testing.assert_close(method(model, *search), OuterLevel(**SEARCH)(model, *search[:2], moment()))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(torch.tensor([2.0, 0.0]))
    loss = method(model, images, torch.zeros_like(labels), moment())
    loss.backward()
    # No boundary anywhere, and none in sight: only the length of the search counts.
    assert loss.item() <= functional.softplus(torch.tensor(-1.0)).item() + 7 * 0.15
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_under_batch_normalisation_the_distance_is_that_of_the_evaluation_mode():
    torch.manual_seed(0)
    linear = nn.Linear(9, 2)
    normalised = nn.BatchNorm1d(2, momentum=0.0)
    normalised.running_mean += 0.3
    normalised.running_var *= 0.2
    model = nn.Sequential(nn.Flatten(), linear, normalised).double()
    images, labels = 0.3 + 0.4 * torch.rand(100, 1, 3, 3, dtype=torch.float64), torch.randint(2, (100,))
    loss = DistanceInLinf(wanted=0.15, weight=7, **SEARCH)(model, images, labels, moment())
    outer = OuterLevel(**SEARCH)(model, images, labels, moment())
    model.eval()
    speed = (model(torch.eye(9, dtype=torch.float64)) - model(torch.zeros(1, 9, dtype=torch.float64))).diff()
    distance = class_margin(model(images), labels) / speed.abs().sum()
    expected = torch.where(distance > 0, 0.15 - distance, 0.0).clamp_min(0).mean()
    assert (distance > 0).sum() > 20
    torch.testing.assert_close(loss, outer + 7 * expected)


def test_it_warms_up(binary):
    model, images, labels, _ = binary
    method = DistanceInLinf(wanted=0.15, weight=7, warm_up_epochs=4, **SEARCH)
    half = DistanceInLinf(wanted=0.075, weight=7, eps=0.03, level=1.0, steps=50, step_size=0.003)
    torch.testing.assert_close(
        method(model, images, labels, moment(2.0)), half(model, images, labels, moment())
    )
