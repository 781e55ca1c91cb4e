"""Projected gradient descent (Kurakin et al., 2017; Madry et al., 2018)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nls.attacks.ball import Ball
from nls.attacks.model import require_finite, under_attack
from nls.levelset import class_margin

Loss = Literal["xent", "margin"]

# What an attack increases, example by example: the cross-entropy, or −F^y = max_{i≠y} f_i − f_y.
LOSSES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    "xent": lambda logits, labels: functional.cross_entropy(logits, labels, reduction="none"),
    "margin": lambda logits, labels: -class_margin(logits, labels),
}

NEVER = -1


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
    batch_size: int = 250,
) -> Attacked:
    """Climb the loss from ``start``, staying in the ball.

    Examples leave the work as soon as an iterate is misclassified, and full batches are made of those that
    remain.

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
        batch_size: examples in one forward pass.

    Raises:
        UserError: a logit is not finite.
    """
    points = start.clone()
    broken_at = torch.full_like(labels, NEVER)
    active = torch.arange(len(images), device=images.device)
    with under_attack(model):
        for step in range(steps):
            if len(active) == 0:
                break
            remaining = []
            for rows in active.split(batch_size):
                logits, gradient = _logits_and_gradient(model, points[rows], labels[rows], loss)
                if stop_when_broken:
                    wrong = require_finite(logits).argmax(dim=1) != labels[rows]
                    broken_at[rows[wrong]] = step
                    rows, gradient = rows[~wrong], gradient[~wrong]
                points[rows] = ball.step(points[rows], gradient, step_size, images[rows])
                remaining.append(rows)
            active = torch.cat(remaining)
        for rows in active.split(batch_size) if len(active) else ():
            broken_at[rows[_is_wrong(model, points[rows], labels[rows])]] = steps
    return Attacked(points, broken_at)


def ascend(
    loss: Callable[[Tensor], Tensor],
    start: Float[Tensor, "n *shape"],
    lower: Float[Tensor, "n *shape"],
    upper: Float[Tensor, "n *shape"],
    *,
    steps: int,
    step_size: float | Float[Tensor, "n *ones"],
) -> Float[Tensor, "n *shape"]:
    """Climb ``loss`` by sign-gradient steps inside a box; the search of adversarial training.

    Args:
        loss: values to increase, one a point, ``(n, *shape) → (n,)``.
        start: first iterates.
        lower: least pixel values.
        upper: largest pixel values.
        steps: sign-gradient steps, all of them taken.
        step_size: length of a step in L∞, one or one a point.
    """
    points = start.detach()
    for _ in range(steps):
        with torch.enable_grad():
            points.requires_grad_(True)
            (gradient,) = torch.autograd.grad(loss(points).sum(), points)
        points = torch.clamp(points.detach() + step_size * gradient.sign(), lower, upper)
    return points


def _logits_and_gradient(
    model: nn.Module, points: Tensor, labels: Tensor, loss: Loss
) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        points = points.detach().requires_grad_(True)
        logits = model(points)
        # A sum, not a mean: dividing by the batch size would bring small gradients closer to underflow.
        (gradient,) = torch.autograd.grad(LOSSES[loss](logits, labels).sum(), points)
    return logits.detach(), gradient


@torch.no_grad()
def _is_wrong(model: nn.Module, points: Tensor, labels: Tensor) -> Tensor:
    return require_finite(model(points)).argmax(dim=1) != labels
