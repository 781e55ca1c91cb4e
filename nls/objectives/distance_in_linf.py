"""Eq. 12 in the norm of the attack, at every sample, beside the loss on an outer level set."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nls.attacks import under_attack
from nls.levelset import (
    SampleNetwork,
    as_column,
    false_position,
    soft_class_margin,
    values_and_jacobian,
)
from nls.objectives.base import Moment, always
from nls.objectives.search import BoxSearch
from nls.objectives.settings import Count, NotNegative, Radius

# A boundary point is sharp enough at this φ: the sample network's own step closes the rest.
SHARP = 1e-2


@dataclass(frozen=True)
class DistanceInLinf(BoxSearch):
    """``mean softplus(m − φ(x'; θ)) + λ/N Σ max(0, ε' − d(x, p(θ)))``, the sum over samples inside their class.

    ``φ = f_y − log Σ_{k≠y} exp f_k``; x' is its least value found in the box of radius ε. The first term is that of
    :class:`~nls.objectives.outer_level.OuterLevel`, adversarial training for m = 0.

    The second is Eq. 12 with three changes. A sample of the boundary moves by the least step in L∞,
    ``p(θ) = p − sign(g) φ(p; θ) / ‖g‖₁`` with ``g = D_xφ(p)``, not along the normal: so the distance is that of the
    attack, and its derivative ``−D_θφ / ‖g‖₁`` is exact for it away from the walls of the box [0, 1]; pixels held by
    a wall are counted as free. The distance is the length itself instead of one axis, and ε' lies beyond ε. And every
    sample has a p: where φ changes its sign on the way from x to x', the root on that way, which is not the nearest
    boundary point but as near as the search has come; elsewhere x' itself, a sample of the level set that it lies on,
    whose distance to the boundary the same formula gives to first order, ``d = ‖x' − x‖∞ + φ(x') / ‖g‖₁``.

    A network cannot lower the second term by steeper logits, which is all that the first one asks for where it is
    nearly met; and the first one holds where a linearisation says nothing.

    Under batch normalisation the points of each term are a batch of their own, of one kind, and the distance at θ₀
    is that of the network in evaluation mode, which the search and an attack see; the training mode, whose margins
    differ, gives its derivative only.

    The search starts anywhere in the box, on the network in evaluation mode; its settings are those of
    :class:`~nls.objectives.search.BoxSearch`, and ε' grows with ε.

    Attributes:
        eps: ε, in pixel values.
        wanted: ε', in pixel values.
        weight: λ, per unit of pixel values.
        level: m, in logits.
        root_iterations: the most iterations of false position.
    """

    eps: Radius
    wanted: Radius
    weight: NotNegative = 30
    level: NotNegative = 3
    root_iterations: Count = 4

    repeatable = always

    def __call__(
        self, model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], moment: Moment
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        share = self.grown(moment)

        def field(points: Tensor, *context: Tensor) -> Tensor:
            return soft_class_margin(model(points), context[0], 1.0)

        with under_attack(model):
            ends = self.climb(
                lambda points: -field(points, labels),
                images,
                self.eps * share,
                moment.generator,
                scale=share,
            )
            with torch.no_grad():
                inside, end_values = field(images, labels), field(ends, labels)
            roots = false_position(
                field,
                images,
                ends,
                end_values=(inside, end_values),
                context=(labels,),
                tolerance=SHARP,
                max_iterations=self.root_iterations,
            )
            points = torch.where(as_column(roots.bracketed, ends), roots.points, ends)
            values, jacobian = values_and_jacobian(field, points, (labels,))
        outer = functional.softplus(self.level - field(ends, labels)).mean()
        live = field(points, labels)

        def evaluated(points: Tensor, *context: Tensor) -> Tensor:
            return live

        # The distance is that of the evaluation mode, φ(p; θ₀) = `values`; the motion is that of the training mode.
        levels = live.detach()[:, None] - values
        samples = SampleNetwork(evaluated, points, levels, jacobian, norm="linf")()
        away = signed_distance(images, points, samples, jacobian)
        short = torch.where(inside > 0, self.wanted * share - away, 0.0).clamp_min(0)
        return outer + self.weight * short.mean()


def signed_distance(
    images: Float[Tensor, "n *shape"],
    points: Float[Tensor, "n *shape"],
    samples: Float[Tensor, "n *shape"],
    jacobian: Float[Tensor, "n 1 *shape"],
) -> Float[Tensor, " n"]:
    """Return ``‖p − x‖∞`` and the length of the least step in L∞ from p to p(θ), positive down the field."""
    down = -jacobian[:, 0].flatten(1).sign()
    moved = (down * (samples - points).flatten(1)).sum(dim=1) / down.abs().sum(dim=1).clamp_min(1)
    return (points - images).flatten(1).abs().amax(dim=1) + moved
