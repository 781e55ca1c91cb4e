"""What keeps facets from bounding a solid: each kind of defect is found exactly and named with its first facet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int, Int8
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from nls.geometry.exact import ROUNDING, Arrangement, ExactVector, determinant
from nls.geometry.hypersurface import Hypersurface
from nls.geometry.winding import winding_number

Facets = Int[np.ndarray, "f d"]

# Pairs of facets whose boxes meet, tested at once.
_PAIRS = 1 << 20


@dataclass(frozen=True)
class Defect:
    """A reason why facets bound no solid.

    Attributes:
        kind: the defect's name.
        facet: the first offending facet, counted from 0 in the order of the input.
        detail: what is wrong there.
    """

    kind: str
    facet: int
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: face {self.facet} {self.detail}"


def find_defect(surface: Hypersurface) -> Defect | None:
    """The first defect of triangles in space or of segments in the plane; None if they bound a solid.

    Looked for, in this order: coordinates that are not finite, degenerate facets, non-manifold edges, holes, flipped
    facets, self-intersections, components that face the wrong way. Components may touch in single vertices. All
    tests are exact but the last, which rounds winding numbers taken away from the facets that they are taken of.
    """
    if not surface.facets:
        return Defect("empty mesh", 0, "is missing, there are no faces at all")
    facets = np.array(surface.facets, dtype=np.int64)
    broken = ~np.isfinite(surface.points).all(axis=1)
    if broken[facets].any():
        facet = int(np.argmax(broken[facets].any(axis=1)))
        return Defect("NaN or infinite coordinate", facet, "has a corner that is not finite")
    space = Arrangement(surface.points)
    return (
        _degenerate(space, facets)
        or _not_closed(facets)
        or _self_intersection(space, facets)
        or _wrong_way(surface.vertices, facets)
    )


def facing_wrong_way(vertices: Float[np.ndarray, "v d"], facets: Facets) -> Bool[np.ndarray, " f"]:
    """Which facets belong to a component that faces into its body, or out of its cavity."""
    number = components(facets)
    corners = vertices[facets]
    wrong = np.zeros(len(facets), dtype=bool)
    for component in range(number.max() + 1):
        own = number == component
        point = corners[own][0].mean(axis=0, keepdims=True)
        # How many other components it lies in, whichever way they face.
        around = [winding_number(point, corners[number == o])[0] for o in set(number.tolist()) - {component}]
        depth = sum(round(abs(value)) for value in around)
        wrong[own] = (signed_content(corners[own]) > 0) != (depth % 2 == 0)
    return wrong


def components(facets: Facets) -> Int[np.ndarray, " f"]:
    """For each facet the number of its component; triangles hang together by edges, segments by vertices."""
    _, edge = np.unique(_edges(facets)[0], axis=0, return_inverse=True)
    owner, size = _edges(facets)[1], len(facets)
    # Facets and edges are the two kinds of nodes of one graph.
    nodes = size + int(edge.max()) + 1
    graph = coo_matrix((np.ones(len(owner)), (owner, size + edge.ravel())), shape=(nodes, nodes))
    return connected_components(graph, directed=False)[1][:size]


def signed_content(corners: Float[np.ndarray, "f d d"]) -> float:
    """Twice the area or six times the volume that facets enclose, positive if they face outwards."""
    return float(np.linalg.det(corners - corners.mean(axis=(0, 1))).sum())


def _edges(facets: Facets) -> tuple[Int[np.ndarray, "e k"], Int[np.ndarray, " e"], Int[np.ndarray, " e"]]:
    """Edges of triangles, or ends of segments: sorted corners, the facet, and the direction (1 or -1)."""
    owner = np.tile(np.arange(len(facets)), facets.shape[1])
    if facets.shape[1] == 2:
        return facets.T.reshape(-1, 1), owner, np.repeat([1, -1], len(facets))
    directed = np.concatenate([facets[:, [0, 1]], facets[:, [1, 2]], facets[:, [2, 0]]])
    return np.sort(directed, axis=1), owner, np.where(directed[:, 0] < directed[:, 1], 1, -1)


def _degenerate(space: Arrangement, facets: Facets) -> Defect | None:
    for number, corners in enumerate(facets.tolist()):
        if space.facet_plane(corners) is None:
            return Defect("degenerate face", number, f"has no extent (corners {_listed(corners)})")
    return None


def _not_closed(facets: Facets) -> Defect | None:
    edges, owner, direction = _edges(facets)
    _, edge, count = np.unique(edges, axis=0, return_inverse=True, return_counts=True)
    edge = edge.ravel()
    balance = np.bincount(edge, weights=direction)
    where = "edge" if facets.shape[1] == 3 else "corner"
    for kind, bad, detail in (
        ("non-manifold edge", count > 2, f"shares the {where} {{}} with more than one other face"),
        ("hole", count == 1, f"shares the {where} {{}} with no other face"),
        ("flipped face", balance != 0, f"runs along the {where} {{}} in the same direction as its neighbour"),
    ):
        offending = bad[edge]
        if offending.any():
            # A flipped face disagrees along all its edges, its neighbours along one: name the worst, then the first.
            worst = np.bincount(owner[offending], minlength=len(facets))
            facet = int(np.argmax(worst if kind == "flipped face" else worst > 0))
            at = edges[np.flatnonzero(offending & (owner == facet))[0]]
            return Defect(kind, facet, detail.format(_listed(at.tolist(), "-")))
    return None


def _wrong_way(vertices: Float[np.ndarray, "v d"], facets: Facets) -> Defect | None:
    wrong = facing_wrong_way(vertices, facets)
    if not wrong.any():
        return None
    return Defect(
        "flipped component", int(np.argmax(wrong)), "belongs to a component that faces the wrong way"
    )


def _self_intersection(space: Arrangement, facets: Facets) -> Defect | None:
    """The lowest-numbered facet that meets another one elsewhere than in a common corner or edge."""
    test = _meeting_triangles if facets.shape[1] == 3 else _meeting_segments
    found: list[tuple[int, int]] = []
    for first, second in _close_pairs(space, facets):
        meeting = test(space, facets[first], facets[second])
        found += [
            (min(pair), max(pair))
            for pair in zip(first[meeting].tolist(), second[meeting].tolist(), strict=True)
        ]
    if not found:
        return None
    facet, other = min(found)
    return Defect("self-intersection", facet, f"meets face {other}")


def _close_pairs(
    space: Arrangement, facets: Facets
) -> Iterator[tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]]:
    """Pairs of facets whose bounding boxes meet, by a sweep along the first axis."""
    corners = space.points(facets.ravel())[:, :-1].reshape(*facets.shape, -1)
    margin = space.diameter * ROUNDING
    low, high = corners.min(axis=1) - margin, corners.max(axis=1) + margin
    order = np.argsort(low[:, 0], kind="stable")
    low, high = low[order], high[order]
    reach = np.searchsorted(low[:, 0], high[:, 0], side="right") - np.arange(len(order)) - 1
    stops = np.cumsum(reach)
    start = 0
    while start < len(order):
        stop = max(start + 1, int(np.searchsorted(stops, (stops[start - 1] if start else 0) + _PAIRS)))
        counts = reach[start:stop]
        first = np.repeat(np.arange(start, start + len(counts)), counts)
        second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
        meet = ((low[first] <= high[second]) & (low[second] <= high[first])).all(axis=1)
        yield order[first[meet]], order[second[meet]]
        start = stop


def _meeting_segments(
    space: Arrangement, first: Int[np.ndarray, "m 2"], second: Int[np.ndarray, "m 2"]
) -> Bool[np.ndarray, " m"]:
    """Segments that share more than a common end."""
    common = (first[:, :, None] == second[:, None, :]).any(axis=2)
    meeting = np.zeros(len(first), dtype=bool)
    for i in np.flatnonzero(common.any(axis=1)):
        meeting[i] = _same_ray(space, first[i].tolist(), second[i].tolist())
    apart = np.flatnonzero(~common.any(axis=1))
    (a, b), (c, d) = first[apart].T, second[apart].T
    sides = [
        _orientation(space, np.stack(three, axis=1)) for three in ((a, b, c), (a, b, d), (c, d, a), (c, d, b))
    ]
    straddling = (sides[0] * sides[1] <= 0) & (sides[2] * sides[3] <= 0)
    collinear = np.all([side == 0 for side in sides], axis=0)
    meeting[apart] = straddling
    for i in apart[collinear]:
        points = space.exact_points([*first[i].tolist(), *second[i].tolist()])
        meeting[i] = _segments_meet(points[0], points[1], points[2], points[3])
    return meeting


def _same_ray(space: Arrangement, first: list[int], second: list[int]) -> bool:
    """Whether two segments with a common end overlap: they are collinear and leave it in the same direction."""
    shared = next(corner for corner in first if corner in second)
    others = [corner for corner in (*first, *second) if corner != shared]
    if len(others) < 2:
        return True
    o, p, q = space.exact_points([shared, *others])
    return (
        _turn(o, p, q) == 0
        and sum((a - c) * (b - c) for a, b, c in zip(p[:2], q[:2], o[:2], strict=True)) > 0
    )


def _meeting_triangles(
    space: Arrangement, first: Int[np.ndarray, "m 3"], second: Int[np.ndarray, "m 3"]
) -> Bool[np.ndarray, " m"]:
    """Triangles that share more than common corners and the edge between two of those."""
    same = first[:, :, None] == second[:, None, :]
    common = same.any(axis=2).sum(axis=1)
    meeting = common == 3

    # A common edge: the triangles overlap if one is folded onto the other.
    folded = np.flatnonzero(common == 2)
    apex = second[folded][~same[folded].any(axis=1)]
    flat = _orientation(space, np.column_stack([first[folded], apex])) == 0
    for i in folded[flat]:
        meeting[i] = _folded(space, first[i].tolist(), second[i].tolist())

    # A common corner: what else they share reaches the edge opposite to it in one of the two.
    pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    corner = np.flatnonzero(common == 1)
    for one, other, opposite in ((first, second, ~same.any(axis=2)), (second, first, ~same.any(axis=1))):
        pairs.append((corner, one[corner][opposite[corner]].reshape(-1, 2), other[corner]))

    # Nothing in common: an edge of one meets the other.
    apart = np.flatnonzero(common == 0)
    for one, other in ((first, second), (second, first)):
        apart = apart[~_beyond_plane(space, one[apart], other[apart])]
    for one, other in ((first, second), (second, first)):
        pairs += [(apart, one[apart][:, list(edge)], other[apart]) for edge in ((0, 1), (1, 2), (2, 0))]

    for rows, edges, triangles in pairs:
        meeting[rows[_edges_meet_triangles(space, edges, triangles)]] = True
    return meeting


def _beyond_plane(
    space: Arrangement, triangles: Int[np.ndarray, "m 3"], others: Int[np.ndarray, "m 3"]
) -> Bool[np.ndarray, " m"]:
    """Where all corners of the other triangle lie strictly on one side of the triangle's plane."""
    sides = [_orientation(space, np.column_stack([triangles, others[:, i]])) for i in range(3)]
    return np.abs(sum(side.astype(int) for side in sides)) == 3


