"""A user's own method, from a file and a class that a configuration names."""

from typing import Any

import numpy as np
import trimesh
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from nls.engine.settings import Settings
from nls.engine.user_code import make_user_object
from nls.errors import UserError
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
        """Reconstruct; see :class:`SurfaceMethod`.

        Raises:
            UserError: the class does not take the settings or the three arguments, or what it returns is no mesh.
        """
        method = make_user_object(self.method, self.settings, ("points", "seed", "device"))
        mesh = method(points, seed, session.device)
        if (
            not isinstance(mesh, trimesh.Trimesh)
            or len(mesh.faces) == 0
            or not np.isfinite(mesh.vertices).all()
            or not 0 <= mesh.faces.min() <= mesh.faces.max() < len(mesh.vertices)
            or not mesh.area > 0
        ):
            what = "one without faces or area, with coordinates that are not finite, or with corners that it lacks"
            found = what if isinstance(mesh, trimesh.Trimesh) else f"a {type(mesh).__name__}"
            raise UserError(f"{self.method}: must return a trimesh.Trimesh of a surface, not {found}")
        mesh.remove_unreferenced_vertices()
        return Surface(mesh)
