"""The threat model: the images within ε of an image that are images, with every pixel in [0, 1]."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from nls.errors import UserError
from nls.levelset import as_column

Norm = Literal["linf", "l2"]


@dataclass(frozen=True)
class Ball:
    """The L∞ or L2 ball of radius ``eps`` (in pixel values, 0 to 1), cut to the unit box.

    Raises:
        UserError: ``eps`` is negative or not a number, or the norm is unknown.
    """

    eps: float
    norm: Norm = "linf"

    def __post_init__(self) -> None:
        if not self.eps >= 0:
            raise UserError(f"eps must be 0 or larger, not {self.eps}")
        if self.norm not in ("linf", "l2"):
            raise UserError(f"unknown norm {self.norm!r}: take linf or l2")

    def random(
        self, images: Float[Tensor, "n *shape"], generator: torch.Generator
    ) -> Float[Tensor, "n *shape"]:
        """Draw a start: uniform in the L∞ box; for L2 a uniform direction and a uniform radius."""
        if self.norm == "linf":
            unit = torch.rand(images.shape, generator=generator, device=generator.device) * 2 - 1
        else:
            unit = torch.randn(images.shape, generator=generator, device=generator.device)
            radius = torch.rand(len(images), generator=generator, device=generator.device)
            unit = unit * as_column(radius / unit.flatten(1).norm(dim=1).clamp_min(1e-12), unit)
        return self.clip(images + self.eps * unit.to(images), images)

    def step(
        self,
        points: Float[Tensor, "n *shape"],
        gradient: Float[Tensor, "n *shape"],
        size: float,
        images: Float[Tensor, "n *shape"],
    ) -> Float[Tensor, "n *shape"]:
        """Move ``size`` along the gradient's sign (L∞) or direction (L2) and return to the ball."""
        if self.norm == "linf":
            return self.clip(points.add(gradient.sign(), alpha=size), images)
        length = gradient.flatten(1).norm(dim=1)
        return self.clip(points + gradient * as_column(size / length.clamp_min(1e-12), gradient), images)

    def clip(
        self, points: Float[Tensor, "n *shape"], images: Float[Tensor, "n *shape"]
    ) -> Float[Tensor, "n *shape"]:
        """Return points of the ball, to rounding: the nearest ones in L∞; in L2 first into the ball, then the box."""
        if self.norm == "linf":
            return torch.maximum(torch.minimum(points, images + self.eps), images - self.eps).clamp_(0, 1)
        offset = points - images
        length = offset.flatten(1).norm(dim=1)
        offset = offset * as_column((self.eps / length.clamp_min(1e-12)).clamp_max(1), offset)
        return (images + offset).clamp_(0, 1)
