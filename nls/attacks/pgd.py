"""Projected gradient descent (Kurakin et al., 2017; Madry et al., 2018)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nls.attacks.ball import Ball
from nls.attacks.model import NOT_FINITE, mean_logits, require_finite, under_attack
from nls.engine.graphs import Repeated
from nls.errors import UserError
from nls.levelset import as_column, class_margin

Loss = Literal["xent", "margin"]

# What an attack increases, example by example: the cross-entropy, or −F^y = max_{i≠y} f_i − f_y.
LOSSES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    "xent": lambda logits, labels: functional.cross_entropy(logits, labels, reduction="none"),
    "margin": lambda logits, labels: -class_margin(logits, labels),
}

NEVER = -1

# Steps between two looks at which examples are broken, by type of device: a GPU has to wait for every look.
STEPS_BETWEEN_LOOKS = {"cpu": 1, "cuda": 10}


@dataclass(frozen=True)
class Attacked:
    """What became of the examples.

    Attributes:
        points: ``(n, c, h, w)``, in the ball: the first misclassified iterate, or else the last one.
        broken_at: how many steps broke the example, 0 for its start, :data:`NEVER` for none, ``(n,)``.
    """

    points: Float[Tensor, "n c h w"]
    broken_at: Int[Tensor, " n"]

    @property
    def broken(self) -> Bool[Tensor, " n"]:
        """Where the model is wrong on the point."""
        return self.broken_at != NEVER


# Where steps are replayed as graphs, which are for one number of rows: batches are filled up to a power of two.
FIXED_SIZES = {"cuda"}


def pgd(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    ball: Ball,
    start: Float[Tensor, "n c h w"],
    *,
    loss: Loss,
    steps: int,
    step_size: float,
    stop_when_broken: bool = True,
    passes: int = 1,
    batch_size: int = 250,
) -> Attacked:
    """Climb the loss from ``start``, staying in the ball.

    An example stops at its first misclassified iterate. On a CPU it leaves the work at once, on a GPU a few steps
    later (see :data:`STEPS_BETWEEN_LOOKS`); full batches are made of those that remain.

    Args:
        model: returns logits ``(n, classes)``; is attacked in evaluation mode and gets its mode back.
        images: pixels in [0, 1], on the model's device.
        labels: true classes.
        ball: the allowed points.
        start: first iterates, in the ball; see :meth:`Ball.random`.
        loss: cross-entropy, or the negative margin ``−F^y``.
        steps: gradient steps.
        step_size: length of a step in the ball's norm, in pixel values.
        stop_when_broken: False follows every example to the last step and judges only there.
        passes: for a model that draws random numbers: the gradient is the mean over so many passes (expectation
            over transformation, Athalye et al., 2018), and the mean of their logits is the answer.
        batch_size: examples in one forward pass.

    Raises:
        UserError: a logit is not finite.
    """
    points, broken_at = start.clone(), torch.full_like(labels, NEVER)
    active = torch.arange(len(images), device=images.device)
    between_looks = STEPS_BETWEEN_LOOKS[images.device.type] if stop_when_broken else max(steps, 1)
    climb = _Climb(model, ball, loss, step_size, stop_when_broken, passes)
    with under_attack(model):
        for done in range(0, steps, between_looks):
            if len(active) == 0:
                break
            for rows in active.split(batch_size):
                points[rows], broken_at[rows] = climb.onward(
                    points[rows],
                    images[rows],
                    labels[rows],
                    broken_at[rows],
                    done,
                    min(between_looks, steps - done),
                )
            active = active[torch.nonzero(broken_at[active] == NEVER)[:, 0]]
        for rows in active.split(batch_size) if len(active) else ():
            logits = require_finite(mean_logits(model, points[rows], passes))
            broken_at[rows] = torch.where(logits.argmax(dim=1) != labels[rows], steps, NEVER)
    return Attacked(points, broken_at)


@dataclass(frozen=True)
class _Climb:
    """The steps of PGD on a batch; the arguments are those of :func:`pgd`."""

    model: nn.Module
    ball: Ball
    loss: Loss
    step_size: float
    stop_when_broken: bool
    passes: int
    _batches: dict[int, "_Batch"] = field(default_factory=dict)

    def onward(
        self, points: Tensor, images: Tensor, labels: Tensor, broken_at: Tensor, done: int, steps: int
    ) -> tuple[Tensor, Tensor]:
        """Take ``steps`` steps after ``done`` ones; return the points and which step broke each.

        Raises:
            UserError: a logit is not finite.
        """
        count = len(points)
        values = [points, images, labels, broken_at]
        if points.device.type in FIXED_SIZES:
            size = 1 << (count - 1).bit_length()
            rows = torch.arange(size, device=points.device).clamp_max(count - 1)
            values = [value[rows] for value in values]
            batch = self._batches[size] = self._batches.get(size) or _Batch(self, values)
        else:
            batch = _Batch(self, values)
        batch.load(values, done)
        batch.steps(steps)
        if not batch.finite:
            raise UserError(NOT_FINITE)
        return batch.points[:count], batch.broken_at[:count]


class _Batch:
    """Tensors that a step of PGD reads and writes in place, so that a GPU can replay it as a graph."""

    def __init__(self, climb: _Climb, values: Sequence[Tensor]) -> None:
        self.climb = climb
        self.points, self.images, self.labels, self.broken_at = map(torch.empty_like, values)
        self.finite = torch.ones((), dtype=torch.bool, device=self.points.device)
        self.step = torch.zeros((), dtype=self.broken_at.dtype, device=self.points.device)
        # A captured model would replay the same random numbers.
        self.steps = Repeated(self.advance, self.points.device, capture=climb.passes == 1)

    def load(self, values: Sequence[Tensor], step: int) -> None:
        """Take in another batch of the same size, to go on from ``step``."""
        for mine, value in zip((self.points, self.images, self.labels, self.broken_at), values, strict=True):
            mine.copy_(value)
        self.step.fill_(step)

    def advance(self) -> None:
        """Take one step."""
        climb = self.climb
        logits, gradient = _logits_and_gradient(
            climb.model, self.points, self.labels, climb.loss, climb.passes
        )
        self.finite.logical_and_(logits.isfinite().all())
        if climb.stop_when_broken:
            newly = (logits.argmax(dim=1) != self.labels) & (self.broken_at == NEVER)
            self.broken_at.copy_(torch.where(newly, self.step, self.broken_at))
        moved = climb.ball.step(self.points, gradient, climb.step_size, self.images)
        going = as_column(self.broken_at == NEVER, moved)
        self.points.copy_(torch.where(going, moved, self.points))
        self.step.add_(1)


def ascend(
    loss: Callable[[Tensor], Tensor],
    start: Float[Tensor, "n *shape"],
    lower: Float[Tensor, "n *shape"],
    upper: Float[Tensor, "n *shape"],
    *,
    steps: int,
    step_size: float | Float[Tensor, "n *ones"],
    fading: bool = False,
) -> Float[Tensor, "n *shape"]:
    """Climb ``loss`` by sign-gradient steps inside a box; the search of adversarial training.

    Args:
        loss: values to increase, one a point, ``(n, *shape) → (n,)``; on a GPU it must not draw random numbers.
        start: first iterates.
        lower: least pixel values.
        upper: largest pixel values.
        steps: sign-gradient steps, all of them taken.
        step_size: length of a step in L∞, one or one a point.
        fading: step k is shorter by the factor ``(1 + cos(πk/steps))/2``. Large first steps and small last ones end
            higher than as many equal ones.
    """
    points = start.detach().clone()
    counted = torch.arange(steps, device=points.device)
    shares = ((1 + torch.cos(math.pi / steps * counted)) / 2 if fading else torch.ones_like(counted)).to(
        points
    )
    step = counted[:1].clone()

    def advance() -> None:
        with torch.enable_grad():
            here = points.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(loss(here).sum(), here)
        torch.clamp(points + step_size * shares[step] * gradient.sign(), lower, upper, out=points)
        step.add_(1)

    Repeated(advance, points.device)(steps)
    return points


def _logits_and_gradient(
    model: nn.Module, points: Tensor, labels: Tensor, loss: Loss, passes: int
) -> tuple[Tensor, Tensor]:
    """Return the logits and the gradient of the loss, both as means over ``passes``."""
    found = []
    for _ in range(passes):
        with torch.enable_grad():
            here = points.detach().requires_grad_(True)
            logits = model(here)
            # A sum, not a mean: dividing by the batch size would bring small gradients closer to underflow.
            (gradient,) = torch.autograd.grad(LOSSES[loss](logits, labels).sum(), here)
        found.append((logits.detach(), gradient))
    if passes == 1:
        return found[0]
    logits, gradient = (torch.stack(values).mean(dim=0) for values in zip(*found, strict=True))
    return logits, gradient
