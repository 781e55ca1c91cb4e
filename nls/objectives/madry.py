"""Adversarial training (Madry et al., *Towards deep learning models resistant to adversarial attacks*, 2018)."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nls.attacks import under_attack
from nls.objectives.base import Moment, always
from nls.objectives.search import BoxSearch
from nls.objectives.settings import Radius


@dataclass(frozen=True)
class Madry(BoxSearch):
    """``mean max_{‖x' − x‖∞ ≤ ε} cross-entropy(f(x'), y)``, the maximum searched by PGD from a uniform start.

    The search sees the network in evaluation mode; its settings are those of
    :class:`~nls.objectives.search.BoxSearch`. The paper has no warm-up.

    Attributes:
        eps: radius in pixel values.
    """

    eps: Radius

    repeatable = always

    def __call__(
        self, model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], moment: Moment
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        share = self.grown(moment)
        with under_attack(model):
            adversarial = self.climb(
                lambda points: functional.cross_entropy(model(points), labels, reduction="none"),
                images,
                self.eps * share,
                moment.generator,
                scale=share,
            )
        return functional.cross_entropy(model(adversarial), labels)
