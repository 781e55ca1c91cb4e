"""A binary space partition of a solid into cells that are wholly inside or wholly outside it.

``docs/theorem1.md`` gives the argument; the invariant that it needs is that every plane used at a node has points of
the node's open cell strictly on both sides. It holds by construction: a facet's plane is used only while a piece of
the facet lies inside the cell, any other plane only where corners of pieces lie strictly on both sides. All signs
are exact, so a leaf is labelled by the facet it touches: the interior points of its cell next to that facet decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Int, Int8

from nls.errors import UserError
from nls.universality.exact import Arrangement
from nls.universality.hypersurface import Hypersurface


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
    planes = sorted(inside)
    signs = arrangement.signs(planes, corners.points)
    before = {plane: bool((row == inside[plane]).any()) for plane, row in zip(planes, signs, strict=True)}
    behind = {plane: bool((row == -inside[plane]).any()) for plane, row in zip(planes, signs, strict=True)}
    needed = [plane for plane in planes if not behind[plane]]
    enough = [plane for plane in planes if not before[plane]]
    for lowest, chosen in ((True, needed), (False, enough)):
        if chosen:
            if both.intersection(chosen):
                raise UserError(
                    "the facets contradict each other on what is inside; check the mesh's orientation"
                )
            left = [piece for piece in pieces if piece.plane not in set(chosen)]
            rest = _node(arrangement, left, (*walls, *chosen)) if left else None
            return Fold(lowest, tuple((plane, inside[plane]) for plane in chosen), rest)
    plane = _dividing_plane(arrangement, pieces, corners, signs, walls)
    positive, negative = divided(arrangement, plane, pieces, corners)
    walls = (*walls, plane)
    return Split(plane, _node(arrangement, positive, walls), _node(arrangement, negative, walls))


class Corners:
    """The corners of pieces, each point once, and where in that list each piece's corners are."""

    points: Int[np.ndarray, " m"]

    def __init__(self, pieces: Sequence[Piece]) -> None:
        lengths = [len(piece.corners) for piece in pieces]
        flat = np.concatenate([piece.corners for piece in pieces])
        self.points, self.position = np.unique(flat, return_inverse=True)
        self.starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])

    def sides(self, signs: Int8[np.ndarray, "k m"]) -> tuple[np.ndarray, np.ndarray]:
        """For every plane and piece, whether a corner is strictly before the plane, and behind it."""
        by_piece = signs[:, self.position]
        before = np.maximum.reduceat(by_piece, self.starts, axis=1) > 0
        return before, np.minimum.reduceat(by_piece, self.starts, axis=1) < 0


def _dividing_plane(
    arrangement: Arrangement,
    pieces: list[Piece],
    corners: Corners,
    signs: Int8[np.ndarray, "k m"],
    walls: tuple[int, ...],
) -> int:
    """The plane with the least sum of squares of the two sides' numbers of pieces: balanced, and cutting few.

    Along a dividing plane ``F`` is as small as the functions of the planes on either side. So a plane that almost
    coincides with one of those or with a wall is put off: the sign of ``F`` would be exact, but lost in rounding.
    Both sides must be left fewer pieces than there are, so the tree ends.
    """
    planes = np.unique([piece.plane for piece in pieces])
    rows = np.arange(len(planes))
    if len(rows) > _FACET_PLANES:
        rows = np.random.default_rng(len(rows)).choice(rows, _FACET_PLANES, replace=False)
    candidates = planes[rows].tolist()
    before, behind = corners.sides(signs[rows])
    others = [*_axis_planes(arrangement, corners), *_planes_across_creases(arrangement, pieces)]
    if others:
        candidates += others
        sides = corners.sides(arrangement.signs(others, corners.points))
        before, behind = np.concatenate([before, sides[0]]), np.concatenate([behind, sides[1]])
    cost = before.sum(axis=1, dtype=float) ** 2 + behind.sum(axis=1, dtype=float) ** 2
    cost[before.all(axis=1) | behind.all(axis=1)] = np.inf
    near = _almost_coincide(arrangement, candidates, [*planes.tolist(), *walls]).any(axis=1)
    # A facet's own plane always leaves both sides fewer pieces, so that some finite cost remains.
    return candidates[int(np.argmin(np.where(near, cost + len(pieces) ** 3, cost)))]


