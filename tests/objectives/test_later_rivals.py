"""Methods that came after the paper, against closed forms on linear models."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from nls.errors import UserError
from nls.levelset import class_margin, soft_class_margin
from nls.objectives.base import Moment
from nls.objectives.dyart import DyART
from nls.objectives.hat import HAT
from nls.objectives.mart import MART, boosted_cross_entropy


def moment(epoch=0.0):
    return Moment(epoch, torch.Generator().manual_seed(0))


@pytest.fixture
def binary():
    """A linear model of two classes in four dimensions, images well inside the box, and their classes under it."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    images = 0.35 + 0.3 * torch.rand(20, 1, 2, 2)
    labels = model(images).argmax(dim=1).detach()
    return model, images, labels


def test_mart_equals_its_closed_form(binary):
    model, images, labels = binary
    labels = labels.clone()
    labels[:5] = 1 - labels[:5]
    loss = MART(eps=0.05, beta=3, steps=10, step_size=0.05)(model, images, labels, moment())
    # The cross-entropy of two classes grows along −(w_y − w_other): the search ends in that corner of the ball.
    weights = model[1].weight
    uphill = (weights[1 - labels] - weights[labels]).sign().reshape(images.shape)
    p, q = model(images).softmax(1), model(images + 0.05 * uphill).softmax(1)
    rows = torch.arange(20)
    p_y, q_y = p[rows, labels], q[rows, labels]
    boosted = -q_y.log() - (1.0001 - q[rows, 1 - labels]).log()
    expected = (boosted + 3 * (p * (p / q).log()).sum(1) * (1 - p_y)).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    found = torch.autograd.grad(loss, weights)[0]
    torch.testing.assert_close(found, torch.autograd.grad(expected, weights)[0], rtol=1e-3, atol=1e-6)


def test_the_boosted_cross_entropy_is_finite_where_another_class_has_everything():
    logits = torch.tensor([[0.0, 200.0]], requires_grad=True)
    loss = boosted_cross_entropy(logits, torch.tensor([0]))
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits.grad.isfinite().all()


def test_the_soft_margin_is_smooth_and_little_below_the_margin():
    logits, labels = 3 * torch.randn(50, 10), torch.randint(10, (50,))
    gap = class_margin(logits, labels) - soft_class_margin(logits, labels, 5.0)
    assert (gap >= 0).all()
    assert (gap <= torch.log(torch.tensor(9.0)) / 5).all()


def test_hat_equals_its_closed_form(binary, tmp_path):
    model, images, labels = binary
    helper = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    torch.save(helper.state_dict(), tmp_path / "helper.pt")
    method = HAT(
        eps=0.05, helper=str(tmp_path / "helper.pt"), beta=3, gamma=0.7, reach=2, steps=10, step_size=0.05
    )
    loss = method(model, images, labels, moment())
    # The divergence grows away from the image, to either side along w_0 − w_1; with the side, the corner is known.
    weights = (model[1].weight[0] - model[1].weight[1]).sign().reshape(1, 1, 2, 2)
    losses = []
    for side in (-1.0, 1.0):
        other = images + 0.05 * side * weights
        natural = model(images).softmax(1)
        kl = (natural * (natural / model(other).softmax(1)).log()).sum(1)
        beyond = functional.cross_entropy(
            model(images + 0.1 * side * weights), helper(other).argmax(1), reduction="none"
        )
        losses.append(3 * kl + 0.7 * beyond)
    plain = functional.cross_entropy(model(images), labels)
    low, high = torch.stack(losses).amin(0).mean() + plain, torch.stack(losses).amax(0).mean() + plain
    assert low.item() - 1e-4 <= loss.item() <= high.item() + 1e-4
    assert sum(parameter.requires_grad for parameter in model.parameters()) == 2


def test_hat_reads_its_helper_for_a_compiled_network_too(binary, tmp_path):
    model, images, labels = binary
    torch.save(model.state_dict(), tmp_path / "helper.pt")
    method = HAT(eps=0.05, helper=str(tmp_path / "helper.pt"))
    compiled = torch.compile(model, backend="eager")
    torch.testing.assert_close(
        method(compiled, images, labels, moment()), method(model, images, labels, moment())
    )


def test_hat_without_its_helper_is_one_line(binary):
    model, images, labels = binary
    with pytest.raises(UserError, match="no such file of weights"):
        HAT(eps=0.1, helper="nowhere.pt")(model, images, labels, moment())


def test_dyart_moves_the_boundary_as_the_distances_derivative_says(binary):
    model, images, labels = binary
    method = DyART(radius=0.2, decay=4, weight=10, steps=20, eps_start=0.02, burn_in_epochs=0)
    loss = method(model, images, labels, moment())
    found = torch.autograd.grad(loss, tuple(model.parameters()))
    # For two classes R = F^y(x) / ‖w_y − w_other‖₁ exactly.
    weights = model[1].weight
    speed = (weights[labels] - weights[1 - labels]).abs().sum(dim=1)
    distance = class_margin(model(images), labels) / speed
    held = torch.where(distance < 0.2, torch.exp(-4 * distance) / 4, 0.0)
    expected = functional.cross_entropy(model(images), labels) + 10 * held.sum() / 20
    for one, other in zip(found, torch.autograd.grad(expected, tuple(model.parameters())), strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.02 * float(other.abs().max()))


def test_dyart_begins_with_cross_entropy_and_counts_no_wrong_sample(binary):
    model, images, labels = binary
    plain = functional.cross_entropy(model(images), labels)
    assert torch.equal(DyART(radius=0.2, burn_in_epochs=2)(model, images, labels, moment(1.9)), plain)
    wrong = 1 - labels
    plain = functional.cross_entropy(model(images), wrong)
    assert torch.equal(DyART(radius=0.2, burn_in_epochs=0)(model, images, wrong, moment()), plain)
