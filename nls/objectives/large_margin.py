"""Large margin loss (Elsayed et al., *Large margin deep networks for classification*, 2018)."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from nls.attacks import under_attack
from nls.levelset import ClassMargin, class_margin, values_and_jacobian
from nls.objectives.base import Moment
from nls.objectives.settings import Positive


@dataclass(frozen=True)
class LargeMargin:
    """``mean max(0, γ − F^y(x) / ‖D_xF^y(x)‖₁)``: the L∞ distance to the boundary of the linearised network.

    This is one generalized Newton step (Eq. 4) in place of a projection. As in the original, the norm of the
    gradient is a constant for the parameters' gradient, and the maximum over classes is taken (``F^y`` is the
    margin to the best other class); only the input layer's margin is used.

    Attributes:
        gamma: wanted distance, in pixel values.
    """

    gamma: Positive

    def __call__(
        self, model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], moment: Moment
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        with under_attack(model):
            _, jacobian = values_and_jacobian(ClassMargin(model), images, (labels,))
        speed = jacobian.flatten(1).abs().sum(dim=1)
        margins = class_margin(model(images), labels)
        return (self.gamma - margins / speed.clamp_min(1e-8)).clamp_min(0).mean()
