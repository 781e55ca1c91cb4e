"""Piecewise linear hypersurfaces in the plane and in space, bounded or not, as oriented convex facets."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import trimesh
from jaxtyping import Float

from nls.errors import UserError


@dataclass(frozen=True)
class Hypersurface:
    """Oriented facets whose union bounds a solid.

    Attributes:
        points: homogeneous coordinates; the last one is 1 for a vertex and 0 for a direction, that is for a corner
            at infinity of an unbounded facet.
        facets: for each facet the indices of its corners, at least one of them a vertex. In 3D a convex polygon,
            counterclockwise seen from outside the solid; in 2D a segment or ray with the solid on its left.
    """

    points: Float[np.ndarray, "v h"]
    facets: tuple[tuple[int, ...], ...]

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return self.points.shape[1] - 1

    @property
    def bounded(self) -> bool:
        """Whether no corner lies at infinity."""
        return bool((self.points[:, -1] != 0).all())

    @cached_property
    def vertices(self) -> Float[np.ndarray, "v d"]:
        """The corners; of a bounded hypersurface only."""
        if not self.bounded:
            raise ValueError("an unbounded hypersurface has corners at infinity")
        return self.points[:, :-1]

    @cached_property
    def diameter(self) -> float:
        """The diagonal of the vertices' bounding box (1 for a single vertex)."""
        vertices = self.points[self.points[:, -1] != 0, :-1]
        return float(np.linalg.norm(np.ptp(vertices, axis=0))) or 1.0

    def complement(self) -> "Hypersurface":
        """The same hypersurface with inside and outside exchanged."""
        return Hypersurface(self.points, tuple(facet[::-1] for facet in self.facets))

    @property
    def euler_number(self) -> int:
        """Vertices - edges + faces; 0 for closed polygons."""
        edges = {
            tuple(sorted(pair))
            for facet in self.facets
            for pair in zip(facet, facet[1:] + facet[:1], strict=True)
        }
        facets = len(self.facets) if self.dimension == 3 else 0
        return len({i for facet in self.facets for i in facet}) - len(edges) + facets


def from_mesh(mesh: trimesh.Trimesh) -> Hypersurface:
    """The triangles of a mesh, as they are; ``nls.geometry.defects`` tells whether they bound a solid."""
    vertices = np.asarray(mesh.vertices, dtype=np.float64)
    points = np.column_stack([vertices, np.ones(len(vertices))])
    return Hypersurface(points, tuple(map(tuple, mesh.faces.tolist())))


def from_polygons(loops: Sequence[Float[np.ndarray, "n 2"]]) -> Hypersurface:
    """Closed polygons: outer boundaries counterclockwise, holes clockwise."""
    facets: list[tuple[int, ...]] = []
    for loop in loops:
        first, count = len(facets), len(loop)
        facets += [(first + i, first + (i + 1) % count) for i in range(count)]
    corners = np.concatenate([np.asarray(loop, dtype=np.float64) for loop in loops])
    return Hypersurface(np.column_stack([corners, np.ones(len(corners))]), tuple(facets))


def half_space(normal: Float[np.ndarray, " d"], offset: float) -> Hypersurface:
    """The boundary of ``{x: normal·x < offset}``.

    Raises:
        UserError: if the normal is zero.
    """
    return _flat_pieces(_direction(normal), [(offset, 1)])


def slab(normal: Float[np.ndarray, " d"], low: float, high: float) -> Hypersurface:
    """The boundary of ``{x: low < normal·x < high}``.

    Raises:
        UserError: if the normal is zero or ``low >= high``.
    """
    if low >= high:
        raise UserError(f"a slab needs low < high, not {low} and {high}")
    return _flat_pieces(_direction(normal), [(high, 1), (low, -1)])


def wedge(
    apex: Float[np.ndarray, " d"], first: Float[np.ndarray, " d"], second: Float[np.ndarray, " d"]
) -> Hypersurface:
    """The boundary of the convex wedge between two directions; in 3D its edge is along ``first × second``.

    Raises:
        UserError: if the directions are parallel.
    """
    apex, first, second = (np.asarray(v, dtype=np.float64) for v in (apex, first, second))
    axis = np.cross([*first, 0.0][:3], [*second, 0.0][:3])
    if not axis.any():
        raise UserError("a wedge needs two directions that are not parallel")
    if len(apex) == 2:
        if axis[2] < 0:
            first, second = second, first
        return Hypersurface(np.array([[*apex, 1.0], [*first, 0.0], [*second, 0.0]]), ((0, 1), (2, 0)))
    points = np.array([[*apex, 1.0], [*first, 0.0], [*second, 0.0], [*axis, 0.0], [*-axis, 0.0]])
    return Hypersurface(points, ((0, 4, 1), (0, 1, 3), (0, 3, 2), (0, 2, 4)))


def _direction(vector: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    vector = np.asarray(vector, dtype=np.float64)
    if not np.isfinite(vector).all() or not vector.any():
        raise UserError(f"a normal must be finite and not zero, not {vector.tolist()}")
    return vector


def _flat_pieces(normal: Float[np.ndarray, " d"], through: Sequence[tuple[float, int]]) -> Hypersurface:
    """Whole planes ``normal·x = offset`` with the solid behind (1) or before (-1), as pieces about one vertex each.

    The pieces' directions are products of the normal's entries, hence exactly in the plane.
    """
    k = int(np.argmax(np.abs(normal)))
    rays = []
    for axis in [(k + step) % len(normal) for step in range(1, len(normal))]:
        ray = np.zeros(len(normal))
        ray[axis], ray[k] = normal[k], -normal[axis]
        rays.append(ray)
    turning = [*rays, *(-ray for ray in rays)]
    points: list[list[float]] = []
    facets: list[tuple[int, ...]] = []
    for offset, side in through:
        start = len(points)
        points.append([*(normal * (offset / (normal @ normal))), 1.0])
        points += [[*ray, 0.0] for ray in turning]
        if len(normal) == 2:
            # The normal must be on the right of the direction of travel for side = 1.
            onward = turning[0][0] * normal[1] - turning[0][1] * normal[0] < 0
            ahead, behind = (start + 1, start + 2) if onward == (side > 0) else (start + 2, start + 1)
            facets += [(start, ahead), (behind, start)]
        else:
            pieces = [(start, start + 1 + q, start + 1 + (q + 1) % 4) for q in range(4)]
            facets += pieces if (normal[k] > 0) == (side > 0) else [(a, c, b) for a, b, c in pieces]
    return Hypersurface(np.array(points), tuple(facets))
