"""A user's own method, from a file and a class that a configuration names."""

from typing import Any

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from nls.engine.settings import Settings
from nls.engine.user_code import load_user_code
from nls.reconstruction.session import SurfaceSession
from nls.reconstruction.surface import Surface


class UserMethod(Settings):
    """A user's own method: ``Class(**settings)(points, seed, device)`` returns a ``trimesh.Trimesh``.

    The points are a tensor ``(n, 3)`` in the unit ball, and so is the mesh.
    """

    method: str = Field(pattern=r"\.py:\w+$", description="FILE.py:CLASS")
    settings: dict[str, Any] = Field({}, description="passed to the class")

    def surface(
        self, points: Float[Tensor, "n 3"], resolution: int, seed: int, session: SurfaceSession
    ) -> Surface:
        """Reconstruct; see :class:`SurfaceMethod`."""
        return Surface(load_user_code(self.method)(**self.settings)(points, seed, session.device))
