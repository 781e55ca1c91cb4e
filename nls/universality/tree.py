"""A binary space partition of a solid into cells that are wholly inside or wholly outside it.

``docs/theorem1.md`` gives the argument; the invariant that it needs is that every plane used at a node has points of
the node's open cell strictly on both sides. It holds by construction: a facet's plane is used only while a piece of
the facet lies inside the cell, any other plane only where corners of pieces lie strictly on both sides. All signs
are exact, so a leaf is labelled by the facet it touches: the interior points of its cell next to that facet decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Int, Int8

from nls.errors import UserError
from nls.geometry.exact import Arrangement
from nls.geometry.hypersurface import Hypersurface


@dataclass(frozen=True)
class Fold:
    """Half-spaces, all of which (or any of which, if not ``lowest``) the solid needs within the cell.

    Attributes:
        lowest: take the minimum over the planes' functions and the rest, else the maximum.
        planes: plane indices, each with the factor (1 or -1) that makes its function positive inside.
        rest: the function in what the planes leave undecided; None if that is inside (outside if not ``lowest``).
    """

    lowest: bool
    planes: tuple[tuple[int, int], ...]
    rest: Node | None


@dataclass(frozen=True)
class Split:
    """A plane through the cell, with the functions on its positive and its negative side."""

    plane: int
    positive: Node
    negative: Node


Node = Fold | Split
_Edge = tuple[int, int]


@dataclass(frozen=True)
class Piece:
    """A convex piece of a plane: the side (1 or -1) of the plane where the solid is, and the corners in order."""

    plane: int
    inside: int
    corners: tuple[int, ...]


@dataclass(frozen=True)
class Partition:
    """A tree and the arrangement that its plane indices refer to."""

    arrangement: Arrangement
    root: Node


# Planes are almost the same where they differ by less than this many diameters.
_APART = 1e-4
# Signs of planes at points that are worked on at once.
_BLOCK = 1 << 21
# Candidate planes weighed at a node: all facet planes up to this many, and this many positions along each axis.
_FACET_PLANES = 128
_POSITIONS = 15


def partition(surface: Hypersurface) -> Partition:
    """Partition space along a hypersurface that bounds a solid.

    Raises:
        UserError: if the facets contradict each other on what is inside.
    """
    arrangement = Arrangement(surface.points)
    pieces = []
    for number, corners in enumerate(surface.facets):
        plane = arrangement.facet_plane(corners)
        if plane is None:
            raise UserError(f"facet {number} is degenerate: its corners span no plane; remove it")
        pieces.append(Piece(plane[0], -plane[1], corners))
    return Partition(arrangement, _node(arrangement, pieces, ()))


def _node(arrangement: Arrangement, pieces: list[Piece], walls: tuple[int, ...]) -> Node:
    """The function within a cell, of which ``walls`` are the bounding planes."""
    corners = Corners(pieces)
    inside = {piece.plane: piece.inside for piece in pieces}
    both = {piece.plane for piece in pieces if piece.inside != inside[piece.plane]}
    needed, enough = _bounding(arrangement, inside, corners)
    for lowest, chosen in ((True, needed), (False, enough)):
        if chosen:
            if both.intersection(chosen):
                raise UserError(
                    "the facets contradict each other on what is inside; check the mesh's orientation"
                )
            bounds = set(chosen)
            left = [piece for piece in pieces if piece.plane not in bounds]
            rest = _node(arrangement, left, (*walls, *chosen)) if left else None
            return Fold(lowest, tuple((plane, inside[plane]) for plane in chosen), rest)
    plane = _dividing_plane(arrangement, pieces, corners, walls)
    positive, negative = divided(arrangement, plane, pieces, corners)
    walls = (*walls, plane)
    return Split(plane, _node(arrangement, positive, walls), _node(arrangement, negative, walls))


def _bounding(
    arrangement: Arrangement, inside: Mapping[int, int], corners: Corners
) -> tuple[list[int], list[int]]:
    """Those of the facets' planes that have no corner strictly outside, and those that have none strictly inside.

    Most planes have corners on both sides among the first few that are looked at, and need no further ones.
    """
    planes = np.array(sorted(inside))
    factors = np.array([inside[plane] for plane in planes.tolist()], dtype=np.int8)
    before, behind = np.zeros(len(planes), dtype=bool), np.zeros(len(planes), dtype=bool)
    # Neighbours in the mesh are neighbours in the numbering: a sample must be spread to see both sides.
    points = np.random.default_rng(len(corners.points)).permutation(corners.points)
    start, rows = 0, np.arange(len(planes))
    while start < len(points) and len(rows):
        stop = start + max(1, min(start + 16, _BLOCK // len(rows)))
        signs = arrangement.signs(planes[rows].tolist(), points[start:stop]) * factors[rows, None]
        before[rows] |= (signs > 0).any(axis=1)
        behind[rows] |= (signs < 0).any(axis=1)
        start, rows = stop, np.flatnonzero(~(before & behind))
    return planes[~behind].tolist(), planes[~before].tolist()


class Corners:
    """The corners of pieces, each point once, and where in that list each piece's corners are."""

    points: Int[np.ndarray, " m"]

    def __init__(self, pieces: Sequence[Piece]) -> None:
        lengths = np.array([len(piece.corners) for piece in pieces])
        flat = np.fromiter(chain.from_iterable(piece.corners for piece in pieces), np.intp, lengths.sum())
        self.points, self.position = np.unique(flat, return_inverse=True)
        self.piece = np.repeat(np.arange(len(pieces)), lengths)
        self.starts = np.cumsum(lengths) - lengths
        # The place of the corner that follows around the piece.
        self.following = np.arange(1, len(flat) + 1)
        self.following[self.starts + lengths - 1] = self.starts

    def sides(self, signs: Int8[np.ndarray, "k m"]) -> tuple[np.ndarray, np.ndarray]:
        """For every plane and piece, whether a corner is strictly before the plane, and behind it."""
        by_piece = signs[:, self.position]
        before = np.maximum.reduceat(by_piece, self.starts, axis=1) > 0
        return before, np.minimum.reduceat(by_piece, self.starts, axis=1) < 0


