"""The convex hull of a cloud, as far as some directions tell."""

import torch
import trimesh
from jaxtyping import Float
from torch import Tensor

# Of an icosphere: neighbours are 8 to 9.4° apart, and no direction is more than 5.4° from the nearest.
_SUBDIVISIONS = 3


def supporting_planes(points: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, "k 3"], Float[Tensor, " k"]]:
    """Return planes that touch a cloud from outside: 642 unit normals a, and ``h(a) = max_j a · x_j`` for each.

    ``max_a (a · x − h(a))`` is at most the distance from x to the convex hull, and positive only outside of it. The
    hull's own faces would be exact, but they are as many as the points where the cloud is convex.
    """
    directions = torch.as_tensor(trimesh.creation.icosphere(_SUBDIVISIONS).vertices).to(points)
    # A part at a time: all at once is 440 MB for a scan of 170,000 points.
    offsets = [(part @ points.T).amax(dim=1) for part in directions.split(64)]
    return directions, torch.cat(offsets)
