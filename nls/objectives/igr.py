"""Implicit geometric regularisation (Gropp et al. 2020): a fit with an eikonal term, with or without normals."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from nls.levelset import Field
from nls.levelset.fields import values_of
from nls.objectives.draws import normal_like, uniform_like


class IgrTerms(NamedTuple):
    """The parts of the loss: mean ``|F|`` and mean ``‖∇F − n‖`` on the cloud, mean ``(‖∇F‖ − 1)²`` at the
    samples, and mean over the uniform ones of ``max(0, d_H − F)``, counted outside the cloud's hull H."""

    fit: Float[Tensor, ""]
    normal: Float[Tensor, ""]
    eikonal: Float[Tensor, ""]
    outside: Float[Tensor, ""]


@dataclass(frozen=True)
class IgrLoss:
    """``mean |F(x_j)| + τ mean ‖∇F(x_j) − n_j‖ + λ mean (‖∇F(x)‖ − 1)² + κ mean max(0, d_H(x) − F(x))``.

    A third of the samples x are near the cloud (points of the batch moved by ``N(0, σ_j²)``, with σ_j the distance to
    the 50th neighbour), a third uniform in the cloud's own box, and a third uniform in the box of the grid; the paper
    takes half near the cloud and half uniform. The last term is ours. d_H is how far x is beyond one of the planes
    around the cloud's convex hull H, which have some slack, so the term is 0 for the signed distance to any surface
    inside H. Without normals nothing else tells F its sign outside: the surface runs out through a hole of the scan,
    or stands as a sheet in the air.

    Attributes:
        eikonal_weight: λ.
        normal_weight: τ, for a batch with normals.
        outside_weight: κ.
        box: half the width of the grid's box.
        margin: by how much the cloud's own box is widened on each side for samples.
        slack: by how much H is widened: a surface goes a little beyond a cloud with holes.
    """

    eikonal_weight: float = 0.1
    normal_weight: float = 1.0
    outside_weight: float = 10.0
    box: float = 1.1
    margin: float = 0.1
    slack: float = 0.02

    def __call__(
        self,
        field: Field,
        batch: Float[Tensor, "n d"],
        spacing: Float[Tensor, " n"],
        normals: Float[Tensor, "n d"] | None,
        bounds: tuple[Float[Tensor, " d"], Float[Tensor, " d"]],
        hull: tuple[Float[Tensor, "k d"], Float[Tensor, " k"]],
        generator: torch.Generator,
    ) -> IgrTerms:
        """Return the terms on a batch of the cloud.

        Args:
            field: F.
            batch: points of the cloud, in the unit ball.
            spacing: σ of each.
            normals: unit normals of the batch's points, outwards; None to do without.
            bounds: the smallest and the largest coordinates of the cloud.
            hull: unit normals of planes around it, outwards, and each plane's distance from the origin
                (:func:`nls.geometry.hull.supporting_planes`).
            generator: of the samples.
        """
        half = len(batch) // 2
        local = batch[:half] + spacing[:half, None] * normal_like(batch[:half], generator)
        low, high = bounds[0] - self.margin, bounds[1] + self.margin
        tight = low + (high - low) * uniform_like(batch[:half], generator)
        wide = self.box * (2 * uniform_like(batch[half:], generator) - 1)
        samples = torch.cat([local, tight, wide])
        values, gradient = _with_gradient(field, samples)
        eikonal = (torch.linalg.vector_norm(gradient, dim=1) - 1).square().mean()
        uniform = samples[half:]
        directions, offsets = hull
        outside = (uniform @ directions.T - offsets).amax(dim=1) - self.slack
        missing = torch.where(outside > 0, torch.relu(outside - values[half:]), 0).mean()
        if normals is None:
            return IgrTerms(values_of(field, batch).abs().mean(), missing.new_zeros(()), eikonal, missing)
        found, slope = _with_gradient(field, batch)
        return IgrTerms(
            found.abs().mean(), torch.linalg.vector_norm(slope - normals, dim=1).mean(), eikonal, missing
        )

    def total(self, terms: IgrTerms) -> Float[Tensor, ""]:
        """Return the loss."""
        return (
            terms.fit
            + self.normal_weight * terms.normal
            + self.eikonal_weight * terms.eikonal
            + self.outside_weight * terms.outside
        )


def _with_gradient(
    field: Field, points: Float[Tensor, "n d"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
    """Return F and ∇F, both differentiable in the parameters."""
    points = points.detach().requires_grad_(True)
    values = values_of(field, points)[:, 0]
    (gradient,) = torch.autograd.grad(values.sum(), points, create_graph=True)
    return values, gradient
