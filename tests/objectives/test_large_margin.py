import pytest
import torch
from torch import nn

from nls.objectives.base import Moment
from nls.objectives.large_margin import LargeMargin


def loss_of(gamma, weights, bias, image, label):
    """Return the loss of one image under a linear model, and its gradient in the biases."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, len(bias)))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor(weights))
        model[1].bias.copy_(torch.tensor(bias))
    moment = Moment(0.0, torch.Generator())
    loss = LargeMargin(gamma)(model, torch.tensor(image).reshape(1, 1, 1, 2), torch.tensor([label]), moment)
    return loss.item(), torch.autograd.grad(loss, model[1].bias)[0].tolist()


def test_the_nearest_boundary_counts_not_that_of_the_second_best_class():
    # Logits 0, −0.3 and −1.5; the boundaries are 0.3 / 1 and 1.5 / 10 away.
    loss, gradient = loss_of(0.5, [[0.0, 0], [1, 0], [0, -10]], [0.0, -1, 3.5], [0.7, 0.5], 0)
    assert loss == pytest.approx(0.5 - 0.15)
    assert gradient == pytest.approx([-1 / 10, 0, 1 / 10])


def test_a_wrong_sample_counts_by_the_class_that_it_is_deepest_in():
    # Under class 0 the logits are 0, 1 and 2; the distances −1 / 2 and −2 / 10.
    loss, gradient = loss_of(0.5, [[0.0, 0], [2, 0], [0, 10]], [0.0, 0, -3], [0.5, 0.5], 0)
    assert loss == pytest.approx(0.5 + 0.5)
    assert gradient == pytest.approx([-1 / 2, 1 / 2, 0])


@pytest.mark.parametrize(
    ("margin", "distance", "slope"), [(-4.0, -1, 1 / 4), (0.0, 0, 1000), (1e-4, 0.1, 1000)]
)
def test_a_flat_network_has_a_bounded_loss_and_draws_a_wrong_sample_back(margin, distance, slope):
    loss, gradient = loss_of(0.5, [[0.0, 0], [0, 0]], [margin, 0.0], [0.7, 0.5], 0)
    assert loss == pytest.approx(0.5 - distance)
    assert gradient == pytest.approx([-slope, slope])
