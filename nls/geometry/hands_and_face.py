"""What people look at first, and what a mean over the whole body hides: hands and face. Lengths are metres."""

import numpy as np
import trimesh
from jaxtyping import Float
from scipy.ndimage import label

from nls.geometry.landmarks import lengths_along_edges
from nls.geometry.metrics import distances_to, sample_surface

# A region is the true surface so near to a finger's tip, or to the tip of the nose.
HAND_RADIUS = 0.15
FACE_RADIUS = 0.10
_SAMPLES = 200_000
# Part of the true surface counts if so many of its rays leave the body: the inside of a closed mouth does not.
_RAYS, _FREE = 32, 2

# A finger is cut across at these distances from its tip, along the surface.
CUTS = (0.015, 0.03)
_HALF_WIDTH, _STEP = 0.03, 0.0015  # of the square in which a cut is looked at
# Least part of the finger, largest part of another one, and largest size, for a finger that stands apart.
SMALLEST, OTHERS, LARGEST = 0.25, 0.5, 3.0


def detail_metrics(
    mesh: trimesh.Trimesh, truth: trimesh.Trimesh, nose: int, fingertips: tuple[int, ...], seed: int = 0
) -> dict[str, float]:
    """Measure a reconstructed body where detail is.

    ``hands`` and ``face`` are the mean distance from the true surface within 15 cm of a finger's tip, or within
    10 cm of the tip of the nose, to the mesh. ``separate_fingers`` is the share of fingers that stand apart: see
    :func:`separate_fingers`.

    Args:
        mesh: the reconstruction.
        truth: the true body.
        nose: the vertex of ``truth`` at the tip of the nose.
        fingertips: the vertices at the tips of the fingers.
        seed: of the samples.
    """
    points, normals = sample_surface(truth, _SAMPLES, seed)
    values = {}
    for name, centres, radius in (("hands", fingertips, HAND_RADIUS), ("face", (nose,), FACE_RADIUS)):
        near = np.zeros(len(points), dtype=bool)
        for centre in truth.vertices[list(centres)]:
            near |= np.linalg.norm(points - centre, axis=1) < radius
        seen = _is_outside(truth, points[near], normals[near], seed)
        values[name] = float(distances_to(mesh, points[near][seen]).mean())
    return values | {"separate_fingers": separate_fingers(mesh, truth, fingertips)}


def separate_fingers(mesh: trimesh.Trimesh, truth: trimesh.Trimesh, fingertips: tuple[int, ...]) -> float:
    """Return the share of the fingers that are there and apart from the others.

    A plane is laid across each finger of the truth, 1.5 and 3 cm from its tip. Of what it cuts out of the solid
    inside the mesh, the connected part around the finger's centre must cover at least a quarter of the finger, at
    most half of any other part of the truth there, and be at most three times as large as the finger; in both
    planes. A mitten covers the neighbours, and a finger that is missing covers nothing.
    """
    squares = np.array([_squares_across(truth, tip) for tip in fingertips])
    side = round(squares.shape[2] ** 0.5)
    true, found = (_is_inside(body, squares).reshape(-1, side, side) for body in (truth, mesh))
    apart = np.array([_is_apart(*pair) for pair in zip(found, true, strict=True)])
    return float(apart.reshape(len(fingertips), len(CUTS)).all(axis=1).mean())


def _is_apart(found: np.ndarray, true: np.ndarray) -> bool:
    """Tell whether the part in the middle of a cut is the finger there, and nothing else."""
    middle = len(true) // 2, len(true) // 2
    parts, _ = label(true)
    pieces, _ = label(found)
    if not pieces[middle] or not parts[middle]:
        return False
    piece = pieces == pieces[middle]
    sizes = np.bincount(parts.ravel())
    covered = np.bincount(parts[piece], minlength=len(sizes)) / sizes
    covered[0] = 0  # what is outside the truth
    own, covered[parts[middle]] = covered[parts[middle]], 0
    size = np.count_nonzero(piece) / sizes[parts[middle]]
    return bool(own >= SMALLEST and covered.max() <= OTHERS and size <= LARGEST)


def _is_outside(body: trimesh.Trimesh, points: np.ndarray, normals: np.ndarray, seed: int) -> np.ndarray:
    """Tell which points of the surface can be seen from outside, by rays over the half space of their normals."""
    ways = np.random.default_rng(seed).normal(size=(_RAYS, 3))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    free = np.zeros(len(points), dtype=int)
    for way in ways:
        turned = np.where((normals @ way)[:, None] < 0, -way, way)
        free += ~body.ray.intersects_any(points + 1e-4 * normals, turned)
    return free >= _FREE


def _squares_across(truth: trimesh.Trimesh, tip: int) -> Float[np.ndarray, "cuts cells 3"]:
    """Return the cells' centres of a square across a finger, for each cut; the finger's centre is the middle one."""
    (distance,) = lengths_along_edges(truth, [tip], max(CUTS) + 0.02)
    line = np.arange(-_HALF_WIDTH, _HALF_WIDTH + _STEP / 2, _STEP)
    right, up = (axis.ravel()[:, None] for axis in np.meshgrid(line, line))
    squares = []
    for cut in CUTS:
        along = _ring_centre(truth, distance, cut - 0.007) - _ring_centre(truth, distance, cut + 0.007)
        first = np.cross(along, np.eye(3)[np.abs(along).argmin()])
        first /= np.linalg.norm(first)
        second = np.cross(along, first)
        second /= np.linalg.norm(second)
        squares.append(_ring_centre(truth, distance, cut) + right * first + up * second)
    return np.array(squares)


def _ring_centre(mesh: trimesh.Trimesh, distance: np.ndarray, level: float) -> Float[np.ndarray, "3"]:
    """Return the mean of the points of edges at which the distance has a value."""
    edges = mesh.edges_unique
    ends = distance[edges]
    across = np.isfinite(ends).all(axis=1) & (ends.min(axis=1) < level) & (ends.max(axis=1) >= level)
    near, far = ends[across].T
    share = ((level - near) / (far - near))[:, None]
    start, end = mesh.vertices[edges[across, 0]], mesh.vertices[edges[across, 1]]
    return (start + share * (end - start)).mean(axis=0)


def _is_inside(mesh: trimesh.Trimesh, points: np.ndarray) -> np.ndarray:
    """Tell which points a mesh winds around, whichever way its faces are turned."""
    import igl

    winding = igl.fast_winding_number(
        np.ascontiguousarray(mesh.vertices, dtype=np.float64),
        np.ascontiguousarray(mesh.faces, dtype=np.int64),
        np.ascontiguousarray(points.reshape(-1, 3)),
    )
    return (np.abs(winding) > 0.5).reshape(points.shape[:-1])
