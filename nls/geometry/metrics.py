"""How far two surfaces are apart, by the measures of the field. docs/surfaces.md has their formulas."""

from dataclasses import dataclass

import numpy as np
import trimesh
from jaxtyping import Float, Int
from pykdtree.kdtree import KDTree
from scipy.spatial import cKDTree

from nls.geometry.meshing import topology
from nls.geometry.overlap import intersection_over_union

CHAMFER_POINTS = 30_000
# Of the diagonal of the truth's box: 5 mm for a person of 2 m.
F_SCORE_SHARE = 0.0025

Surface = trimesh.Trimesh | Float[np.ndarray, "n 3"]


@dataclass(frozen=True)
class Chamfer:
    """Chamfer distances, in the units of the input (Section 5.3).

    ``l1`` and ``l2`` are the mean of the two directed averages of nearest distances, measured in the L1 and in
    the L2 norm. The paper names the two norms, and leaves open that it is a mean and not a sum.
    """

    l1: float
    l2: float


def chamfer(first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "m d"]) -> Chamfer:
    """Return the Chamfer distances of two clouds, in their units."""
    onward, back = _Directed.between(first, second), _Directed.between(second, first)
    return Chamfer((onward.l1 + back.l1) / 2, (onward.l2 + back.l2) / 2)


def chamfer_of_meshes(
    first: trimesh.Trimesh, second: trimesh.Trimesh, points: int = CHAMFER_POINTS, seed: int = 0
) -> Chamfer:
    """Return the Chamfer distances of uniform samples of two surfaces, in their units."""
    return chamfer(*_samples(first, second, points, seed))


def chamfer_l2_of_meshes(
    first: trimesh.Trimesh, second: trimesh.Trimesh, points: int = CHAMFER_POINTS, seed: int = 0
) -> float:
    """Return ``l2`` of :func:`chamfer_of_meshes` alone, the same to the bit: ``l1`` takes most of the time."""
    here, there = _samples(first, second, points, seed)
    return float((_nearest(here, there)[0].mean() + _nearest(there, here)[0].mean()) / 2)


