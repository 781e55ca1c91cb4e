"""Screened Poisson reconstruction, what a user would pick instead, as a method of Table 2."""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from nls.engine.settings import Settings
from nls.reconstruction.session import SurfaceSession
from nls.reconstruction.surface import Surface


class Poisson(Settings):
    """Screened Poisson."""

    method: Literal["poisson"] = "poisson"
    depth: int = Field(8, ge=1, le=12, description="depth of the octree")
    neighbours: int = Field(16, ge=3, description="points in the fit of a normal")

    def surface(
        self, points: Float[Tensor, "n 3"], resolution: int, seed: int, session: SurfaceSession
    ) -> Surface:
        """Reconstruct, with normals estimated from the points; see :class:`SurfaceMethod`.

        With a GPU too, this works on the CPU.
        """
        return self._surface(points, None)

    def oriented_surface(
        self,
        points: Float[Tensor, "n 3"],
        normals: Float[Tensor, "n 3"],
        resolution: int,
        seed: int,
        session: SurfaceSession,
    ) -> Surface:
        """Reconstruct with the given normals; see :class:`OrientedMethod`."""
        return self._surface(points, normals)

    def _surface(self, points: Tensor, normals: Tensor | None) -> Surface:
        # Its package takes a second to import.
        from nls.geometry.poisson import screened_poisson

        cloud = points.cpu().numpy()
        known = None if normals is None else normals.cpu().numpy()
        return Surface(screened_poisson(cloud, self.depth, self.neighbours, torch.get_num_threads(), known))
