"""TRADES (Zhang et al., *Theoretically principled trade-off between robustness and accuracy*, 2019)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nls.attacks import ascend, under_attack
from nls.objectives.base import Moment, box, warmed_up
from nls.objectives.settings import Count, NotNegative, Radius, StepSize


@dataclass(frozen=True)
class Trades:
    """``cross-entropy(f(x), y) + β max_{‖x' − x‖∞ ≤ ε} KL(softmax f(x) ‖ softmax f(x'))``, mean over the batch.

    The search sees the network in evaluation mode and starts from a Gaussian of standard deviation 0.001.

    Attributes:
        eps: radius in pixel values.
        beta: weight of the divergence.
        steps: sign-gradient steps of the search.
        step_size: in pixel values; it shrinks with ε during the warm-up.
        fading_steps: let the step size fall as half a cosine, as :func:`nls.attacks.ascend` says.
        warm_up_epochs: epochs over which ε grows from 0; none in the paper.
    """

    eps: Radius
    beta: NotNegative
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
        adversarial = farthest_in_divergence(
            model,
            images,
            self.eps * share,
            moment.generator,
            steps=self.steps,
            step_size=self.step_size * share,
            fading=self.fading_steps,
        )
        natural = model(images)
        robust = divergence(natural, model(adversarial)).mean()
        return functional.cross_entropy(natural, labels) + self.beta * robust


def farthest_in_divergence(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    eps: float | Tensor,
    generator: torch.Generator,
    *,
    steps: int,
    step_size: float | Tensor,
    fading: bool,
) -> Float[Tensor, "n c h w"]:
    """Search within ``eps`` (L∞, pixel values) what the network, in evaluation mode, answers least as the images.

    Sign-gradient steps on :func:`divergence` from a Gaussian start of standard deviation 0.001.
    """
    lower, upper = box(images, eps)
    noise = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    with under_attack(model):
        with torch.no_grad():
            natural = model(images)
        return ascend(
            lambda points: divergence(natural, model(points)),
            images + 0.001 * noise,
            lower,
            upper,
            steps=steps,
            step_size=step_size,
            fading=fading,
        )


def divergence(natural: Float[Tensor, "n k"], other: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """Return ``KL(softmax(natural) ‖ softmax(other))`` sample by sample, from logits."""
    log_natural, log_other = natural.log_softmax(dim=1), other.log_softmax(dim=1)
    return functional.kl_div(log_other, log_natural, reduction="none", log_target=True).sum(dim=1)
