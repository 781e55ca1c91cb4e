"""AtlasNet (Groueix et al. 2018) on one cloud, one of Table 2's rivals."""

from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from nls.engine.settings import Settings
from nls.geometry.neighbours import Neighbours
from nls.networks.atlasnet import AtlasNet
from nls.objectives.chamfer import squared_chamfer
from nls.reconstruction.session import SurfaceSession
from nls.reconstruction.surface import Surface
from nls.reconstruction.training import Loss, Training, fit


class AtlasNetMethod(Settings):
    """AtlasNet on one cloud."""

    method: Literal["atlasnet"] = "atlasnet"
    patches: int = Field(25, ge=1, description="templates")
    template: Literal["square", "sphere"] = Field("square", description="kind of template")
    latent: int = Field(256, ge=1, description="units of a decoder's first layer")
    hidden: int = Field(128, ge=1, description="units of a decoder's further layers")
    # A patch is folded so finely that a mesh of 10,000 vertices cuts its corners: L2 7.9 in place of 6.4 on body 000.
    vertices: int = Field(160_000, ge=100, description="vertices of the mesh, over all templates")
    training: Training = Training(
        steps=3000, batch=2500, optimizer="adam", learning_rate=1e-3, schedule="drops"
    )

    def surface(
        self, points: Float[Tensor, "n 3"], resolution: int, seed: int, session: SurfaceSession
    ) -> Surface:
        """Reconstruct; see :class:`SurfaceMethod`."""
        network = AtlasNet(self.patches, self.template, self.latent, self.hidden).to(points.device)
        mesh = partial(network.mesh, self.vertices)
        look = partial(session.look, mesh=mesh)
        figures = fit(network, _atlas_loss(network, points), points, self.training, seed, session, look)
        return Surface(mesh(), network, figures)


def _atlas_loss(network: AtlasNet, points: Float[Tensor, "n 3"]) -> Loss:
    cloud = Neighbours(points)

    def loss(batch: Tensor, draws: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        images = network(network.random_places(len(batch), draws)).flatten(0, 1)
        return squared_chamfer(images, batch, cloud), {}

    return loss