def _edges_meet_triangles(
    space: Arrangement, edges: Int[np.ndarray, "m 2"], triangles: Int[np.ndarray, "m 3"]
) -> Bool[np.ndarray, " m"]:
    sides = [_orientation(space, np.column_stack([triangles, edges[:, i]])) for i in range(2)]
    meeting = np.zeros(len(edges), dtype=bool)
    crossing = np.flatnonzero((sides[0] * sides[1] <= 0) & ((sides[0] != 0) | (sides[1] != 0)))
    turns = [
        _orientation(space, np.column_stack([edges[crossing], triangles[crossing][:, list(pair)]]))
        for pair in ((0, 1), (1, 2), (2, 0))
    ]
    meeting[crossing] = (np.min(turns, axis=0) >= 0) | (np.max(turns, axis=0) <= 0)
    for i in np.flatnonzero((sides[0] == 0) & (sides[1] == 0)):
        meeting[i] = _coplanar_meet(space, edges[i].tolist(), triangles[i].tolist())
    return meeting


def _orientation(space: Arrangement, corners: Int[np.ndarray, "m k"]) -> Int8[np.ndarray, " m"]:
    """The exact sign of the content of the simplices on d + 1 vertices each."""
    if not len(corners):
        return np.zeros(0, dtype=np.int8)
    points = space.points(corners.ravel())[:, :-1].reshape(*corners.shape, -1)
    spans = points[:, 1:] - points[:, :1]
    content = np.linalg.det(spans)
    # Each factor is off by at most an epsilon of the coordinates' size, and a determinant is linear in each row.
    size = np.abs(points).max(axis=(1, 2))
    bound = ROUNDING * size * np.abs(spans).max(axis=(1, 2)) ** (spans.shape[1] - 1)
    signs = np.sign(content).astype(np.int8)
    for i in np.flatnonzero(np.abs(content) <= bound):
        origin, *others = space.exact_points(corners[i].tolist())
        rows = [[a - b for a, b in zip(other[:-1], origin[:-1], strict=True)] for other in others]
        value = determinant(rows)
        signs[i] = (value > 0) - (value < 0)
    return signs


