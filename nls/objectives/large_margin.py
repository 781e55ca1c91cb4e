"""Large margin loss (Elsayed et al., *Large margin deep networks for classification*, 2018)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nls.attacks import under_attack
from nls.levelset import values_and_jacobian
from nls.objectives.base import Moment
from nls.objectives.settings import Positive

# In logits: where all pixels together change a margin by less than this, a network is flat, and has no boundary.
_FLAT = 1e-3


@dataclass(frozen=True)
class LargeMargin:
    """``mean max_{i≠y} max(0, γ − d_i(x))``, ``d_i = (f_y − f_i) / ‖D_x(f_y − f_i)‖₁``, the linearised L∞ distance.

    This is one generalized Newton step (Eq. 4) to the boundary of every other class in place of a projection; the
    nearest boundary need not be that of the class with the second best logit. As in the original, the norm of the
    gradient, which is that of the network in evaluation mode, is a constant for the parameters' gradient; only the
    input layer's margin is used.

    No image is farther than 1 from another in L∞, so the norm counts as at least ``|f_y − f_i|``, and d_i lies in
    [−1, 1]. The authors' release cuts d_i itself: a sample beyond its bound has no gradient, so that a flat network
    is not drawn back.

    Attributes:
        gamma: wanted distance, in pixel values.
    """

    gamma: Positive

    def __call__(
        self, model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], moment: Moment
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        own = labels[:, None]
        with under_attack(model):
            _, jacobian = values_and_jacobian(model, images)
        gradients = jacobian.flatten(2)
        towards_own = gradients.take_along_dim(own[:, :, None], dim=1)
        speeds = (towards_own - gradients).abs().sum(dim=2)
        logits = model(images)
        margins = logits.gather(1, own) - logits
        distances = margins / torch.maximum(speeds, margins.detach().abs()).clamp_min(_FLAT)
        nearest = distances.scatter(1, own, torch.inf).amin(dim=1)
        return (self.gamma - nearest).clamp_min(0).mean()
