"""The zero level set of a partition's function, exactly: the walls between cells with different labels.

By the claim in ``docs/theorem1.md`` the function is zero in a point if cells inside and cells outside touch it, and
nowhere else. So every plane of the tree is followed, as far as it lies in its node's cell and out to infinity, down
both sides of the node to the leaves. No facet is used on the way: that the walls between cells of different labels
are the facets, all of them and nothing else, is found afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from nls.geometry.exact import Arrangement, ExactVector
from nls.geometry.hypersurface import Hypersurface
from nls.universality.tree import Corners, Fold, Node, Partition, Piece, divided

# Whole planes are put together from wedges about a point so many diameters away that one of them holds the solid.
_AWAY = 4.0
# Vertices nearer to an edge than this many diameters are tested exactly for lying on it.
_CLOSE = 1e-9

# A cell that is not divided any further is labelled inside (True) or outside (False).
_Below = Node | bool
_Edge = tuple[int, int]


@dataclass(frozen=True)
class Walls:
    """Where the cells of a partition meet, in convex pieces each of which has one cell on either side.

    Attributes:
        arrangement: holds the pieces' planes and corners.
        zeros: the pieces between a cell inside and one outside, their corners ordered as a facet's.
        centres: a point within each of the other pieces.
        inside: the label of both cells at each of those points.
    """

    arrangement: Arrangement
    zeros: tuple[Piece, ...]
    centres: Float[np.ndarray, "w d"]
    inside: Bool[np.ndarray, " w"]

    @cached_property
    def corners(self) -> Float[np.ndarray, "s d d"]:
        """The zeros of a bounded hypersurface as segments, or as triangles that face outwards."""
        space = self.arrangement
        fans = [
            (piece.corners[0], *rest)
            for piece in self.zeros
            for rest in (pairwise(piece.corners[1:]) if space.dimension == 3 else [piece.corners[1:]])
        ]
        chosen = np.array(fans)
        return space.points(chosen.ravel())[:, :-1].reshape(*chosen.shape, -1) + space.centre


@dataclass(frozen=True)
class ZeroSet:
    """What the zeros of a partition's function are.

    Attributes:
        components: pieces connected along edges in space, in vertices in the plane.
        euler_number: vertices - edges + faces in space, vertices - edges in the plane.
        differences: edges (vertices in the plane) in which the boundaries of zeros and of facets, taken together in
            each plane, do not cancel. A bounded part of a plane without a boundary is empty, so 0 means that the
            zeros are the hypersurface, facing the same way, and nothing else.
    """

    components: int
    euler_number: int
    differences: int


def find_walls(partitioned: Partition) -> Walls:
    """Find the walls of a partition, with exact decisions only."""
    space = partitioned.arrangement
    zeros: list[Piece] = []
    centres, inside = [np.empty((0, space.dimension))], [np.empty(0, dtype=bool)]
    nodes: list[tuple[Node, tuple[tuple[int, int], ...]]] = [(partitioned.root, ())]
    while nodes:
        node, cell = nodes.pop()
        plane, positive, negative = _first_plane(node)
        pieces = _clipped(space, _whole_plane(space, plane), cell)
        for label, part in _labelled(space, pieces, positive).items():
            both = _labelled(space, part, negative)
            side = 1 if label else -1
            zeros += [Piece(plane, side, piece.corners[::-side]) for piece in both[not label]]
            if both[label]:
                centres.append(_centres(space, both[label]))
                inside.append(np.full(len(both[label]), label))
        for side, below in ((1, positive), (-1, negative)):
            if not isinstance(below, bool):
                nodes.append((below, (*cell, (plane, side))))
    return Walls(space, tuple(zeros), np.concatenate(centres), np.concatenate(inside))


def _first_plane(node: Node) -> tuple[int, _Below, _Below]:
    """A node's plane, or the first of its planes, and what is on its positive and on its negative side."""
    if not isinstance(node, Fold):
        return node.plane, node.positive, node.negative
    (plane, factor), *others = node.planes
    undecided = replace(node, planes=tuple(others)) if others else _rest(node)
    # Beyond one plane of a minimum all is outside, before one plane of a maximum all is inside.
    decided = not node.lowest
    return (plane, undecided, decided) if (factor > 0) == node.lowest else (plane, decided, undecided)


def _rest(fold: Fold) -> _Below:
    return fold.lowest if fold.rest is None else fold.rest


