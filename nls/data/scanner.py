"""A virtual body scanner: stereo cameras around a mesh, ray casting, sensor noise.

The rig follows the one that took FAUST (Bogo et al., CVPR 2014): 22 stereo units around the subject. A point is
measured by a unit if both its cameras see it, neither at a grazing angle, so the scan has the holes of a real
one: undersides, armpits and folds, and its density depends on distance and angle.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from nls.engine.seeds import numpy_stream
from nls.errors import UserError

POINTS = 170_000
NOISE = 0.0005  # metres


@dataclass(frozen=True)
class Condition:
    """How a scan is taken.

    Attributes:
        points: how many are kept.
        noise: standard deviation along the viewing ray, metres.
        half_of_units: every second stereo unit has failed.
        outliers: share of the points that lie anywhere in the mesh's box, grown by a tenth on every side.
        wrong_normals: normals come with the points, and those of every second unit point inwards, as where two
            devices disagree on the convention.
    """

    points: int = POINTS
    noise: float = NOISE
    half_of_units: bool = False
    outliers: float = 0.0
    wrong_normals: bool = False


CONDITIONS: dict[str, Condition] = {
    "usual": Condition(),
    "points-10000": Condition(points=10_000),
    "points-3000": Condition(points=3_000),
    "noise-2mm": Condition(noise=0.002),
    "noise-5mm": Condition(noise=0.005),
    "half-of-units": Condition(half_of_units=True),
    "outliers-2": Condition(outliers=0.02),
    "outliers-10": Condition(outliers=0.1),
    "wrong-normals": Condition(wrong_normals=True),
}


@dataclass(frozen=True)
class Scan:
    """Points in the mesh's unit, and normals where the condition gives any."""

    points: Float64[np.ndarray, "n 3"]
    normals: Float64[np.ndarray, "n 3"] | None


# Rings of units: height above the mesh's centre in bounding radii, units in the ring.
_RINGS = ((-0.3, 7), (0.4, 8), (1.6, 7))
_DISTANCE = 2.2  # from the vertical axis to a unit, in bounding radii
_BASELINE = 0.5  # between a unit's two cameras, in bounding radii
_GRAZING = 0.3  # least cosine between viewing ray and surface normal
_PILOT = 96  # pixels a side in the trial that finds the resolution
_MOST_PIXELS = 2048


def scan(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    seed: int,
    points: int = POINTS,
    noise: float = NOISE,
) -> Float64[np.ndarray, "n 3"]:
    """Scan a mesh (y up) and return ``points`` noisy surface points, in the mesh's unit.

    Noise is Gaussian along the viewing ray with standard deviation ``noise`` / √cos θ, θ the angle to the normal;
    a measurement is kept with probability min(1, 2 cos θ). Equal arguments give equal points.

    Raises:
        UserError: the mesh has no extent, or the units see too little of it.
    """
    return scan_under(Condition(points, noise), vertices, faces, seed).points


def scan_under(
    condition: Condition, vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], seed: int
) -> Scan:
    """Scan a mesh under a condition; see :func:`scan`.

    Raises:
        UserError: the mesh has no extent, or the units see too little of it.
    """
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    centre, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
    if not radius > 0 or len(faces) == 0:
        raise UserError("the mesh has no surface to scan: give one with faces and an extent")
    rig = _Rig((vertices - centre) / radius, faces)
    units = _units()[:: 2 if condition.half_of_units else 1]

    pixels, found = _PILOT, 0
    while found < condition.points:
        stream = numpy_stream(seed, "scan", pixels)
        shots = [rig.shoot(*unit, pixels, stream) for unit in units]
        found = sum(len(shot.hits) for shot in shots)
        if found < condition.points:
            pixels = int(pixels * np.sqrt(1.1 * condition.points / max(found, 1))) + 1
        if pixels > _MOST_PIXELS:
            raise UserError(
                f"the cameras around the mesh see too little of it for {condition.points} points: take fewer"
                " points, or remove parts that lie far off"
            )

    chosen = np.sort(stream.choice(found, condition.points, replace=False))
    hits, rays, cosine, normals = (
        np.concatenate([getattr(shot, part) for shot in shots])[chosen]
        for part in ("hits", "rays", "cosine", "normals")
    )
    depth = condition.noise / np.sqrt(cosine) * stream.standard_normal(condition.points)
    cloud = hits * radius + centre + rays * depth[:, None]
    if condition.outliers:
        strays = stream.choice(len(cloud), round(condition.outliers * len(cloud)), replace=False)
        margin = (high - low) / 10
        cloud[strays] = stream.uniform(low - margin, high + margin, (len(strays), 3))
    if not condition.wrong_normals:
        return Scan(cloud, None)
    unit = np.repeat(np.arange(len(shots)), [len(shot.hits) for shot in shots])[chosen]
    return Scan(cloud, np.where(unit[:, None] % 2, -normals, normals))


