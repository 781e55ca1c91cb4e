"""Exact signs of planes at points: every decision the construction relies on is taken here.

Input coordinates are floats, so one scaling by a power of two makes them integers. A point is a homogeneous integer
vector ``(X, W)`` with ``W >= 0`` (``W = 0`` is a direction, a point at infinity), a plane an integer vector
``(N, D)`` with value ``N·X + D W``. A float64 product decides nearly every sign; where it lies within its own
rounding error of zero, integers of any length decide.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from math import gcd, isqrt

import numpy as np
from jaxtyping import Float, Int, Int8

ExactVector = tuple[int, ...]

# A value N·X + D of up to four rounded terms is off by less than this times the sum of their sizes.
ROUNDING = 64 * 2.0**-52


class Arrangement:
    """The points and planes of one hypersurface in two or three dimensions, stored exactly and as float64.

    Float64 coordinates are relative to ``centre``, a short binary number that float32 holds too.

    Args:
        points: finite homogeneous coordinates; the last one is 1 for a vertex and 0 for a direction. At least one
            vertex.
    """

    def __init__(self, points: Float[np.ndarray, "v h"]) -> None:
        self.dimension = points.shape[1] - 1
        vertices = points[points[:, -1] != 0, :-1]
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        self.diameter = float(np.linalg.norm(high - low)) or 1.0
        step = 2.0 ** np.floor(np.log2(max(self.diameter, float(np.abs([low, high]).max()) / 2**20) / 8))
        self.centre = np.round((low + high) / 2 / step) * step
        self._scale = max(float(c).as_integer_ratio()[1] for c in (*points[:, :-1].ravel(), *self.centre))
        centre = [self._integer(c) for c in self.centre]
        self._exact: list[ExactVector] = []
        for row in points:
            weight = int(row[-1] != 0)
            vector = [self._integer(c) - weight * o for c, o in zip(row[:-1], centre, strict=True)]
            self._exact.append((*vector, weight))
        self._points = _Rows(self.dimension + 1)
        self._points.extend([self._rounded(point) for point in self._exact])
        self._planes_exact: list[ExactVector] = []
        self._planes = _Rows(self.dimension + 1)
        self._plane_ids: dict[ExactVector, int] = {}
        # A facet's plane is asked again and again about the facet's own corners.
        self._known: dict[int, dict[int, int]] = {}

    def _integer(self, value: float) -> int:
        numerator, denominator = float(value).as_integer_ratio()
        return numerator * (self._scale // denominator)

    def _rounded(self, point: ExactVector) -> list[float]:
        *vector, weight = point
        divisor = weight * self._scale if weight else max(abs(c) for c in vector)
        return [c / divisor for c in vector] + [float(weight != 0)]

    def points(self, indices: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m h"]:
        """Homogeneous coordinates relative to the centre, correctly rounded; directions have length about 1."""
        return self._points.values[indices]

    def exact_points(self, indices: Sequence[int]) -> list[ExactVector]:
        """Exact homogeneous coordinates, scaled and relative to the centre."""
        return [self._exact[i] for i in indices]

    def plane(self, index: int) -> Float[np.ndarray, " h"]:
        """Unit normal and offset: the signed distance is ``normal·(x - centre) + offset``."""
        return self._planes.values[index].copy()

    def planes(self, indices: Sequence[int]) -> Float[np.ndarray, "k h"]:
        """Unit normals and offsets of several planes."""
        return self._planes.values[np.asarray(indices, dtype=np.intp)]

    @property
    def plane_count(self) -> int:
        """How many planes there are; the next new one has this index."""
        return len(self._planes_exact)

    def forget_planes(self, first: int, kept: int) -> int:
        """Remove the planes from index ``first`` on but one, and return the index that this one has now."""
        planes = self._planes_exact[first:]
        for plane in planes:
            del self._plane_ids[plane]
        for index in range(first, self.plane_count):
            self._known.pop(index, None)
        del self._planes_exact[first:]
        self._planes.shorten(first)
        return kept if kept < first else self.add_plane(planes[kept - first])[0]

    def add_plane(self, exact: ExactVector) -> tuple[int, int]:
        """Return the plane's index, and -1 if the stored plane has the opposite normal, else 1.

        The same plane has the same index, whatever facet or factor it came from.
        """
        divisor = gcd(*exact)
        orientation = 1 if next(c for c in exact if c) > 0 else -1
        exact = tuple(orientation * c // divisor for c in exact)
        index = self._plane_ids.setdefault(exact, self.plane_count)
        if index == self.plane_count:
            *normal, offset = exact
            # 64 more bits before the integer root: the quotients are then rounded only once.
            length = isqrt(sum(c * c for c in normal) << 128)
            self._planes_exact.append(exact)
            self._planes.extend(
                [[(c << 64) / length for c in normal] + [(offset << 64) / (length * self._scale)]]
            )
        return index, orientation

    def facet_plane(self, corners: Sequence[int]) -> tuple[int, int] | None:
        """Add the plane of a facet, as ``add_plane`` does; None if its corners do not span one.

        Its normal follows the right-hand rule in 3D and points to the right of the segment in 2D.
        """
        for chosen in combinations(corners, self.dimension):
            exact = self._through(self.exact_points(chosen))
            if any(exact[:-1]):
                return self.add_plane(exact)
        return None

    def plane_across(self, crease: Sequence[int], direction: Float[np.ndarray, " d"]) -> int | None:
        """Add the plane through d - 1 points and along a direction, to 20 bits; None if they do not span one."""
        along = tuple(round(c * 2**20) for c in direction)
        exact = self._through([*self.exact_points(crease), (*along, 0)])
        return self.add_plane(exact)[0] if any(exact[:-1]) else None

    def _through(self, points: list[ExactVector]) -> ExactVector:
        columns = range(self.dimension + 1)
        minors = [determinant([_without(point, column) for point in points]) for column in columns]
        return tuple((-1) ** (column + self.dimension - 1) * minors[column] for column in columns)

    def axis_plane(self, axis: int, position: float) -> int:
        """Add the plane ``x[axis] - centre[axis] = position``."""
        numerator, denominator = position.as_integer_ratio()
        normal = [denominator if i == axis else 0 for i in range(self.dimension)]
        return self.add_plane((*normal, -numerator * self._scale))[0]

    def signs(self, planes: Sequence[int], points: Int[np.ndarray, " m"]) -> Int8[np.ndarray, "k m"]:
        """The exact sign (-1, 0, 1) of every plane at every point."""
        coefficients = self.planes(planes)
        coordinates = self.points(points)
        values = coefficients @ coordinates.T
        size = np.abs(coordinates[:, :-1]).sum(axis=1).max(initial=0.0)
        doubtful = np.abs(values) <= ROUNDING * (size + np.abs(coefficients[:, -1:]))
        signs = np.sign(values).astype(np.int8)
        for i, j in zip(*(places.tolist() for places in np.nonzero(doubtful)), strict=True):
            signs[i, j] = self._exact_sign(planes[i], int(points[j]))
        return signs

    def _exact_sign(self, plane: int, point: int) -> int:
        known = self._known.setdefault(plane, {})
        if point not in known:
            value = self._value(plane, point)
            known[point] = (value > 0) - (value < 0)
        return known[point]

    def _value(self, plane: int, point: int) -> int:
        return sum(a * b for a, b in zip(self._planes_exact[plane], self._exact[point], strict=True))

    def crossings(self, plane: int, segments: Sequence[tuple[int, int]]) -> list[int]:
        """Add the points where a plane cuts segments whose ends lie strictly on opposite sides of it."""
        found = []
        for first, second in segments:
            a, b = abs(self._value(plane, first)), abs(self._value(plane, second))
            found.append(
                [b * p + a * q for p, q in zip(self._exact[first], self._exact[second], strict=True)]
            )
        return self.add_points(found)

    def add_points(self, exact: Sequence[Sequence[int]]) -> list[int]:
        """Add points given by scaled homogeneous coordinates relative to the centre; return their indices."""
        first = len(self._exact)
        new = range(first, first + len(exact))
        for point in exact:
            # In lowest terms the numbers' length depends on where the point is, not on how many cuts led there.
            divisor = gcd(*point)
            self._exact.append(tuple(c // divisor for c in point))
        self._points.extend([self._rounded(point) for point in self._exact[first:]])
        return list(new)

    def point_in_plane(self, plane: int, coordinates: Sequence[int], weight: int) -> ExactVector:
        """The point (or the direction, if the weight is 0) of a plane with all but one coordinate given.

        The one left out is that along which the plane is least steep; the others are scaled, relative to the centre.
        """
        *normal, offset = self._planes_exact[plane]
        axis = max(range(self.dimension), key=lambda i: abs(normal[i]))
        others = [i for i in range(self.dimension) if i != axis]
        point = [0] * self.dimension
        for i, coordinate in zip(others, coordinates, strict=True):
            point[i] = coordinate * abs(normal[axis])
        value = weight * offset + sum(normal[i] * c for i, c in zip(others, coordinates, strict=True))
        point[axis] = -value if normal[axis] > 0 else value
        return (*point, weight * abs(normal[axis]))

    def scaled(self, length: float) -> int:
        """A length in the unit of exact coordinates, rounded."""
        return round(Fraction(length) * self._scale)


class _Rows:
    """A matrix that rows are added to at the end, and taken from there."""

    def __init__(self, width: int) -> None:
        self._room = np.empty((0, width))
        self._count = 0

    @property
    def values(self) -> Float[np.ndarray, "n h"]:
        return self._room[: self._count]

    def extend(self, rows: Sequence[Sequence[float]]) -> None:
        if not rows:
            return
        count = self._count + len(rows)
        if count > len(self._room):
            self._room = np.concatenate([self.values, np.empty((count, self._room.shape[1]))])
        self._room[self._count : count] = rows
        self._count = count

    def shorten(self, count: int) -> None:
        self._count = count


def _without(row: Sequence[int], column: int) -> list[int]:
    return [*row[:column], *row[column + 1 :]]


def determinant(rows: Sequence[Sequence[int]]) -> int:
    """The determinant of one to three rows of integers."""
    if len(rows) == 1:
        return rows[0][0]
    if len(rows) == 2:
        return rows[0][0] * rows[1][1] - rows[0][1] * rows[1][0]
    (a, b, c), (d, e, f), (g, h, i) = rows
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
