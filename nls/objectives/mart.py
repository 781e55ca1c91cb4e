"""MART (Wang et al., *Improving adversarial robustness requires revisiting misclassified examples*, 2020)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nls.attacks import ascend, under_attack
from nls.objectives.base import Moment, box, warmed_up
from nls.objectives.settings import Count, NotNegative, Radius, StepSize
from nls.objectives.trades import divergence

# Keeps log(1 − p) finite where another class has all of the probability, as in the authors' release.
_ROOM = 1e-4


@dataclass(frozen=True)
class MART:
    """``mean BCE(p(x'), y) + β KL(p(x) ‖ p(x')) (1 − p_y(x))``, p the softmax of the logits.

    ``BCE(p, y) = −log p_y − log(1 − max_{k≠y} p_k)`` wants the strongest other class down as well; the divergence
    counts where the network is unsure of the image itself. x' is the end of PGD on the cross-entropy, from a Gaussian
    start of standard deviation 0.001, on the network in evaluation mode.

    Attributes:
        eps: radius in pixel values.
        beta: weight of the divergence; 5 or 6 in the release.
        steps: sign-gradient steps of the search.
        step_size: in pixel values; it shrinks with ε during the warm-up.
        fading_steps: let the step size fall as half a cosine, as :func:`nls.attacks.ascend` says.
        warm_up_epochs: epochs over which ε grows from 0; none in the paper.
    """

    eps: Radius
    beta: NotNegative = 5
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
        lower, upper = box(images, self.eps * share)
        noise = torch.randn(
            images.shape, generator=moment.generator, device=images.device, dtype=images.dtype
        )
        with under_attack(model):
            adversarial = ascend(
                lambda points: functional.cross_entropy(model(points), labels, reduction="none"),
                images + 0.001 * noise,
                lower,
                upper,
                steps=self.steps,
                step_size=self.step_size * share,
                fading=self.fading_steps,
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