def _dividing_plane(
    arrangement: Arrangement,
    pieces: list[Piece],
    corners: Corners,
    walls: tuple[int, ...],
) -> int:
    """The plane with the least sum of squares of the two sides' numbers of pieces: balanced, and cutting few.

    Along a dividing plane ``F`` is as small as the functions of the planes on either side. So a plane that almost
    coincides with one of those or with a wall is put off: the sign of ``F`` would be exact, but lost in rounding.
    Both sides must be left fewer pieces than there are, so the tree ends.
    """
    facets = np.unique([piece.plane for piece in pieces])
    candidates = facets
    if len(facets) > _FACET_PLANES:
        candidates = np.random.default_rng(len(facets)).choice(facets, _FACET_PLANES, replace=False)
    first = arrangement.plane_count
    others = [*_axis_planes(arrangement, corners), *_planes_across_creases(arrangement, pieces, corners)]
    candidates = np.concatenate([candidates, np.array(others, dtype=candidates.dtype)])
    before, behind = corners.sides(arrangement.signs(candidates.tolist(), corners.points))
    cost = before.sum(axis=1, dtype=float) ** 2 + behind.sum(axis=1, dtype=float) ** 2
    # A facet's own plane always leaves both sides fewer pieces, so that some candidates remain.
    usable = np.flatnonzero(~(before.all(axis=1) | behind.all(axis=1)))
    cheapest = candidates[usable[np.argsort(cost[usable], kind="stable")]].tolist()
    near = np.unique([*facets.tolist(), *walls])
    apart = (plane for plane in cheapest if not _almost_coincides(arrangement, plane, near))
    return arrangement.forget_planes(first, next(apart, cheapest[0]))


def _almost_coincides(arrangement: Arrangement, plane: int, others: Int[np.ndarray, " k"]) -> bool:
    """Whether a plane is nowhere in the diameter's reach farther than ``_APART`` of it from a different one."""
    own, planes = arrangement.plane(plane), arrangement.planes(others[others != plane])
    scale = np.append(np.full(arrangement.dimension, arrangement.diameter), 1.0)
    apart = np.minimum(*(np.abs((own - sign * planes) * scale).max(axis=1) for sign in (1, -1)))
    return bool((apart < _APART * arrangement.diameter).any())


def _axis_planes(arrangement: Arrangement, corners: Corners) -> list[int]:
    coordinates = arrangement.points(corners.points)
    vertices = coordinates[coordinates[:, -1] > 0]
    return [
        arrangement.axis_plane(axis, position)
        for axis in range(arrangement.dimension)
        for position in _positions(vertices[:, axis]).tolist()
    ]


