"""AtlasNet (Groueix et al. 2018): a surface as the image of template surfaces."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
import trimesh
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Template = Literal["sphere", "square"]


class AtlasNet(nn.Module):
    """The decoders of AtlasNet's release, one a patch, for a single cloud.

    Decoder k takes points of its template to ``latent`` units, and goes on through three layers of ``hidden`` units
    to R³, with batch norm and ReLU in between.

    The release adds the encoder's description of the cloud after the first layer, where a batch norm follows. With
    one cloud that is the same vector at every point, and the norm subtracts it again: the encoder has no effect on
    the images and gets no gradient, so it is left out. For the same reason the norms always use the statistics of
    the points at hand: running means of a training would be those of a first layer that has moved on.

    Args:
        patches: how many templates.
        template: ``sphere`` (the unit sphere in R³) or ``square`` (``[0, 1]²``).
        latent: units of a decoder's first layer.
        hidden: units of a decoder's further layers.
    """

    def __init__(
        self, patches: int = 25, template: Template = "square", latent: int = 1024, hidden: int = 512
    ) -> None:
        super().__init__()
        self.patches = patches
        self.template: Template = template
        sizes = [3 if template == "sphere" else 2, latent, hidden, hidden, hidden, 3]
        self.layers = nn.ModuleList(_PatchLinear(patches, a, b) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(patches * size, track_running_stats=False) for size in sizes[1:-1]
        )

    def forward(self, places: Float[Tensor, "patches m t"]) -> Float[Tensor, "patches m 3"]:
        """Return the images of template points."""
        hidden = self.layers[0](places)
        for norm, layer in zip(self.norms, self.layers[1:], strict=True):
            hidden = layer(functional.relu_(self._normalised(norm, hidden)))
        return hidden

    @staticmethod
    def _normalised(norm: nn.Module, hidden: Float[Tensor, "patches m c"]) -> Float[Tensor, "patches m c"]:
        """Normalise every unit of every patch over the patch's points."""
        patches, points, units = hidden.shape
        rows = norm(hidden.transpose(0, 1).reshape(points, patches * units))
        return rows.reshape(points, patches, units).transpose(0, 1)

    def random_places(self, points: int, generator: torch.Generator) -> Float[Tensor, "patches m t"]:
        """Draw about ``points`` template points, equally many a patch, uniform on the template."""
        each = max(2, points // self.patches)
        if self.template == "square":
            return torch.rand(self.patches, each, 2, generator=generator, device=generator.device)
        normal = torch.randn(self.patches, each, 3, generator=generator, device=generator.device)
        return functional.normalize(normal, dim=2)

    @torch.no_grad()
    def mesh(self, vertices: int = 10_000) -> trimesh.Trimesh:
        """Return the image of the templates' own triangulation with about ``vertices`` vertices in all."""
        pattern = _triangulation(self.template, max(9, vertices // self.patches))
        places = torch.as_tensor(pattern.vertices).to(next(self.parameters()))
        images = self(places.expand(self.patches, -1, -1)).cpu().numpy()
        shifts = np.arange(self.patches)[:, None, None] * len(pattern.vertices)
        faces = (pattern.faces + shifts).reshape(-1, 3)
        return trimesh.Trimesh(images.reshape(-1, 3), faces, process=False)


class _PatchLinear(nn.Module):
    """One linear layer a patch, ``(patches, m, a) → (patches, m, b)``."""

    def __init__(self, patches: int, inputs: int, outputs: int) -> None:
        super().__init__()
        one = [nn.Linear(inputs, outputs) for _ in range(patches)]
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().T for layer in one]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in one])[:, None, :])

    def forward(self, values: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, values, self.weight)


@dataclass(frozen=True)
class _Pattern:
    vertices: np.ndarray
    faces: np.ndarray


def _triangulation(template: Template, vertices: int) -> _Pattern:
    if template == "sphere":
        # Subdivision s of the icosahedron has 10·4ˢ + 2 vertices.
        sphere = trimesh.creation.icosphere(max(1, round(np.log((vertices - 2) / 10) / np.log(4))))
        return _Pattern(np.asarray(sphere.vertices), np.asarray(sphere.faces))
    side = max(3, round(vertices**0.5))
    axis = np.linspace(0, 1, side)
    places = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).reshape(-1, 1)
    lower = corner + np.array([0, side, 1])
    upper = corner + np.array([1, side, side + 1])
    return _Pattern(places, np.concatenate([lower, upper]))
