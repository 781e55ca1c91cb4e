"""How far two surfaces, or two curves, are apart."""

from dataclasses import dataclass

import numpy as np
import trimesh
from jaxtyping import Float
from pykdtree.kdtree import KDTree
from scipy.spatial import cKDTree

CHAMFER_POINTS = 30_000
F_SCORE_DISTANCE = 0.005


@dataclass(frozen=True)
class Chamfer:
    """Chamfer distances, in the units of the input (FACTS, section 4).

    ``l1`` and ``l2`` are the mean of the two directed averages of nearest distances, measured in the L1 and in
    the L2 norm.
    """

    l1: float
    l2: float


def chamfer(first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "m d"]) -> Chamfer:
    """Return the Chamfer distances of two clouds."""
    l1 = (_l1_distances(first, second).mean() + _l1_distances(second, first).mean()) / 2
    l2 = (_nearest(first, second)[0].mean() + _nearest(second, first)[0].mean()) / 2
    return Chamfer(float(l1), float(l2))


def chamfer_of_meshes(
    first: trimesh.Trimesh, second: trimesh.Trimesh, points: int = CHAMFER_POINTS, seed: int = 0
) -> Chamfer:
    """Return the Chamfer distances of uniform samples of two surfaces."""
    return chamfer(sample_surface(first, points, seed)[0], sample_surface(second, points, seed + 1)[0])


def sample_surface(
    mesh: trimesh.Trimesh, points: int, seed: int
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """Return points uniform on a surface, and the unit normals there."""
    places, faces = trimesh.sample.sample_surface(mesh, points, seed=seed)
    return np.asarray(places), np.asarray(mesh.face_normals[faces])


def surface_metrics(
    mesh: trimesh.Trimesh, truth: trimesh.Trimesh, points: int = CHAMFER_POINTS, seed: int = 0
) -> dict[str, float]:
    """Compare a reconstruction with the ground truth by samples of both, in the units of the input.

    Returns:
        ``chamfer_l1`` and ``chamfer_l2``; of the L2 distances, ``to_truth`` and ``from_truth`` (the directed
        averages: what is there and should not be, what is missing), ``p95`` (the larger of the directed 95th
        percentiles), ``hausdorff`` (the largest distance); ``normal_consistency`` (mean |cosine| with the
        nearest point's normal, both directions); ``f_score`` at 5 mm if the unit is a metre; and
        ``floor_l1``, ``floor_l2``: the Chamfer distances of two samples of the ground truth, which no
        reconstruction can expect to beat.
    """
    sample, normals = sample_surface(mesh, points, seed)
    goal, goal_normals = sample_surface(truth, points, seed + 1)
    other, _ = sample_surface(truth, points, seed + 2)
    onward, index = _nearest(sample, goal)
    back, back_index = _nearest(goal, sample)
    cosines = (normals * goal_normals[index]).sum(axis=1), (goal_normals * normals[back_index]).sum(axis=1)
    precision, recall = ((distances < F_SCORE_DISTANCE).mean() for distances in (onward, back))
    distances, floor = chamfer(sample, goal), chamfer(other, goal)
    values = {
        "chamfer_l1": distances.l1,
        "chamfer_l2": distances.l2,
        "to_truth": onward.mean(),
        "from_truth": back.mean(),
        "p95": max(np.quantile(onward, 0.95), np.quantile(back, 0.95)),
        "hausdorff": max(onward.max(), back.max()),
        "normal_consistency": np.mean([np.abs(part).mean() for part in cosines]),
        "f_score": 2 * precision * recall / max(precision + recall, np.finfo(float).tiny),
        "floor_l1": floor.l1,
        "floor_l2": floor.l2,
    }
    return {name: float(value) for name, value in values.items()}


def _nearest(queries: np.ndarray, cloud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the L2 distance to the nearest point of the cloud, and its index."""
    distances, index = KDTree(np.ascontiguousarray(cloud)).query(np.ascontiguousarray(queries))
    return distances, index.astype(np.int64)


def _l1_distances(queries: np.ndarray, cloud: np.ndarray) -> np.ndarray:
    return cKDTree(cloud).query(queries, p=1, workers=-1)[0]
