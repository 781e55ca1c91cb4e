"""A reconstruction to watch: a picture of points and present surface each so many steps, and their animation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from jaxtyping import Float

from nls.geometry.meshing import NoSurfaceError
from nls.reconstruction.frame import Frame
from nls.reconstruction.igr import Igr
from nls.reconstruction.levelset import LevelSet
from nls.reconstruction.session import UnsavedSession
from nls.reconstruction.surface import mesh_level_set
from nls.reporting.render import write_animation, write_preview

ANIMATION = "animation.webp"
# Nodes along an axis: enough to see a surface emerge, in a second or two.
_RESOLUTION = 96


class WatchedSession(UnsavedSession):
    """A session that draws the surface while its network is trained, as ``step-000100.png`` and so on.

    Tell it the :meth:`end`, and it makes them one animation, which browsers and GitHub show.

    Args:
        device: where the computing happens.
        folder: of the pictures; it is made if it is not there.
        every: steps between two pictures.
        method: the method that is trained.
        points: the whole cloud.
    """

    def __init__(
        self,
        device: torch.device,
        folder: Path,
        every: int,
        method: LevelSet | Igr,
        points: Float[np.ndarray, "n 3"],
    ) -> None:
        super().__init__(device)
        self._folder, self._every, self._points = folder, every, points
        self._method, self._frame = method, Frame.of(points)
        self._step = 0
        self._pictures = list[Path]()
        folder.mkdir(parents=True, exist_ok=True)

    def save_if_due(self, state: Callable[[], dict[str, Any]]) -> None:
        """Draw the surface of a state if its step is due."""
        if self._step % self._every == 0 and self._step > 0:
            self._draw(self._step, state()["parts"]["network"])
        self._step += 1

    def end(self, mesh: trimesh.Trimesh) -> None:
        """Draw the result as ``result.png``, and write all pictures one after the other as ``animation.webp``."""
        result = self._folder / "result.png"
        write_preview(result, self._points, mesh)
        write_animation(self._folder / ANIMATION, [*self._pictures, result])

    def _draw(self, step: int, weights: dict[str, torch.Tensor]) -> None:
        network = self._method.network_for(weights)
        network.load_state_dict({name: value.cpu() for name, value in weights.items()})
        try:
            mesh, _ = mesh_level_set(network, _RESOLUTION, torch.device("cpu"))
        except NoSurfaceError:
            print(f"step {step}: no surface yet", flush=True)
            return
        mesh.vertices = self._frame.outside(np.asarray(mesh.vertices, dtype=np.float64))
        self._pictures.append(self._folder / f"step-{step:06d}.png")
        write_preview(self._pictures[-1], self._points, mesh)