def _folded(space: Arrangement, first: list[int], second: list[int]) -> bool:
    """Whether coplanar triangles with a common edge lie on the same side of it."""
    p, q = (corner for corner in first if corner in second)
    a, b = next(c for c in first if c not in second), next(c for c in second if c not in first)
    flat = _projected(space, [p, q, a, b], first)
    return _turn(flat[0], flat[1], flat[2]) * _turn(flat[0], flat[1], flat[3]) > 0


def _coplanar_meet(space: Arrangement, edge: list[int], triangle: list[int]) -> bool:
    p, q, a, b, c = _projected(space, [*edge, *triangle], triangle)
    turns = [_turn(u, v, p) for u, v in ((a, b), (b, c), (c, a))]
    return not (max(turns) > 0 > min(turns)) or any(
        _segments_meet(p, q, u, v) for u, v in ((a, b), (b, c), (c, a))
    )


def _projected(space: Arrangement, corners: list[int], triangle: list[int]) -> list[ExactVector]:
    """Exact plane coordinates of points in a triangle's plane: without an axis along which it is not seen edge-on."""
    points = dict(zip(corners, space.exact_points(corners), strict=True))
    for axes in combinations(range(3), 2):
        a, b, c = (tuple(points[corner][axis] for axis in axes) for corner in triangle)
        if _turn(a, b, c):
            break
    return [tuple(points[corner][axis] for axis in axes) for corner in corners]


def _turn(o: ExactVector, p: ExactVector, q: ExactVector) -> int:
    """The sign of the turn from p to q about o."""
    value = (p[0] - o[0]) * (q[1] - o[1]) - (p[1] - o[1]) * (q[0] - o[0])
    return (value > 0) - (value < 0)


def _segments_meet(a: ExactVector, b: ExactVector, c: ExactVector, d: ExactVector) -> bool:
    """Whether closed segments ab and cd in the plane meet."""
    sides = (_turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b))
    if any(sides):
        return sides[0] * sides[1] <= 0 and sides[2] * sides[3] <= 0
    return all(
        max(min(a[i], b[i]), min(c[i], d[i])) <= min(max(a[i], b[i]), max(c[i], d[i])) for i in range(2)
    )


def _listed(corners: Sequence[int], separator: str = ", ") -> str:
    return separator.join(map(str, corners))