def _whole_plane(space: Arrangement, plane: int) -> list[Piece]:
    """A plane as wedges (a line as rays) about a point of it, oriented as facets with the plane's normal."""
    far = -space.scaled(_AWAY * space.diameter)
    around = [(1,), (-1,)] if space.dimension == 2 else [(1, 0), (0, 1), (-1, -1)]
    exact = [space.point_in_plane(plane, [far] * (space.dimension - 1), 1)]
    exact += [space.point_in_plane(plane, direction, 0) for direction in around]
    apex, *ends = space.add_points(exact)
    wedges: list[tuple[int, ...]] = [(apex, end) for end in ends]
    if space.dimension == 3:
        wedges = [(apex, *pair) for pair in pairwise([*ends, ends[0]])]
    pieces = []
    for wedge in wedges:
        found = space.facet_plane(wedge)
        assert found is not None
        pieces.append(Piece(plane, -1, wedge[:: found[1]]))
    return pieces


def _clipped(space: Arrangement, pieces: list[Piece], cell: Sequence[tuple[int, int]]) -> list[Piece]:
    """The parts of pieces within a cell, given by planes and the sides of them that it is on."""
    bounds = list(cell)
    while bounds and pieces:
        corners = Corners(pieces)
        planes, sides = zip(*bounds, strict=True)
        beyond = (space.signs(planes, corners.points) * np.array(sides)[:, None] < 0).sum(axis=1)
        chosen = int(np.argmax(beyond))
        if beyond[chosen] == 0:
            break
        pieces = divided(space, planes[chosen], pieces, corners)[0 if sides[chosen] > 0 else 1]
        # What is left lies before the planes that no corner was beyond.
        bounds = [bound for i, bound in enumerate(bounds) if beyond[i] and i != chosen]
    return pieces


def _labelled(space: Arrangement, pieces: list[Piece], below: _Below) -> dict[bool, list[Piece]]:
    """The parts of pieces in the closures of cells inside and outside, of those that a node is divided into."""
    found: dict[bool, list[Piece]] = {True: [], False: []}
    nodes = [(below, pieces)]
    while nodes:
        node, here = nodes.pop()
        if isinstance(node, bool):
            found[node] += here
        elif here:
            corners = Corners(here)
            if isinstance(node, Fold):
                node = _crossed(space, node, corners)
            if isinstance(node, Fold) and not node.planes:
                nodes.append((_rest(node), here))
            else:
                plane, positive, negative = _first_plane(node)
                before, behind = divided(space, plane, here, corners)
                nodes += [(positive, before), (negative, behind)]
    return found


def _crossed(space: Arrangement, fold: Fold, corners: Corners) -> Fold:
    """A fold without those planes on whose undecided side all corners are."""
    planes, factors = zip(*fold.planes, strict=True)
    undecided = np.array(factors) * (1 if fold.lowest else -1)
    beyond = (space.signs(planes, corners.points) * undecided[:, None] < 0).any(axis=1)
    return replace(fold, planes=tuple(plane for plane, kept in zip(fold.planes, beyond, strict=True) if kept))


def _centres(space: Arrangement, pieces: Sequence[Piece]) -> Float[np.ndarray, "p d"]:
    """A point within each piece: the mean of its vertices, a diameter on along its directions."""
    found = []
    for piece in pieces:
        corners = space.points(np.array(piece.corners))
        vertices = corners[:, -1] > 0
        onward = corners[~vertices, :-1].sum(axis=0) * space.diameter
        found.append(corners[vertices, :-1].mean(axis=0) + onward + space.centre)
    return np.array(found)


