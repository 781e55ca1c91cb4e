"""Curves in R³: the intersection of two zero level sets as ordered polylines, and distances of curves."""

from itertools import permutations

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from nls.errors import UserError
from nls.geometry.octree import Grid, descend
from nls.levelset import Field, project

Polyline = Float[np.ndarray, "n 3"]

# Even samples of each of two curves that are compared.
_SAMPLES = 10_000

# Kuhn's subdivision: six tetrahedra along the paths from a cube's first corner to its last. Neighbouring cubes
# agree on the triangles that they share.
_TETRAHEDRA = np.array(
    [
        np.cumsum([np.zeros(3, int), *np.eye(3, dtype=int)[list(order)]], axis=0)
        for order in permutations(range(3))
    ]
)
_TRIANGLES = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])


def extract_curves(field: Field, grid: Grid, device: torch.device | str = "cpu") -> list[Polyline]:
    """Return the curves ``{F_1 = F_2 = 0}`` of a field of two outputs, longest first.

    Both outputs are interpolated on the tetrahedra of a grid; on a triangle they vanish together in at most
    one point, and the two points of a tetrahedron are joined. The points are then moved to the level set by
    generalized Newton. A closed curve ends with the point it starts with.

    Raises:
        UserError: the two zero level sets do not meet inside the grid.
    """
    finest = [level for level in descend(field, grid, device) if level.stride == 1]
    corners = torch.cat([level.corners for level in finest]).cpu().numpy()
    values = torch.cat([level.values for level in finest]).double().cpu().numpy()
    points, segments = _segments(corners, values, grid)
    if len(segments) == 0:
        raise UserError(
            "the two level sets do not meet inside the grid, so there is no curve to write: "
            "train for more steps, or check the points"
        )
    on_grid = torch.as_tensor(points, dtype=torch.float32, device=device)
    moved = project(field, on_grid, tolerance=1e-6)
    near = (moved.points - on_grid).norm(dim=1, keepdim=True) < grid.spacing
    exact = torch.where(near, moved.points, on_grid).double().cpu().numpy()
    return sorted((exact[chain] for chain in _chains(segments, len(exact))), key=length, reverse=True)


def length(curve: Polyline) -> float:
    """Return the length of a polyline."""
    return float(np.linalg.norm(np.diff(curve, axis=0), axis=1).sum())


def resample(curve: Polyline, points: int) -> Polyline:
    """Return points at equal distances along a polyline, both ends included."""
    steps = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    place = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.linspace(0, place[-1], points)
    return np.stack([np.interp(wanted, place, curve[:, axis]) for axis in range(3)], axis=1)


def curve_metrics(curves: list[Polyline], truth: Polyline) -> dict[str, float]:
    """Compare polylines with the true curve by even samples of both, in the units of the input.

    Returns:
        ``to_truth`` and ``from_truth`` (directed average distances), ``chamfer_l2`` (their mean) and
        ``hausdorff``.
    """
    lengths = np.array([length(curve) for curve in curves])
    shares = np.maximum(2, np.round(_SAMPLES * lengths / lengths.sum()).astype(int))
    sample = np.concatenate([resample(curve, share) for curve, share in zip(curves, shares, strict=True)])
    goal = resample(truth, _SAMPLES)
    onward, back = cKDTree(goal).query(sample)[0], cKDTree(sample).query(goal)[0]
    return {
        "to_truth": float(onward.mean()),
        "from_truth": float(back.mean()),
        "chamfer_l2": float((onward.mean() + back.mean()) / 2),
        "hausdorff": float(max(onward.max(), back.max())),
    }


def _segments(
    corners: Int[np.ndarray, "k 3"], values: Float[np.ndarray, "k 2"], grid: Grid
) -> tuple[Float[np.ndarray, "n 3"], Int[np.ndarray, "m 2"]]:
    """Return the points in which triangles meet the curve, and the pairs of them that share a tetrahedron."""
    ids = np.ravel_multi_index(tuple(corners.T), (grid.resolution,) * 3)
    order = np.argsort(ids)
    ids, corners, values = ids[order], corners[order], values[order]
    found = []
    for tetrahedron in _TETRAHEDRA:
        places = corners[:, None, :] + tetrahedron
        inside = (places < grid.resolution).all(axis=(1, 2))
        wanted = np.ravel_multi_index(tuple(places[inside].transpose(2, 0, 1)), (grid.resolution,) * 3)
        index = np.searchsorted(ids, wanted).clip(max=len(ids) - 1)
        index = index[(ids[index] == wanted).all(axis=1)]
        mixed = (values[index].min(axis=1) < 0) & (values[index].max(axis=1) >= 0)
        found.append(index[mixed.all(axis=1)])
    tetrahedra = np.concatenate(found)
    triangles = np.sort(tetrahedra[:, _TRIANGLES].reshape(-1, 3), axis=1)
    triangles, inverse = np.unique(triangles, axis=0, return_inverse=True)
    weights = _vanishing(values[triangles])
    hit = np.all(weights >= 0, axis=1)
    faces = inverse.reshape(-1, 4)
    pairs = faces[hit[faces].sum(axis=1) == 2]
    segments = pairs[hit[pairs]].reshape(-1, 2)
    number = np.cumsum(hit) - 1
    places = (weights[hit][:, :, None] * corners[triangles[hit]]).sum(axis=1)
    return places * grid.spacing - grid.half_width, number[segments]


def _vanishing(values: Float[np.ndarray, "n 3 2"]) -> Float[np.ndarray, "n 3"]:
    """Return the barycentric coordinates at which a linear map with these corner values is zero."""
    u, v = values[:, :, 0], values[:, :, 1]
    areas = np.roll(u, -1, 1) * np.roll(v, -2, 1) - np.roll(u, -2, 1) * np.roll(v, -1, 1)
    total = areas.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total != 0, areas / total, -1.0)


def _chains(segments: Int[np.ndarray, "m 2"], points: int) -> list[Int[np.ndarray, " k"]]:
    """Order segments into paths: open ones from end to end, closed ones back to their start."""
    beside: list[list[int]] = [[] for _ in range(points)]
    for number, (a, b) in enumerate(segments):
        beside[a].append(number)
        beside[b].append(number)
    unused = np.ones(len(segments), dtype=bool)
    chains = []
    ends_first = sorted(range(points), key=lambda point: len(beside[point]) != 1)
    for start in ends_first:
        path = [start]
        while onward := [number for number in beside[path[-1]] if unused[number]]:
            unused[onward[0]] = False
            path.append(int(segments[onward[0]].sum()) - path[-1])
        if len(path) > 1:
            chains.append(np.array(path))
    return chains
