"""Implicit geometric regularisation (Gropp et al. 2020): a fit with an eikonal term, without normals."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nls.levelset import Field
from nls.levelset.fields import values_of


@dataclass(frozen=True)
class IgrLoss:
    """``mean |F(x_j)| + λ mean (‖∇F(x)‖ − 1)²`` with the sampling of the authors' release.

    x are the batch's points moved by ``N(0, local_sigma²)`` (the release takes the distance to the 50th
    neighbour for each point) and as many points uniform in a box, an eighth of them.

    Attributes:
        eikonal_weight: λ.
        local_sigma: standard deviation of the samples near the cloud.
        box: half the width of the box.
    """

    eikonal_weight: float = 0.1
    local_sigma: float = 0.02
    box: float = 1.1

    def __call__(
        self, field: Field, batch: Float[Tensor, "n d"], generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Return the mean ``|F|`` on the batch and the mean square of ``‖∇F‖ − 1`` at the samples."""
        normal = torch.randn(batch.shape, generator=generator, device=batch.device, dtype=batch.dtype)
        eighth = batch[: len(batch) // 8]
        share = torch.rand(eighth.shape, generator=generator, device=batch.device, dtype=batch.dtype)
        local, uniform = batch + self.local_sigma * normal, self.box * (2 * share - 1)
        places = torch.cat([local, uniform]).requires_grad_(True)
        values = values_of(field, places)
        (gradient,) = torch.autograd.grad(values.sum(), places, create_graph=True)
        eikonal = (torch.linalg.vector_norm(gradient, dim=1) - 1).square().mean()
        return values_of(field, batch).abs().mean(), eikonal

    def total(self, fit: Float[Tensor, ""], eikonal: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Return the loss."""
        return fit + self.eikonal_weight * eikonal
