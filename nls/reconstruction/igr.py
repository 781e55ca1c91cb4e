"""Implicit geometric regularisation (Gropp et al. 2020), one of Table 2's rivals."""

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from nls.engine.settings import Settings
from nls.geometry.hull import supporting_planes
from nls.geometry.neighbours import Neighbours
from nls.networks.implicit import ImplicitMLP
from nls.objectives.igr import IgrLoss
from nls.reconstruction.session import SurfaceSession
from nls.reconstruction.surface import Surface, trained_surface
from nls.reconstruction.training import Loss, Training

# Points in the fit of a normal, as in screened Poisson.
_NORMAL_NEIGHBOURS = 16


class Igr(Settings):
    """Implicit geometric regularisation."""

    method: Literal["igr"] = "igr"
    width: int = Field(256, ge=1, description="units of a hidden layer")
    depth: int = Field(4, ge=1, description="hidden layers")
    training: Training = Training(steps=3000, batch=500)
    eikonal_weight: float = Field(0.1, ge=0, description="λ of the eikonal term")
    outside_weight: float = Field(
        10.0, ge=0, description="κ of the term that keeps F positive outside the cloud's convex hull"
    )
    neighbours: int = Field(
        50, ge=1, description="noise of a sample near the cloud: the distance to this neighbour"
    )
    normals: bool = Field(
        False, description="fit the normals too, estimated from the scan as for screened Poisson"
    )
    normal_weight: float = Field(1.0, ge=0, description="τ of the term that fits the normals")

    def network_for(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """Return a network for the weights of a trained one."""
        return self._network()

    def _network(self) -> nn.Module:
        return ImplicitMLP(self.width, self.depth, activation="softplus")

    def surface(
        self, points: Float[Tensor, "n 3"], resolution: int, seed: int, session: SurfaceSession
    ) -> Surface:
        """Reconstruct, with estimated normals if :attr:`normals` asks for any; see :class:`SurfaceMethod`."""
        return self._surface(_rows(points, self.neighbours, self.normals), resolution, seed, session)

    def oriented_surface(
        self,
        points: Float[Tensor, "n 3"],
        normals: Float[Tensor, "n 3"],
        resolution: int,
        seed: int,
        session: SurfaceSession,
    ) -> Surface:
        """Reconstruct with the given normals; see :class:`OrientedMethod`."""
        # F grows outwards; the mean of x · n over a closed surface is positive for outward normals.
        outwards = normals if (points * normals).sum() > 0 else -normals
        rows = torch.cat([_rows(points, self.neighbours, False), outwards], dim=1)
        return self._surface(rows, resolution, seed, session)

    def _surface(
        self, rows: Float[Tensor, "n c"], resolution: int, seed: int, session: SurfaceSession
    ) -> Surface:
        points = rows[:, :3].contiguous()
        network = self._network().to(points.device)
        loss = _igr_loss(self, network, points)
        return trained_surface(network, loss, rows, self.training, resolution, seed, session)


def _rows(points: Float[Tensor, "n 3"], neighbours: int, with_normals: bool) -> Float[Tensor, "n c"]:
    """Return what the loss needs of a point: the point, the noise of a sample near it, and perhaps its normal."""
    columns = [points, Neighbours(points).spacing(neighbours)[:, None]]
    if with_normals:
        # Its package takes a second to import.
        from nls.geometry.poisson import estimated_normals

        columns.append(
            torch.as_tensor(estimated_normals(points.cpu().numpy(), _NORMAL_NEIGHBOURS)).to(points)
        )
    return torch.cat(columns, dim=1)


def _igr_loss(method: Igr, network: nn.Module, points: Float[Tensor, "n 3"]) -> Loss:
    objective = IgrLoss(method.eikonal_weight, method.normal_weight, method.outside_weight)
    bounds = points.amin(dim=0), points.amax(dim=0)
    hull = supporting_planes(points)

    def loss(rows: Tensor, draws: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        batch, spacing, normals = rows.tensor_split((3, 4), dim=1)
        given = normals if normals.shape[1] else None
        terms = objective(network, batch, spacing[:, 0], given, bounds, hull, draws)
        return objective.total(terms), terms._asdict()

    return loss
