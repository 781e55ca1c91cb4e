"""The search of robust losses: sign-gradient steps in the box of radius ε around every image."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nls.attacks import ascend
from nls.objectives.base import Moment, warmed_up
from nls.objectives.draws import normal_like, uniform_like
from nls.objectives.settings import Count, NotNegative, StepSize


def box(
    images: Float[Tensor, "n c h w"], radius: float | Float[Tensor, "*n_1_1_1"]
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n c h w"]]:
    """Return the least and the largest pixel values within ``radius`` of the images and in [0, 1]."""
    return (images - radius).clamp_min(0), (images + radius).clamp_max(1)


def uniform_in(
    lower: Float[Tensor, "*shape"], upper: Float[Tensor, "*shape"], generator: torch.Generator
) -> Float[Tensor, "*shape"]:
    """Draw uniformly between two bounds."""
    return torch.lerp(lower, upper, uniform_like(lower, generator))


@dataclass(frozen=True, kw_only=True)
class BoxSearch:
    """What every loss with such a search can be told about it, beside its own settings.

    Attributes:
        steps: sign-gradient steps.
        step_size: in pixel values; during the warm-up it is smaller, as ε is.
        fading_steps: let the step size fall as half a cosine, as :func:`nls.attacks.ascend` says.
        warm_up_epochs: epochs over which ε grows from 0.
    """

    steps: Count = 40
    step_size: StepSize = 0.01
    fading_steps: bool = False
    warm_up_epochs: NotNegative = 0

    def grown(self, moment: Moment) -> float | Float[Tensor, ""]:
        """Return the share of ε that the warm-up has reached."""
        return warmed_up(0, 1, self.warm_up_epochs, moment.epoch)

    def climb(
        self,
        loss: Callable[[Tensor], Tensor],
        images: Float[Tensor, "n c h w"],
        radius: float | Float[Tensor, "*n_1_1_1"],
        generator: torch.Generator,
        *,
        scale: float | Float[Tensor, "*n_1_1_1"],
        noise: float | None = None,
    ) -> Float[Tensor, "n c h w"]:
        """Climb ``loss`` by :func:`nls.attacks.ascend` in the :func:`box` around the images.

        Args:
            loss: values to increase, one an image.
            images: pixels in [0, 1].
            radius: of the box, in pixel values, one or one an image.
            generator: draws the start.
            scale: factor of the step size, one or one an image.
            noise: standard deviation of a Gaussian start around the images; None starts anywhere in the box.
        """
        lower, upper = box(images, radius)
        if noise is None:
            start = uniform_in(lower, upper, generator)
        else:
            start = images + noise * normal_like(images, generator)
        step_size = self.step_size * scale
        return ascend(
            loss, start, lower, upper, steps=self.steps, step_size=step_size, fading=self.fading_steps
        )
