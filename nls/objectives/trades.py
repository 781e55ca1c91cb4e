"""TRADES (Zhang et al., *Theoretically principled trade-off between robustness and accuracy*, 2019)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nls.attacks import under_attack
from nls.objectives.base import Moment, always
from nls.objectives.search import BoxSearch
from nls.objectives.settings import NotNegative, Radius

# The standard deviation of the Gaussian, around the images, in which the search starts, in pixel values.
NOISE = 0.001


@dataclass(frozen=True)
class Trades(BoxSearch):
    """``cross-entropy(f(x), y) + β max_{‖x' − x‖∞ ≤ ε} KL(softmax f(x) ‖ softmax f(x'))``, mean over the batch.

    The search sees the network in evaluation mode and starts from a Gaussian of standard deviation 0.001. Its
    settings are those of :class:`~nls.objectives.search.BoxSearch`; the paper has no warm-up.

    Attributes:
        eps: radius in pixel values.
        beta: weight of the divergence.
    """

    eps: Radius
    beta: NotNegative

    repeatable = always

    def __call__(
        self, model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], moment: Moment
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        adversarial = farthest_in_divergence(model, images, self.eps, self, moment)
        natural = model(images)
        robust = divergence(natural, model(adversarial)).mean()
        return functional.cross_entropy(natural, labels) + self.beta * robust


def farthest_in_divergence(
    model: nn.Module, images: Float[Tensor, "n c h w"], eps: float, search: BoxSearch, moment: Moment
) -> Float[Tensor, "n c h w"]:
    """Search within ``eps`` (L∞, pixel values) what the network, in evaluation mode, answers least as the images."""
    share = search.grown(moment)
    with under_attack(model):
        with torch.no_grad():
            natural = model(images)
        return search.climb(
            lambda points: divergence(natural, model(points)),
            images,
            eps * share,
            moment.generator,
            scale=share,
            noise=NOISE,
        )


def divergence(natural: Float[Tensor, "n k"], other: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """Return ``KL(softmax(natural) ‖ softmax(other))`` sample by sample, from logits."""
    log_natural, log_other = natural.log_softmax(dim=1), other.log_softmax(dim=1)
    return functional.kl_div(log_other, log_natural, reduction="none", log_target=True).sum(dim=1)
