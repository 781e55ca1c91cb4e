"""DyART (Xu et al., *Exploring and exploiting decision boundary dynamics for adversarial robustness*, 2023)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nls.attacks import nearest_beyond, under_attack
from nls.levelset import soft_class_margin, values_and_jacobian
from nls.objectives.base import Moment, rows_to_train_on
from nls.objectives.search import box, uniform_in
from nls.objectives.settings import Count, NotNegative, Positive, Radius

# What a nearest boundary point counts by, all from the release: the share of the longest way that a coordinate has
# moved most from, the share of those in which D_xφ opposes the step, and the least φ, in logits.
_MOST, _OPPOSED, _LEAST_LEVEL = 0.8, 0.9, -0.3


@dataclass(frozen=True)
class DyART:
    """``mean CE(f(x), y) + λ/N Σ h(R(x; θ))`` over samples inside their class, ``h(r) = exp(−α r)/α`` for r < r₀.

    R is the L∞ distance to the soft boundary ``φ = f_y − log(Σ_{k≠y} exp(T f_k))/T = 0``. With x̂ the nearest
    boundary point, ``D_θR = D_θφ(x̂) / ‖D_xφ(x̂)‖₁``: the boundary's own speed, which is what the sample network of
    Eq. 8 gives in L∞. This holds away from the walls of the box [0, 1]; pixels held by a wall are counted as free. So
    the term's gradient is that of ``−w φ(x̂; θ)`` with the fixed weight ``w = exp(−α R)/‖D_xφ(x̂)‖₁``.

    x̂ is searched by FAB on the network in evaluation mode. As in the release, it counts if φ is close to 0 there
    and if D_xφ opposes the step in nine tenths of the coordinates that have moved most, as at a nearest point.

    Attributes:
        decay: α of h, per unit of pixel values.
        radius: r₀, the largest distance that is worked for, in pixel values; twice the attack's ε in the release.
        weight: λ.
        temperature: T.
        steps: of the search; each takes one gradient and one value.
        eps_start: width of the box around the image in which the search starts, in pixel values.
        burn_in_epochs: epochs of cross-entropy alone at the start; 10 in the release.
    """

    radius: Radius
    decay: Positive = 3
    weight: NotNegative = 1000
    temperature: Positive = 5
    steps: Count = 20
    eps_start: Radius = 0.03
    burn_in_epochs: NotNegative = 10

    def __call__(
        self, model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], moment: Moment
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        clean = functional.cross_entropy(model(images), labels)
        if moment.epoch < self.burn_in_epochs:
            return clean
        points, weights, counted = self._boundary(model, images, labels, moment.generator)
        rows = rows_to_train_on(model, counted)
        if len(rows) == 0:
            return clean
        margins = soft_class_margin(model(points[rows]), labels[rows], self.temperature)
        return clean - self.weight * (weights[rows] * margins).sum() / len(images)

    def _boundary(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Bool[Tensor, " n"]]:
        """Return nearest boundary points, their weights, and which of them count; the weight of others is 0."""

        def field(points: Tensor, *context: Tensor) -> Tensor:
            return soft_class_margin(model(points), labels, self.temperature)

        start = uniform_in(*box(images, self.eps_start / 2), generator)
        with under_attack(model):
            with torch.no_grad():
                inside = field(images) > 0
            nearest = nearest_beyond(field, images, start, steps=self.steps)
            values, jacobian = values_and_jacobian(field, nearest.points)
        slope = jacobian[:, 0].flatten(1)
        step = (nearest.points - images).flatten(1)
        moved_most = step.abs() > _MOST * step.abs().amax(dim=1, keepdim=True)
        opposed = (moved_most & (step * slope < 0)).sum(dim=1) > _OPPOSED * moved_most.sum(dim=1)
        near = nearest.distances < self.radius
        counted = inside & nearest.found & near & opposed & (values[:, 0] > _LEAST_LEVEL)
        speed = slope.abs().sum(dim=1).clamp_min(torch.finfo(slope.dtype).tiny ** 0.5)
        weights = torch.exp(-self.decay * torch.where(counted, nearest.distances, 0.0)) / speed
        return nearest.points, torch.where(counted, weights, 0.0), counted
