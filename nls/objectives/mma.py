"""Max-margin adversarial training (Ding et al., *MMA training*, 2020)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nls.attacks import under_attack
from nls.levelset import ClassMargin, false_position
from nls.objectives.base import Moment, rows_to_train_on, unless_rows_leave
from nls.objectives.search import BoxSearch
from nls.objectives.settings import Radius


@dataclass(frozen=True)
class MMA(BoxSearch):
    """``⅓ mean CE(x) + ⅔ mean L`` with ``L = CE(x)`` for wrong samples and ``CE(x + δ*)`` for correct ones.

    ``x + δ*`` is the boundary point found on the way to the end of a PGD search on the margin within ``eps_max``;
    correct samples whose boundary lies farther away contribute nothing to L. Ascending the margin at the boundary
    is ascending the distance to it, which is what Eq. 12 does through its sample network.

    The original keeps a radius for every training image from epoch to epoch, starting from the last distance
    found; here every search has the radius ``eps_max``, and false position takes at most as many iterations as the
    search has steps. The search's settings are those of :class:`~nls.objectives.search.BoxSearch`; the paper has no
    warm-up.

    Attributes:
        eps_max: largest distance that is worked for, in pixel values.
    """

    eps_max: Radius

    repeatable = unless_rows_leave

    def __call__(
        self, model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], moment: Moment
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        share = self.grown(moment)
        field = ClassMargin(model)
        with under_attack(model):
            ends = self.climb(
                lambda points: -field(points, labels),
                images,
                self.eps_max * share,
                moment.generator,
                scale=share,
            )
            with torch.no_grad():
                margins, end_margins = field(images, labels), field(ends, labels)
            roots = false_position(
                field,
                images,
                ends,
                end_values=(margins, end_margins),
                context=(labels,),
                tolerance=1e-3,
                max_iterations=self.steps,
            )
        correct = margins > 0
        near = correct & (end_margins < 0)
        natural = functional.cross_entropy(model(images), labels, reduction="none")
        rows = rows_to_train_on(model, near)
        total = torch.where(correct, 0.0, natural).sum()
        if len(rows):
            boundary = functional.cross_entropy(model(roots.points[rows]), labels[rows], reduction="none")
            total = total + torch.where(near[rows], boundary, 0.0).sum()
        return natural.mean() / 3 + 2 / 3 * total / len(images)