def _samples(
    first: trimesh.Trimesh, second: trimesh.Trimesh, points: int, seed: int
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    return sample_surface(first, points, seed)[0], sample_surface(second, points, seed + 1)[0]


def sample_surface(
    mesh: trimesh.Trimesh, points: int, seed: int
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """Return points uniform on a surface, and the unit normals there."""
    places, faces = trimesh.sample.sample_surface(mesh, points, seed=seed)
    return np.asarray(places), np.asarray(mesh.face_normals[faces])


def compare(
    mesh: trimesh.Trimesh,
    truth: Surface,
    points: int = CHAMFER_POINTS,
    seed: int = 0,
    f_share: float = F_SCORE_SHARE,
) -> dict[str, float]:
    """Return every measure of a mesh against the truth, which is a mesh or a cloud.

    With S a uniform sample of the mesh and T one of the truth, of ``points`` points each (a cloud gives at most so
    many of its points), and d(x, Y) the distance from x to the nearest point of Y:

    - ``to_truth_l1``, ``to_truth_l2``: mean of d(s, T) over S, in the L1 and L2 norm (what is there and should not
      be); ``from_truth_l1``, ``from_truth_l2``: mean of d(t, S) over T (what is missing); ``chamfer_l1``,
      ``chamfer_l2``: the means of the two directions, as in the paper.
    - ``floor_l1``, ``floor_l2``: the Chamfer distances of two samples of the truth, which no mesh can expect to
      beat.
    - ``hausdorff``: the largest, ``hausdorff_95`` the larger of the two directed 95th percentiles, of the distances
      from S to the truth itself and from T to the mesh itself.
    - ``f_score``: the harmonic mean of the shares of these distances below ``f_share`` of the diagonal of the
      truth's box.
    - ``normal_consistency``: the mean of ``|cos|`` of the angle between the normals of a sample and of the other
      surface's sample that is nearest to it, over S and T. Orientation does not count.
    - ``iou``: see :func:`intersection_over_union`; where both meshes are closed.
    - ``components``, ``watertight``, ``euler``, ``boundary_edges``, ``nonmanifold_edges``: of the mesh, see
      :class:`nls.geometry.meshing.Topology`.

    Distances are in the units of the input; all other measures do not depend on the scale. What is not defined (the
    floor, normals and ``iou`` against a cloud; ``iou`` of an open mesh) is left out.

    Args:
        mesh: the surface to judge.
        truth: a mesh, or points of the true surface.
        points: samples of each surface.
        seed: of the samples.
        f_share: share of the diagonal that counts as near.
    """
    goal = truth.vertices if isinstance(truth, trimesh.Trimesh) else truth
    centre, diagonal = goal.mean(axis=0), float(np.linalg.norm(np.ptp(goal, axis=0)))
    found, wanted = _Side.of(mesh, centre, diagonal), _Side.of(truth, centre, diagonal)
    here, there = found.sample(points, seed), wanted.sample(points, seed + 1)

    onward, back = _Directed.between(here.points, there.points), _Directed.between(there.points, here.points)
    lengths = {
        "chamfer_l1": (onward.l1 + back.l1) / 2,
        "chamfer_l2": (onward.l2 + back.l2) / 2,
        "to_truth_l1": onward.l1,
        "to_truth_l2": onward.l2,
        "from_truth_l1": back.l1,
        "from_truth_l2": back.l2,
    }
    to_truth = distances_to(wanted.surface, here.points)
    from_truth = distances_to(found.surface, there.points)
    lengths["hausdorff"] = max(to_truth.max(), from_truth.max())
    lengths["hausdorff_95"] = max(np.quantile(to_truth, 0.95), np.quantile(from_truth, 0.95))
    values: dict[str, float] = {"f_score": _f_score(to_truth, from_truth, f_share)}
    if isinstance(truth, trimesh.Trimesh):
        floor = chamfer(wanted.sample(points, seed + 2).points, there.points)
        lengths |= {"floor_l1": floor.l1, "floor_l2": floor.l2}
        cosines = (
            (here.normals * there.normals[onward.nearest]).sum(axis=1),
            (there.normals * here.normals[back.nearest]).sum(axis=1),
        )
        values["normal_consistency"] = float(np.mean([np.abs(part).mean() for part in cosines]))
        if mesh.is_watertight and truth.is_watertight:
            values["iou"] = intersection_over_union(mesh, truth)
    lengths = {name: float(length) * diagonal for name, length in lengths.items()}
    return lengths | {name: float(value) for name, value in values.items()} | topology(mesh).figures()


def distances_to(surface: Surface, queries: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """Return the distance from each query to the nearest point of a mesh's triangles, or of a cloud."""
    queries = np.asarray(queries, dtype=np.float64)
    if not isinstance(surface, trimesh.Trimesh):
        return _nearest(queries, surface)[0]
    import igl

    vertices = np.ascontiguousarray(surface.vertices, dtype=np.float64)
    faces = np.ascontiguousarray(surface.faces, dtype=np.int64)
    order = _neighbours_together(queries)
    squares = igl.point_mesh_squared_distance(queries[order], vertices, faces)[0]
    return _put_back(np.sqrt(squares), order)


@dataclass(frozen=True)
class _Sample:
    points: Float[np.ndarray, "n 3"]
    normals: Float[np.ndarray, "n 3"]


@dataclass(frozen=True)
class _Side:
    """One of the two surfaces, in coordinates in which the diagonal of the truth's box is 1."""

    surface: Surface

    @classmethod
    def of(cls, surface: Surface, centre: np.ndarray, diagonal: float) -> "_Side":
        if isinstance(surface, trimesh.Trimesh):
            vertices = (np.asarray(surface.vertices) - centre) / diagonal
            return cls(trimesh.Trimesh(vertices, surface.faces, process=False))
        return cls((surface - centre) / diagonal)

    def sample(self, points: int, seed: int) -> _Sample:
        if isinstance(self.surface, trimesh.Trimesh):
            return _Sample(*sample_surface(self.surface, points, seed))
        chosen = np.random.default_rng(seed).permutation(len(self.surface))[:points]
        return _Sample(self.surface[chosen], np.empty((0, 3)))


def _f_score(to_truth: np.ndarray, from_truth: np.ndarray, distance: float) -> float:
    precision, recall = float((to_truth < distance).mean()), float((from_truth < distance).mean())
    return 2 * precision * recall / max(precision + recall, np.finfo(float).tiny)


@dataclass(frozen=True)
class _Directed:
    """The average distances from one cloud to another, and the index of the nearest point in the L2 norm."""

    l1: float
    l2: float
    nearest: Int[np.ndarray, " n"]

    @classmethod
    def between(cls, queries: np.ndarray, cloud: np.ndarray) -> "_Directed":
        order = _neighbours_together(queries)
        l1 = _put_back(cKDTree(cloud).query(queries[order], p=1, workers=-1)[0], order)
        l2, index = _nearest(queries, cloud, order)
        return cls(float(l1.mean()), float(l2.mean()), index)


def _nearest(
    queries: np.ndarray, cloud: np.ndarray, order: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the L2 distance to the nearest point of the cloud, and its index; ``order`` if it is known already."""
    order = _neighbours_together(queries) if order is None else order
    distances, index = KDTree(np.ascontiguousarray(cloud)).query(queries[order])
    return _put_back(distances, order), _put_back(index, order).astype(np.int64)


def _neighbours_together(queries: np.ndarray) -> Int[np.ndarray, " n"]:
    """Return an order in which queries follow their neighbours: they find what they need of a tree in the cache."""
    return cKDTree(queries, balanced_tree=False).indices


def _put_back(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    found = np.empty_like(values)
    found[order] = values
    return found
