"""Winding numbers: the reference for what is inside, which knows nothing of planes and partitions."""

import math

import numpy as np
from jaxtyping import Float


def winding_number(
    points: Float[np.ndarray, "n d"], facets: Float[np.ndarray, "f d d"]
) -> Float[np.ndarray, " n"]:
    """How often facets wind around points, in float64; d is 2 or 3.

    Of segments in the plane it is the sum of the angles they subtend over 2π; of triangles in space the sum of the
    solid angles over 4π. The latter is libigl's: exact, in a tree in which a part of the surface that is seen from
    outside its box gives way to the cone over its boundary (A. Jacobson, L. Kavan, O. Sorkine-Hornung, Robust
    Inside-Outside Segmentation using Generalized Winding Numbers, 2013). Around a solid's boundary it is 1 inside and
    0 outside; rounding disturbs that only within some machine epsilons times the diameter of the surface.
    """
    if facets.shape[1] == 3:
        import igl

        # The tree knows a part's boundary by the vertices that its triangles share.
        vertices, numbers = np.unique(facets.reshape(-1, 3), axis=0, return_inverse=True)
        found = igl.winding_number(
            np.ascontiguousarray(vertices, dtype=np.float64),
            np.ascontiguousarray(numbers.reshape(-1, 3), dtype=np.int64),
            np.ascontiguousarray(points, dtype=np.float64),
        )
        return np.atleast_1d(np.asarray(found, dtype=np.float64))
    total = np.zeros(len(points))
    for start, end in facets.astype(np.float64):
        a, b = start - points, end - points
        total += np.arctan2(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], (a * b).sum(axis=1))
    return total / (2 * math.pi)
