"""What was tried beside ``ours-level``: the variants of the ablation in config/beyond.yaml, as methods of one's own.

Each is the search and the loss of ``nls.objectives.outer_level`` with one thing changed; docs/beyond.md says why and
what came of it.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from nls.attacks import ascend, under_attack
from nls.levelset import (
    as_column,
    least_step_inverse,
    soft_class_margin,
    values_and_jacobian,
)
from nls.objectives.base import Moment
from nls.objectives.search import BoxSearch, box, uniform_in


def field(model: nn.Module, points: Tensor, labels: Tensor) -> Tensor:
    """Return the smooth margin φ."""
    return soft_class_margin(model(points), labels, 1.0)


@dataclass(frozen=True)
class _Variant(BoxSearch):
    """A search and a loss as those of ``ours-level``; the attributes are its own."""

    eps: float
    level: float = 0

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor, moment: Moment) -> Tensor:
        share = self.grown(moment)
        with under_attack(model):
            ends = self._search(model, images, labels, moment, share)
        return self._loss(model, images, labels, ends, share)

    def _search(
        self, model: nn.Module, images: Tensor, labels: Tensor, moment: Moment, share: float
    ) -> Tensor:
        return self.climb(
            lambda points: -field(model, points, labels),
            images,
            self.eps * share,
            moment.generator,
            scale=share,
        )

    def _loss(self, model: nn.Module, images: Tensor, labels: Tensor, ends: Tensor, share: float) -> Tensor:
        return functional.softplus(self.level - field(model, ends, labels)).mean()


@dataclass(frozen=True)
class Speed(_Variant):
    """The weight of Eq. 12 in L∞, ``1/‖D_xφ‖₁``, left in: every level set moves by its own speed.

    The weights of a batch are scaled to a harmonic mean of one, so that steep fields do not stop the training.
    """

    def _loss(self, model: nn.Module, images: Tensor, labels: Tensor, ends: Tensor, share: float) -> Tensor:
        with under_attack(model):
            jacobian = values_and_jacobian(lambda points: field(model, points, labels), ends)[1]
        slowness = least_step_inverse(jacobian, "linf").flatten(1).abs().amax(dim=1)
        weights = slowness / slowness.mean().clamp_min(torch.finfo(slowness.dtype).tiny)
        values = field(model, ends, labels)
        return (weights * functional.softplus(self.level - values)).mean()


@dataclass(frozen=True)
class Reach(_Variant):
    """A radius for every sample: where half a search stays in its class, the rest goes on to ``reach``.

    Where it does not, the rest stays within ``near``, by default ε: such a sample first has to withstand less.
    """

    reach: float = 0.4
    near: float | None = None

    def _search(
        self, model: nn.Module, images: Tensor, labels: Tensor, moment: Moment, share: float
    ) -> Tensor:
        def down(points: Tensor) -> Tensor:
            return -field(model, points, labels)

        lower, upper = box(images, self.eps * share)
        start = uniform_in(lower, upper, moment.generator)
        first = (self.steps + 1) // 2
        size = self.step_size * share
        middle = ascend(
            down, start, lower, upper, steps=first, step_size=1.3 * size, fading=self.fading_steps
        )
        with torch.no_grad():
            inside = as_column(down(middle) < 0, images)
        near = self.eps if self.near is None else self.near
        lower, upper = box(images, torch.where(inside, self.reach, near) * share)
        rest = self.steps - first
        return ascend(
            down,
            middle.clamp(lower, upper),
            lower,
            upper,
            steps=rest,
            step_size=size,
            fading=self.fading_steps,
        )


@dataclass(frozen=True)
class Pieces(_Variant):
    """The boundary of class y is made of pieces ``f_y = f_k``: each search goes for one k, drawn by the logits."""

    temperature: float = 3

    def _search(
        self, model: nn.Module, images: Tensor, labels: Tensor, moment: Moment, share: float
    ) -> Tensor:
        with torch.no_grad():
            others = model(images).scatter(1, labels[:, None], -torch.inf)
        piece = torch.multinomial((others / self.temperature).softmax(dim=1), 1, generator=moment.generator)

        def towards(points: Tensor) -> Tensor:
            logits = model(points)
            return (logits.gather(1, piece) - logits.gather(1, labels[:, None]))[:, 0]

        return self.climb(
            towards,
            images,
            self.eps * share,
            moment.generator,
            scale=share,
        )


@dataclass(frozen=True)
class Nearest(_Variant):
    """Two searches of half the steps, and the lower of the two ends."""

    def _search(
        self, model: nn.Module, images: Tensor, labels: Tensor, moment: Moment, share: float
    ) -> Tensor:
        twice, answers = torch.cat([images, images]), torch.cat([labels, labels])
        half = replace(self, steps=self.steps // 2)
        ends = half.climb(
            lambda points: -field(model, points, answers),
            twice,
            self.eps * share,
            moment.generator,
            scale=2 * share,
        )
        with torch.no_grad():
            first, second = field(model, ends, answers).chunk(2)
        one, other = ends.chunk(2)
        return torch.where(as_column(first < second, images), one, other)
