"""Implicit geometric regularisation (Gropp et al. 2020), one of Table 2's rivals."""

from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from nls.engine.settings import Settings
from nls.geometry.meshing import mesh_zero_level
from nls.geometry.octree import Grid
from nls.networks.implicit import ImplicitMLP
from nls.objectives.igr import IgrLoss
from nls.reconstruction.session import SurfaceSession
from nls.reconstruction.surface import Surface, eikonal_error
from nls.reconstruction.training import Loss, Training, fit


class Igr(Settings):
    """Implicit geometric regularisation."""

    method: Literal["igr"] = "igr"
    width: int = Field(256, ge=1, description="units of a hidden layer")
    depth: int = Field(4, ge=1, description="hidden layers")
    training: Training = Training()
    eikonal_weight: float = Field(0.1, ge=0, description="λ of the eikonal term")
    local_sigma: float = Field(0.02, ge=0, description="noise of the samples near the cloud, unit ball")

    def surface(
        self, points: Float[Tensor, "n 3"], resolution: int, seed: int, session: SurfaceSession
    ) -> Surface:
        """Reconstruct; see :class:`SurfaceMethod`."""
        network = ImplicitMLP(self.width, self.depth, activation="softplus").to(points.device)
        mesh = partial(mesh_zero_level, network, Grid(resolution), points.device)
        look = partial(session.look, mesh=mesh)
        figures = fit(network, _igr_loss(self, network), points, self.training, seed, session, look)
        figures["eikonal_error"] = eikonal_error(network, points, seed)
        return Surface(mesh(), network, figures)


def _igr_loss(method: Igr, network: nn.Module) -> Loss:
    objective = IgrLoss(method.eikonal_weight, method.local_sigma)

    def loss(batch: Tensor, draws: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        fit, eikonal = objective(network, batch, draws)
        return objective.total(fit, eikonal), {"fit": fit, "eikonal": eikonal}

    return loss