def _almost_coincide(
    arrangement: Arrangement, candidates: Sequence[int], planes: Sequence[int]
) -> Bool[np.ndarray, "c k"]:
    """Which different planes are nowhere in the diameter's reach farther apart than ``_APART`` of it."""
    first = np.array([arrangement.plane(i) for i in candidates])
    second = np.array([arrangement.plane(i) for i in planes])
    scale = np.append(np.full(arrangement.dimension, arrangement.diameter), 1.0)
    apart = [np.abs((first[:, None] - sign * second[None]) * scale).max(axis=2) for sign in (1, -1)]
    different = np.not_equal.outer(np.array(candidates), np.array(planes))
    return different & (np.minimum(*apart) < _APART * arrangement.diameter)


def _axis_planes(arrangement: Arrangement, corners: Corners) -> list[int]:
    coordinates = arrangement.points(corners.points)
    vertices = coordinates[coordinates[:, -1] > 0]
    return [
        arrangement.axis_plane(axis, position)
        for axis in range(arrangement.dimension)
        for position in _positions(vertices[:, axis]).tolist()
    ]


def _planes_across_creases(arrangement: Arrangement, pieces: list[Piece]) -> list[int]:
    """Planes that part neighbours in almost one plane: through the crease between them, across both."""
    by_crease: dict[frozenset[int], list[int]] = {}
    for piece in pieces:
        for i in range(len(piece.corners)):
            crease = frozenset(
                piece.corners[(i + j) % len(piece.corners)] for j in range(arrangement.dimension - 1)
            )
            by_crease.setdefault(crease, []).append(piece.plane)
    creases = [crease for crease, planes in by_crease.items() if len(set(planes)) == len(planes) == 2]
    parted = [by_crease[crease] for crease in creases]
    if not creases:
        return []
    normals = [
        np.array([arrangement.plane(plane)[:-1] for plane in side]) for side in zip(*parted, strict=True)
    ]
    flat = np.flatnonzero(np.abs(np.abs((normals[0] * normals[1]).sum(axis=1)) - 1) < _APART)
    found = []
    for i in flat[:: max(1, len(flat) // _POSITIONS)].tolist():
        plane = arrangement.plane_across(sorted(creases[i]), normals[0][i])
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
    signs = arrangement.signs([plane], corners.points)[0][corners.position]
    bounds = [*corners.starts.tolist(), len(signs)]
    by_piece = [signs[a:b].tolist() for a, b in pairwise(bounds)]
    # A segment has one edge, a polygon as many as corners.
    edges = [range(1 if len(p.corners) == 2 else len(p.corners)) for p in pieces]
    cut = {
        _segment(p.corners[i], p.corners[(i + 1) % len(s)]): None
        for p, s, each in zip(pieces, by_piece, edges, strict=True)
        for i in each
        if s[i] * s[(i + 1) % len(s)] < 0
    }
    crossing = dict(zip(cut, arrangement.crossings(plane, list(cut)), strict=True))
    sides: tuple[list[Piece], list[Piece]] = ([], [])
    for piece, sign, each in zip(pieces, by_piece, edges, strict=True):
        for side, factor in zip(sides, (1, -1), strict=True):
            if not any(factor * s > 0 for s in sign):
                continue
            kept: list[int] = []
            for i, corner in enumerate(piece.corners):
                following = (i + 1) % len(sign)
                if factor * sign[i] >= 0:
                    kept.append(corner)
                if i in each and sign[i] * sign[following] < 0:
                    kept.append(crossing[_segment(corner, piece.corners[following])])
            side.append(Piece(piece.plane, piece.inside, tuple(kept)))
    return sides


def _segment(first: int, second: int) -> tuple[int, int]:
    return min(first, second), max(first, second)
