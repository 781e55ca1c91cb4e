"""A step of the geometric SVM (Eq. 11) against the loss as one would first write it.

The plain loss makes all Newton iterations of all three projections on the whole batch, and differentiates all three
through the sample network. Both judge the same batch on the same network. Their losses are compared in float64: in
float32 rounding decides whether a sample far from the boundary gets there, and one sample is a 64th of the loss.
"""

import copy
from collections.abc import Iterator

import torch
from torch import nn

from benchmarks.inputs import halves, separator
from benchmarks.rows import Growth, Row, growth_of, peak_share, taking_turns
from benchmarks.suite import SMOKE, learn_seeds
from nls.objectives.geometric_svm import GeometricSVM

BATCH, WEIGHT, ITERATIONS = 64, 0.05, 15


def rows(quick: bool, device: torch.device) -> Iterator[Row]:
    network, (x, y) = separator(device), halves(device)
    x, y = x[:BATCH], y[:BATCH]
    loss_of = GeometricSVM(regularization=WEIGHT, max_iterations=ITERATIONS)

    def ours():
        network.zero_grad()
        loss_of(network, x, y).backward()

    def theirs():
        network.zero_grad()
        _plain(network, x, y).backward()

    ours()
    theirs()
    mine, other = taking_turns(ours, theirs, device, 3 if quick else 15)
    exact = copy.deepcopy(network).double()
    first, second = (float(loss(exact, x.double(), y.double()).detach()) for loss in (loss_of, _plain))
    yield Row(
        f"geometric SVM, loss and gradient, {BATCH} images of 28 × 28", mine, "plain Eq. 11", other,
        peak_share(ours, mine, device), f"loss in float64: {first:.5f} and {second:.5f}",
        abs(first - second) <= 2e-3 * second,
    )  # fmt: skip


def _plain(network: nn.Module, x, y):
    values, _ = _evaluate(network, x)
    zero = _newton(network, x, 0.0)
    lower, upper = (_newton(network, zero, level) for level in (-1.0, 1.0))
    p_zero, p_lower, p_upper = (_sample(network, points) for points in (zero, lower, upper))
    delta = torch.minimum(_distance(p_zero, p_lower), _distance(p_zero, p_upper))
    geometric = (1 - torch.sign(y * values) * _distance(x, p_zero) / delta).clamp_min(0) + WEIGHT / delta
    reached = [
        (_evaluate(network, p)[0] - t).abs() <= 1e-3 for p, t in ((zero, 0.0), (lower, -1.0), (upper, 1.0))
    ]
    usable = reached[0] & reached[1] & reached[2] & (_distance(x, zero) <= 1) & (delta.detach() <= 1)
    hinge = (1 - y * network(x).flatten()).clamp_min(0)
    return torch.where(usable, geometric, hinge).mean()


def _newton(network, points, level):
    for _ in range(ITERATIONS):
        values, gradient = _evaluate(network, points)
        step = (values - level) / gradient.flatten(1).square().sum(dim=1)
        points = points - step.reshape(-1, 1, 1, 1) * gradient
    return points


def _sample(network, points):
    values, gradient = _evaluate(network, points)
    direction = gradient / gradient.flatten(1).square().sum(dim=1).reshape(-1, 1, 1, 1)
    return points - direction * (network(points).flatten() - values).reshape(-1, 1, 1, 1)


def _evaluate(network, points):
    points = points.detach().requires_grad_(True)
    values = network(points).flatten()
    (gradient,) = torch.autograd.grad(values.sum(), points)
    return values.detach(), gradient


def _distance(first, second):
    return (first - second).flatten(1).abs().amax(dim=1)


def growth(quick: bool, device: torch.device) -> Iterator[Growth]:
    network, (x, y) = separator(device), halves(device)
    loss_of = GeometricSVM(regularization=WEIGHT)

    def prepare(count):
        return lambda: loss_of(network, x[:count], y[:count]).backward()

    yield growth_of("geometric SVM, loss and gradient", "images", (32, 64, 128), prepare, device)
    yield growth_of(
        "a run of Figure 2, 20 steps of cross-entropy", "seeds", (1, 2, 4) if quick else (1, 2, 4, 8),
        lambda count: lambda: learn_seeds(
            SMOKE, "cross_entropy", list(range(count)), 20, device, together=device.type != "cpu"
        ),
        device,
    )  # fmt: skip
