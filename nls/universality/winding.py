"""Winding numbers: the reference for what is inside, which knows nothing of planes and partitions."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

# Points times facets that are worked on at once: some tens of megabytes.
_BLOCK = 1 << 18


def winding_number(
    points: Float[np.ndarray, "n d"], facets: Float[np.ndarray, "f d d"]
) -> Float[np.ndarray, " n"]:
    """How often facets wind around points, summed facet by facet in float64; d is 2 or 3.

    Of segments in the plane it is the sum of the angles they subtend over 2π; of triangles in space the sum of the
    solid angles over 4π (A. Van Oosterom, J. Strackee, The Solid Angle of a Plane Triangle, IEEE Transactions on
    Biomedical Engineering 30(2), 1983). Around a solid's boundary it is 1 inside and 0 outside; rounding disturbs
    that only within some machine epsilons times the diameter of the surface.
    """
    total = np.empty(len(points))
    corners = torch.from_numpy(np.ascontiguousarray(facets)).double()
    step = max(1, _BLOCK // max(1, len(facets)))
    for start in range(0, len(points), step):
        part = torch.from_numpy(np.ascontiguousarray(points[start : start + step])).double()
        rays = [corners[None, :, i] - part[:, None] for i in range(corners.shape[1])]
        angles = _angles(*rays) if len(rays) == 2 else _solid_angles(*rays)
        total[start : start + step] = angles.sum(dim=1).numpy()
    return total


def _angles(a: Float[Tensor, "n f 2"], b: Float[Tensor, "n f 2"]) -> Float[Tensor, "n f"]:
    cross = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return torch.atan2(cross, (a * b).sum(-1)) / (2 * math.pi)


def _solid_angles(
    a: Float[Tensor, "n f 3"], b: Float[Tensor, "n f 3"], c: Float[Tensor, "n f 3"]
) -> Float[Tensor, "n f"]:
    la, lb, lc = a.norm(dim=-1), b.norm(dim=-1), c.norm(dim=-1)
    # Edges are differences of corners: near a facet the determinant keeps its sign better than from three rays.
    volume = (a * torch.linalg.cross(b - a, c - a)).sum(-1)
    below = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    return torch.atan2(volume, below) / (2 * math.pi)
