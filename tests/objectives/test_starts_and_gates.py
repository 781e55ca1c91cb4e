"""Where searches start, how far they step, and which of the points that they find count."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from nls.levelset import class_margin
from nls.objectives.base import Moment
from nls.objectives.boundary_distance import BoundaryDistance
from nls.objectives.dyart import DyART
from nls.objectives.reconstruction import ReconstructionLoss
from nls.objectives.robust import RobustLevelSets
from nls.objectives.search import box, uniform_in


def draws():
    return torch.Generator().manual_seed(0)


class TwoClasses(nn.Module):
    """Logits F and 0 with F a function of an image's mean less 1/2."""

    def __init__(self, function):
        super().__init__()
        self.function, self.gain = function, nn.Parameter(torch.ones(()))

    def forward(self, images):
        value = self.gain * self.function(images.flatten(1).mean(dim=1) - 0.5)
        return torch.stack([value, torch.zeros_like(value)], dim=1)


def test_the_steps_of_correct_samples_are_as_much_shorter_as_their_eps_is():
    """Eq. 12's search of a linear model: the segment from the sample to where 3 steps lead ends on the boundary."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    images, labels = 0.3 + 0.4 * torch.rand(60, 1, 2, 2), torch.arange(60) % 2
    model[1].bias.data -= model(images).detach().mean(dim=0)
    method = RobustLevelSets(eps_correct=0.2, eps_wrong=0.2, eps_attack=0.8, steps=3, step_size=0.06)
    found = method.find_boundary(model, images, labels, 0.2, draws())

    margins = class_margin(model(images), labels).detach()
    weights = (model[1].weight[labels] - model[1].weight[1 - labels]).detach().reshape(images.shape)
    sign = margins.sign()[:, None, None, None]
    lower, upper = box(images, 0.2)
    length = torch.where(sign > 0, 3 * 0.06 * 0.2 / 0.8, 3 * 0.06)
    start = uniform_in(lower, upper, draws())
    ends = (start - length * sign * weights.sign()).clamp(lower, upper)
    end_margins = class_margin(model(ends), labels).detach()
    rows = (margins * end_margins < 0).nonzero()[:, 0]
    assert 5 < int((margins[rows] > 0).sum()) < len(rows) - 5
    assert torch.equal(found.rows, rows)
    share = (margins / (margins - end_margins))[:, None, None, None]
    torch.testing.assert_close(found.points, torch.lerp(images, ends, share)[rows], atol=1e-4, rtol=0)


def test_a_root_that_is_not_sharp_enough_is_not_used():
    model = TwoClasses(lambda mean: 1e3 * mean**3 - 1)  # its root is at a mean of 0.6
    images = (0.6 + torch.linspace(0.01, 0.3, 40)).reshape(40, 1, 1, 1).expand(40, 1, 2, 2).contiguous()
    labels = torch.zeros(40, dtype=torch.long)

    def roots(tolerance):
        method = RobustLevelSets(
            eps_correct=0.4, eps_wrong=0.4, eps_attack=0.4, steps=2, step_size=0.4, root_tolerance=tolerance
        )
        return method.find_boundary(model, images, labels, 0.4, draws())

    everything, sharp = roots(1e9), roots(0.1)
    values = class_margin(model(everything.points), labels[everything.rows]).abs()
    assert 5 < len(sharp.rows) < len(everything.rows) - 5
    assert torch.equal(sharp.rows, everything.rows[values < 0.1])


def test_a_point_of_which_the_gradient_does_not_oppose_the_way_does_not_count_for_dyart():
    """One step from 0 leads past a trough 0.01 wide at 0.2, to where the field rises; a second one comes back."""
    assert_counted(lambda mean: (mean - 0.2).abs() - 0.005, {1: False, 2: True})


def test_a_point_far_below_the_boundary_does_not_count_for_dyart():
    """One step from 0 leads to 0.21, 2 down a cliff at 0.2; a second one to where it is −0.2."""
    assert_counted(lambda mean: torch.where(mean < 0.2, 1, 200) * (0.2 - mean), {1: False, 2: True})


def assert_counted(function, expected):
    """Assert after how many steps DyART adds its term for an image with a mean of 1/2."""
    model, images, labels = (
        TwoClasses(function),
        torch.full((1, 1, 2, 2), 0.5),
        torch.zeros(1, dtype=torch.long),
    )
    plain = functional.cross_entropy(model(images), labels)
    for steps, counts in expected.items():
        method = DyART(radius=0.3, weight=10, steps=steps, eps_start=0, burn_in_epochs=0)
        assert bool(method(model, images, labels, Moment(0.0, draws())) != plain) == counts


def test_boundary_distance_finds_what_only_starts_beyond_eps_reach():
    """Where the field is flat for 0.17 around a wrong sample, ε is 0.1 and the boundary 0.19 away."""

    def field(points):
        return ((0.19 - points[:, 0]) / 0.02).clamp_max(1)

    torch.manual_seed(0)
    point, label = torch.zeros(1, 1, dtype=torch.float64), -torch.ones(1, dtype=torch.float64)
    loss = BoundaryDistance(0.1, "l2", starts=200)(field, point, label)
    assert loss.item() == pytest.approx(0.1 + 0.19)
    assert BoundaryDistance(0.08, "l2", starts=200)(field, point, label).item() == pytest.approx(1 + 1)


def test_boundary_distance_falls_back_to_the_hinge():
    bias = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    points, labels = torch.zeros(2, 1, dtype=torch.float64), torch.tensor([1.0, -1.0], dtype=torch.float64)
    loss = BoundaryDistance(0.1, "linf")(lambda points: 0 * points[:, 0] + bias, points, labels)
    assert loss.item() == pytest.approx((0.5 + 1.5) / 2)
    assert torch.autograd.grad(loss, bias)[0].item() == pytest.approx(0)
    only_wrong = BoundaryDistance(0.1, "linf")(lambda points: 0 * points[:, 0] + bias, points[1:], labels[1:])
    assert torch.autograd.grad(only_wrong, bias)[0].item() == pytest.approx(1)


def test_uniform_seeds_fill_the_whole_box():
    seen = []

    def field(points):
        seen.append(points.detach().clone())
        return points.norm(dim=1) - 0.5

    class NoCloud:
        def distances(self, queries):
            return queries.norm(dim=1)

    objective = ReconstructionLoss(uniform_share=1.0, level_sigmas=())
    objective(field, torch.zeros(3000, 3), NoCloud(), draws())
    seeds = seen[0]
    assert seeds.shape == (3000, 3)
    assert seeds.abs().max() <= 1.1
    torch.testing.assert_close(seeds.amin(dim=0), torch.full((3,), -1.1), atol=0.01, rtol=0)
    torch.testing.assert_close(seeds.amax(dim=0), torch.full((3,), 1.1), atol=0.01, rtol=0)
    torch.testing.assert_close(seeds.mean(dim=0), torch.zeros(3), atol=0.05, rtol=0)
