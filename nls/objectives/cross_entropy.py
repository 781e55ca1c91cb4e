"""Standard training."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nls.objectives.base import Moment, always


@dataclass(frozen=True)
class Standard:
    """The mean cross-entropy of the images as they are."""

    repeatable = always

    def __call__(
        self, model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], moment: Moment
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        return functional.cross_entropy(model(images), labels)