def zero_set(found: Walls, surface: Hypersurface) -> ZeroSet:
    """Count what the zeros consist of, and compare them with the bounded hypersurface that they should be."""
    space = found.arrangement
    planes = [space.facet_plane(corners) for corners in surface.facets]
    facets = [
        Piece(plane[0], -plane[1], corners)
        for plane, corners in zip(planes, surface.facets, strict=True)
        if plane is not None
    ]
    # A point that was reached along several ways is one vertex.
    corners = sorted({corner for piece in (*found.zeros, *facets) for corner in piece.corners})
    places: dict[ExactVector, int] = {}
    vertex = {corner: places.setdefault(space.exact_points([corner])[0], corner) for corner in corners}
    zeros = [[vertex[corner] for corner in piece.corners] for piece in found.zeros]
    expected = [[vertex[corner] for corner in piece.corners] for piece in facets]
    balance: Counter[tuple[int, ...]] = Counter()
    bounds: list[list[tuple[int, ...]]]
    if space.dimension == 2:
        bounds = [[(last,), (first,)] for first, last in zeros + expected]
        signs = [[1, -1]] * len(bounds)
    else:
        edges = _parted_edges(space, [*zeros, *expected])
        directed = [
            [part for pair in pairwise([*c, c[0]]) for part in edges[pair]] for c in (*zeros, *expected)
        ]
        bounds = [[(min(part), max(part)) for part in parts] for parts in directed]
        signs = [[1 if part[0] < part[1] else -1 for part in parts] for parts in directed]
    for i, piece in enumerate((*found.zeros, *facets)):
        factor = 1 if i < len(zeros) else -1
        for bound, sign in zip(bounds[i], signs[i], strict=True):
            balance[(piece.plane, *bound)] += factor * sign
    own = bounds[: len(zeros)]
    faces = len({bound for each in own for bound in each})
    euler = faces - len(zeros)
    if space.dimension == 3:
        euler = len({corner for piece in zeros for corner in piece}) - faces + len(zeros)
    return ZeroSet(_connected(own), euler, sum(value != 0 for value in balance.values()))


def _parted_edges(space: Arrangement, polygons: Sequence[Sequence[int]]) -> dict[_Edge, list[_Edge]]:
    """Every edge of the polygons, in both directions, parted at all vertices that lie on it."""
    numbers = np.array(sorted({corner for polygon in polygons for corner in polygon}))
    coordinates = space.points(numbers)
    numbers, places = numbers[coordinates[:, -1] > 0], coordinates[coordinates[:, -1] > 0, :-1]
    position = {number: i for i, number in enumerate(numbers.tolist())}
    tree = cKDTree(places)
    close = _CLOSE * space.diameter
    parted: dict[_Edge, list[_Edge]] = {}
    for polygon in polygons:
        for first, last in pairwise([*polygon, polygon[0]]):
            if (first, last) in parted:
                continue
            between: list[int] = []
            if first in position and last in position:
                start, end = places[position[first]], places[position[last]]
                length = float(np.linalg.norm(end - start))
                # Ends that are different points may have the same rounded coordinates.
                along = (end - start) / (length or 1.0)
                near = np.array(tree.query_ball_point((start + end) / 2, length / 2 + close))
                offsets = places[near] - start
                away = np.linalg.norm(offsets - np.outer(offsets @ along, along), axis=1)
                between = _between(space, first, last, numbers[near[away <= close]].tolist())
            chain = [first, *between, last]
            parted[first, last] = list(pairwise(chain))
            parted[last, first] = list(pairwise(chain[::-1]))
    return parted


def _between(space: Arrangement, first: int, last: int, candidates: Sequence[int]) -> list[int]:
    """The candidates that lie on the open segment between two vertices, in order."""
    start, end = space.exact_points([first, last])
    along = _offset(start, end)
    found = []
    for candidate in candidates:
        if candidate in (first, last):
            continue
        (point,) = space.exact_points([candidate])
        offset = _offset(start, point)
        if any(a * d - b * c for (a, b), (c, d) in _coordinate_pairs(along, offset)):
            continue
        share = Fraction(
            sum(a * b for a, b in zip(along, offset, strict=True)) * end[-1],
            sum(a * a for a in along) * point[-1],
        )
        if 0 < share < 1:
            found.append((share, candidate))
    return [candidate for _, candidate in sorted(found)]


def _offset(start: ExactVector, end: ExactVector) -> ExactVector:
    """The vector between two vertices, times both weights."""
    return tuple(b * start[-1] - a * end[-1] for a, b in zip(start[:-1], end[:-1], strict=True))


def _coordinate_pairs(
    first: ExactVector, second: ExactVector
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    return [((first[i], first[j]), (second[i], second[j])) for i, j in ((0, 1), (1, 2), (2, 0))]


def _connected(bounds: Sequence[Sequence[tuple[int, ...]]]) -> int:
    """How many components pieces make that are connected in their bounds."""
    columns: dict[tuple[int, ...], int] = {}
    pairs = [
        (row, columns.setdefault(bound, len(columns))) for row, each in enumerate(bounds) for bound in each
    ]
    rows, names = np.array(pairs).T
    size = len(bounds) + len(columns)
    graph = coo_matrix((np.ones(len(rows)), (rows, names + len(bounds))), shape=(size, size))
    return int(connected_components(graph, directed=False)[0])
