"""MART (Wang et al., *Improving adversarial robustness requires revisiting misclassified examples*, 2020)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nls.attacks import under_attack
from nls.objectives.base import Moment, always
from nls.objectives.search import BoxSearch
from nls.objectives.settings import NotNegative, Radius
from nls.objectives.trades import NOISE, divergence

# Keeps log(1 − p) finite where another class has all of the probability, as in the authors' release.
_ROOM = 1e-4


@dataclass(frozen=True)
class MART(BoxSearch):
    """``mean BCE(p(x'), y) + β KL(p(x) ‖ p(x')) (1 − p_y(x))``, p the softmax of the logits.

    ``BCE(p, y) = −log p_y − log(1 − max_{k≠y} p_k)`` wants the strongest other class down as well; the divergence
    counts where the network is unsure of the image itself. x' is the end of PGD on the cross-entropy, from a Gaussian
    start of standard deviation 0.001, on the network in evaluation mode; the settings of the search are those of
    :class:`~nls.objectives.search.BoxSearch`. The paper has no warm-up.

    Attributes:
        eps: radius in pixel values.
        beta: weight of the divergence; 5 or 6 in the release.
    """

    eps: Radius
    beta: NotNegative = 5

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
                noise=NOISE,
            )
        natural, other = model(images), model(adversarial)
        unsure = 1 - natural.softmax(dim=1).gather(1, labels[:, None])[:, 0]
        return (boosted_cross_entropy(other, labels) + self.beta * divergence(natural, other) * unsure).mean()


def boosted_cross_entropy(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return ``−log p_y − log(1 − max_{k≠y} p_k)`` sample by sample."""
    others = logits.softmax(dim=1).scatter(1, labels[:, None], 0)
    return functional.cross_entropy(logits, labels, reduction="none") - torch.log(
        1 + _ROOM - others.amax(dim=1)
    )
