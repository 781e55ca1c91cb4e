"""Max-margin adversarial training (Ding et al., *MMA training*, 2020)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nls.attacks import under_attack
from nls.levelset import ClassMargin, false_position
from nls.objectives.base import Moment, climbed_in_box, has_batch_normalisation, rows_to_train_on, warmed_up
from nls.objectives.settings import Count, NotNegative, Radius, StepSize


@dataclass(frozen=True)
class MMA:
    """``⅓ mean CE(x) + ⅔ mean L`` with ``L = CE(x)`` for wrong samples and ``CE(x + δ*)`` for correct ones.

    ``x + δ*`` is the boundary point found on the way to the end of a PGD search on the margin within ``eps_max``;
    correct samples whose boundary lies farther away contribute nothing to L. Ascending the margin at the boundary
    is ascending the distance to it, which is what Eq. 12 does through its sample network.

    The original keeps a radius for every training image from epoch to epoch, starting from the last distance
    found; here every search has the radius ``eps_max``.

    Attributes:
        eps_max: largest distance that is worked for, in pixel values.
        steps: sign-gradient steps of the search, and the most iterations of false position.
        step_size: in pixel values; it shrinks with ``eps_max`` during the warm-up.
        fading_steps: let the step size fall as half a cosine, as :func:`nls.attacks.ascend` says.
        warm_up_epochs: epochs over which ``eps_max`` grows from 0; none in the paper.
    """

    eps_max: Radius
    steps: Count = 40
    step_size: StepSize = 0.01
    fading_steps: bool = False
    warm_up_epochs: NotNegative = 0

    def repeatable(self, model: nn.Module) -> bool:
        """Return whether every step is the same operations: unless rows are taken out of the batch."""
        return not has_batch_normalisation(model)

    def __call__(
        self, model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], moment: Moment
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        share = warmed_up(0, 1, self.warm_up_epochs, moment.epoch)
        field = ClassMargin(model)
        with under_attack(model):
            ends = climbed_in_box(
                lambda points: -field(points, labels),
                images,
                self.eps_max * share,
                moment.generator,
                steps=self.steps,
                step_size=self.step_size * share,
                fading=self.fading_steps,
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