def _units() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the positions of each unit's two cameras, around the unit sphere's centre."""
    units = []
    for ring, (height, count) in enumerate(_RINGS):
        for k in range(count):
            angle = 2 * np.pi * (k + ring / 2) / count
            outward = np.array([np.sin(angle), 0.0, np.cos(angle)])
            sideways = np.array([np.cos(angle), 0.0, -np.sin(angle)])
            middle = _DISTANCE * outward + np.array([0.0, height, 0.0])
            units.append((middle - _BASELINE / 2 * sideways, middle + _BASELINE / 2 * sideways))
    return units


@dataclass(frozen=True)
class _Shot:
    """Points, the rays that met them, cosines of the angles to the normals, and the normals."""

    hits: np.ndarray
    rays: np.ndarray
    cosine: np.ndarray
    normals: np.ndarray


class _Rig:
    """A mesh inside the unit sphere, ready for rays."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self._scene = EmbreeScene()
        TriangleMesh(self._scene, vertices.astype(np.float32), faces.astype(np.int32))
        corners = vertices[faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
        self._normals = normals / np.where(lengths > 0, lengths, 1)
        self._corners = corners[:, 0]

    def shoot(
        self, eye: np.ndarray, partner: np.ndarray, pixels: int, stream: np.random.Generator
    ) -> "_Shot":
        """Return what a unit measures."""
        rays = _rays(eye, pixels, stream)
        kept = stream.random(len(rays))  # drawn for every ray, so that a draw does not depend on what is hit
        triangle = self._scene.run(
            np.broadcast_to(eye, rays.shape).astype(np.float32), rays.astype(np.float32)
        )
        met = triangle >= 0
        rays, kept, triangle = rays[met], kept[met], triangle[met]

        # Embree answers in single precision: meet the triangle's plane in double precision.
        normals = self._normals[triangle]
        slope = np.einsum("nd,nd->n", rays, normals)
        cosine = np.abs(slope)
        steep = (cosine > _GRAZING) & (kept < 2 * cosine)
        rays, normals, triangle, slope, cosine = (a[steep] for a in (rays, normals, triangle, slope, cosine))
        distance = np.einsum("nd,nd->n", self._corners[triangle] - eye, normals) / slope
        hits = eye + distance[:, None] * rays

        seen = self._sees(partner, hits, normals)
        return _Shot(hits[seen], rays[seen], cosine[seen], normals[seen])

    def _sees(self, eye: np.ndarray, hits: np.ndarray, normals: np.ndarray) -> np.ndarray:
        way = eye - hits
        far = np.linalg.norm(way, axis=1)
        way /= far[:, None]
        steep = np.abs(np.einsum("nd,nd->n", way, normals)) > _GRAZING
        start = hits + 1e-4 * way  # off the surface, beyond single precision
        hidden = self._scene.run(
            start.astype(np.float32), way.astype(np.float32), far.astype(np.float32), query="OCCLUDED"
        )
        return steep & (hidden < 0)


def _rays(eye: np.ndarray, pixels: int, stream: np.random.Generator) -> np.ndarray:
    """Return one unit vector through a random spot of each pixel of an image that holds the unit sphere."""
    distance = np.linalg.norm(eye)
    forward = -eye / distance
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    half = 1 / np.sqrt(distance**2 - 1)  # tangent of the angle at which the sphere appears
    rows, columns = np.divmod(np.arange(pixels**2), pixels)
    offset = (np.stack([columns, rows], axis=1) + stream.random((pixels**2, 2))) * (2 / pixels) - 1
    rays = forward + half * (offset[:, :1] * right + offset[:, 1:] * up)
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)