def _planes_across_creases(arrangement: Arrangement, pieces: Sequence[Piece], corners: Corners) -> list[int]:
    """Planes that part neighbours in almost one plane: through the crease between them, across both."""
    ends = corners.position[:, None]
    if arrangement.dimension == 3:
        ends = np.sort(np.column_stack([corners.position, corners.position[corners.following]]), axis=1)
    _, first, crease, count = np.unique(
        ends @ [len(ends), 1][-ends.shape[1] :], return_index=True, return_inverse=True, return_counts=True
    )
    shared = np.flatnonzero(count == 2)
    shared = shared[np.argsort(first[shared])]
    # The second place where a crease is found is the first one from behind.
    last = np.empty_like(first)
    last[crease] = np.arange(len(crease))
    planes = np.array([piece.plane for piece in pieces])[corners.piece]
    sides = [planes[first[shared]], planes[last[shared]]]
    normals = [arrangement.planes(side)[:, :-1] for side in sides]
    flat = np.flatnonzero(
        (sides[0] != sides[1]) & (np.abs(np.abs((normals[0] * normals[1]).sum(axis=1)) - 1) < _APART)
    )
    found = []
    for i in flat[:: max(1, len(flat) // _POSITIONS)].tolist():
        through = sorted(corners.points[ends[first[shared[i]]]].tolist())
        plane = arrangement.plane_across(through, normals[0][i])
        if plane is not None:
            found.append(plane)
    return found


def _positions(values: np.ndarray) -> np.ndarray:
    """Short binary numbers between quantiles of the values, clearly within their range."""
    values = np.unique(values)
    span = values[-1] - values[0]
    if not span > 0:
        return values[:0]
    quantiles = np.unique(np.linspace(0, len(values) - 2, _POSITIONS).astype(int))
    step = 2.0 ** np.floor(np.log2(span / 1024))
    positions = np.unique(np.round((values[quantiles] + values[quantiles + 1]) / 2 / step) * step)
    return positions[(positions > values[0] + span * 1e-6) & (positions < values[-1] - span * 1e-6)]


def divided(
    arrangement: Arrangement, plane: int, pieces: Sequence[Piece], corners: Corners
) -> tuple[list[Piece], list[Piece]]:
    """The pieces on the positive and on the negative side of a plane; those across it are cut, those in it vanish."""
    signs = arrangement.signs([plane], corners.points)
    (before,), (behind,) = (side.tolist() for side in corners.sides(signs))
    of_corners = signs[0, corners.position]
    across = [i for i, both in enumerate(zip(before, behind, strict=True)) if all(both)]
    starts = corners.starts.tolist()
    outlines = {
        i: _outline(pieces[i], of_corners[starts[i] : starts[i] + len(pieces[i].corners)].tolist())
        for i in across
    }
    cut = {edge: None for outline in outlines.values() for _, _, edge in outline if edge}
    crossing = dict(zip(cut, arrangement.crossings(plane, list(cut)), strict=True))
    sides: tuple[list[Piece], list[Piece]] = ([], [])
    for side, factor, touched in zip(sides, (1, -1), (before, behind), strict=True):
        for i in np.flatnonzero(touched).tolist():
            piece = pieces[i]
            if i in outlines:
                kept = []
                for corner, sign, edge in outlines[i]:
                    kept += [corner] if factor * sign >= 0 else []
                    kept += [crossing[edge]] if edge else []
                piece = Piece(piece.plane, piece.inside, tuple(kept))
            side.append(piece)
    return sides


def _outline(piece: Piece, signs: Sequence[int]) -> list[tuple[int, int, _Edge | None]]:
    """Each corner with its sign and, if the edge from it to the next corner is cut, that edge."""
    corners = piece.corners
    found: list[tuple[int, int, _Edge | None]] = []
    for i, corner in enumerate(corners):
        following = (i + 1) % len(corners)
        # A segment has one edge, a polygon as many as corners.
        is_cut = signs[i] * signs[following] < 0 and not (len(corners) == 2 and i)
        found.append((corner, signs[i], _segment(corner, corners[following]) if is_cut else None))
    return found


def _segment(first: int, second: int) -> _Edge:
    return min(first, second), max(first, second)
