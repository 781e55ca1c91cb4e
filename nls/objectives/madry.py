"""Adversarial training (Madry et al., *Towards deep learning models resistant to adversarial attacks*, 2018)."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nls.attacks import under_attack
from nls.objectives.base import Moment, climbed_in_box, warmed_up
from nls.objectives.settings import Count, NotNegative, Radius, StepSize


@dataclass(frozen=True)
class Madry:
    """``mean max_{‖x' − x‖∞ ≤ ε} cross-entropy(f(x'), y)``, the maximum searched by PGD from a uniform start.

    The search sees the network in evaluation mode.

    Attributes:
        eps: radius in pixel values.
        steps: of PGD.
        step_size: of PGD, in pixel values; it shrinks with ε during the warm-up.
        fading_steps: let the step size fall as half a cosine, as :func:`nls.attacks.ascend` says.
        warm_up_epochs: epochs over which ε grows from 0; none in the paper.
    """

    eps: Radius
    steps: Count = 40
    step_size: StepSize = 0.01
    fading_steps: bool = False
    warm_up_epochs: NotNegative = 0

    def repeatable(self, model: nn.Module) -> bool:
        """Return whether every step is the same operations: it is."""
        return True

    def __call__(
        self, model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], moment: Moment
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        share = warmed_up(0, 1, self.warm_up_epochs, moment.epoch)
        with under_attack(model):
            adversarial = climbed_in_box(
                lambda points: functional.cross_entropy(model(points), labels, reduction="none"),
                images,
                self.eps * share,
                moment.generator,
                steps=self.steps,
                step_size=self.step_size * share,
                fading=self.fading_steps,
            )
        return functional.cross_entropy(model(adversarial), labels)
