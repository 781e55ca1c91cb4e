"""Exact nearest neighbours of many queries in one fixed cloud."""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from pykdtree.kdtree import KDTree
from torch import Tensor

# Entries of the distance matrix that a search on a GPU holds at once (1 GiB of float32).
_MATRIX_ENTRIES = 1 << 28
# torch's default mode uses a matrix product, which cancels digits of small distances.
_EXACT = "donot_use_mm_for_euclid_dist"
# Points in a leaf: with 170K points on a surface and queries far from it, 32 takes 2/3 of the time of 16.
_LEAF_POINTS = 32


class Neighbours:
    """A cloud that answers which of its points is nearest.

    On the CPU a k-d tree answers (pykdtree: on queries far from a densely sampled surface it is 5 to 15 times
    faster than ``scipy.spatial.cKDTree``); on a GPU an exact search compares all pairs, block by block.
    Neither keeps a distance matrix for the gradient: ``distances`` differentiates through the one neighbour.

    Args:
        points: the cloud, ``(m, d)``.
    """

    def __init__(self, points: Float[Tensor, "m d"]) -> None:
        self.points = points.detach().contiguous()
        on_cpu = self.points.device.type == "cpu"
        self._tree = KDTree(self.points.numpy(), leafsize=_LEAF_POINTS) if on_cpu else None

    @torch.no_grad()
    def nearest(self, queries: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
        """Return the index of the cloud's point nearest to every query; any for a query that is not finite."""
        queries = queries.detach().to(self.points.dtype).contiguous()
        if self._tree is not None:
            _, index = self._tree.query(queries.numpy())
            # For a query that is not finite the tree gives an index behind the last; its distance is NaN anyhow.
            return torch.from_numpy(index.astype("int64").clip(max=len(self.points) - 1))
        rows = max(1, _MATRIX_ENTRIES // len(self.points))
        blocks = (torch.cdist(block, self.points, compute_mode=_EXACT) for block in queries.split(rows))
        return torch.cat([distances.argmin(dim=1) for distances in blocks])

    @torch.no_grad()
    def spacing(self, neighbours: int) -> Float[Tensor, " m"]:
        """Return the distance of every point of the cloud to its k-th nearest other point, k = ``neighbours``.

        In a smaller cloud k is the number of the other points.
        """
        # The nearest of all is the point itself.
        count = min(neighbours + 1, len(self.points))
        if self._tree is not None:
            distances, _ = self._tree.query(self.points.numpy(), k=count)
            return torch.from_numpy(distances.reshape(len(self.points), count)[:, -1].copy())
        rows = max(1, _MATRIX_ENTRIES // len(self.points))
        blocks = (torch.cdist(block, self.points, compute_mode=_EXACT) for block in self.points.split(rows))
        return torch.cat([distances.kthvalue(count, dim=1).values for distances in blocks])

    def distances(self, queries: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Return ``d(x, X) = min_j ‖x − x_j‖₂`` of every query, differentiable in the queries.

        The gradient is the unit vector away from the neighbour, and 0 where query and neighbour coincide.
        """
        return torch.linalg.vector_norm(queries - self.points[self.nearest(queries)], dim=1)


def spacing(points: Float[Tensor, "n d"]) -> float:
    """Return the spacing of points on a surface: the root of the area that one of them stands for.

    It is the median over a thousand points of ``√(π/6)`` times the distance to the sixth neighbour. Points at
    the same place count once.
    """
    every = points.detach().cpu().numpy()
    cloud = every[np.sort(np.unique(every, axis=0, return_index=True)[1])]
    shown = np.ascontiguousarray(cloud[:: max(1, len(cloud) // 1000)])
    distances, _ = KDTree(cloud, leafsize=_LEAF_POINTS).query(shown, k=min(7, len(cloud)))
    return float(math.sqrt(math.pi / 6) * np.median(distances[:, -1]))
