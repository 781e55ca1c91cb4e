"""AtlasNet (Groueix et al. 2018) on one cloud, one of Table 2's rivals."""

from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from nls.engine.seeds import torch_stream
from nls.engine.settings import Settings
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
    latent: int = Field(1024, ge=1, description="units of the cloud's description")
    hidden: int = Field(512, ge=1, description="units of a decoder's hidden layer")
    vertices: int = Field(10_000, ge=100, description="vertices of the mesh, over all templates")
    training: Training = Training(optimizer="adam", learning_rate=1e-3, schedule="drops")

    def surface(
        self, points: Float[Tensor, "n 3"], resolution: int, seed: int, session: SurfaceSession
    ) -> Surface:
        """Reconstruct; see :class:`SurfaceMethod`."""
        network = AtlasNet(self.patches, self.template, self.latent, self.hidden).to(points.device)
        draws = torch_stream(seed, "description", device=points.device)
        chosen = torch.randint(len(points), (self.training.batch,), generator=draws, device=points.device)
        mesh = partial(network.mesh, points[chosen], self.vertices)
        look = partial(session.look, mesh=mesh)
        figures = fit(network, _atlas_loss(network), points, self.training, seed, session, look)
        return Surface(mesh(), network, figures)


def _atlas_loss(network: AtlasNet) -> Loss:
    def loss(batch: Tensor, draws: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        images = network(batch, network.random_places(len(batch), draws)).flatten(0, 1)
        return squared_chamfer(images, batch), {}

    return loss
