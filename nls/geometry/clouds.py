"""Point clouds from files, with bad input told in one line."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Float64

from nls.errors import UserError
from nls.geometry.files import (
    MESH_FORMATS,
    load_shape,
    read_mesh,
    require_measurable,
    require_readable,
    unreadable,
)
from nls.geometry.metrics import sample_surface

FEWEST_POINTS = 100
# Points taken from the surface where a mesh stands in for a cloud: the paper's 100K points of a scan.
_SAMPLES = 100_000


@dataclass(frozen=True)
class Cloud:
    """Points in the file's units.

    Attributes:
        points: ``(n, 3)``.
        normals: of length 1, if the file has any.
        note: what was done to get the points, if anything was.
    """

    points: Float64[np.ndarray, "n 3"]
    normals: Float64[np.ndarray, "n 3"] | None = None
    note: str | None = None


def read_cloud(path: Path, seed: int = 0) -> Cloud:
    """Read a point cloud: PLY, OBJ, OFF, XYZ, PCD, LAS, LAZ, NPY or NPZ.

    Normals are a PLY file's ``nx ny nz``, a PCD file's ``normal_x normal_y normal_z``, an NPZ file's ``normals``, or
    the columns 4 to 6 of XYZ if they are of length 1 in every row. A mesh (STL too) is sampled uniformly, and the
    note says so.

    Raises:
        UserError: the file is missing or unreadable, or holds no usable cloud (see :func:`check_points`).
    """
    require_readable(path, CLOUD_FORMATS)
    try:
        cloud = _READERS[path.suffix.lower()](path, seed)
    except UserError:
        raise
    except Exception as error:  # the readers of foreign formats raise whatever their parsing runs into
        raise unreadable(path, error) from error
    check_points(cloud.points, str(path))
    return cloud


def read_surface(path: Path) -> trimesh.Trimesh | Float64[np.ndarray, "n 3"]:
    """Read a mesh, or a cloud where the file has no faces or its format knows none.

    Raises:
        UserError: see :func:`read_mesh` and :func:`read_cloud`.
    """
    require_readable(path, tuple(dict.fromkeys((*MESH_FORMATS, *CLOUD_FORMATS))))
    if path.suffix.lower() in MESH_FORMATS and _has_faces(load_shape(path)):
        return read_mesh(path)
    return read_cloud(path).points


def check_points(points: np.ndarray, source: str) -> None:
    """Check that points can be a surface's or a curve's.

    Raises:
        UserError: they are not rows of three, too few, not finite, of an absurd extent, all equal, or on one line.
    """
    if points.ndim != 2 or points.shape[1] != 3:
        raise UserError(f"{source}: holds an array of shape {points.shape}: points are rows of x, y and z")
    bad = int(np.count_nonzero(~np.isfinite(points).all(axis=1)))
    if bad:
        raise UserError(f"{source}: {bad} of {len(points)} points are not finite: remove them first")
    if len(points) < FEWEST_POINTS:
        raise UserError(f"{source}: has {len(points)} points: at least {FEWEST_POINTS} are needed")
    require_measurable(points, source)
    extent = np.abs(points).max()
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    # Relative to the coordinates too: points that differ by rounding only are equal.
    scale = max(spread[0], extent * np.sqrt(len(points)) * 1e-12)
    if spread[0] <= 1e-9 * extent * np.sqrt(len(points)):
        raise UserError(f"{source}: all points are equal: there is no surface to find")
    if spread[1] <= 1e-6 * scale:
        raise UserError(f"{source}: all points lie on one line: there is no surface to find")


def unit_normals(normals: np.ndarray, points: np.ndarray, source: str) -> Float64[np.ndarray, "n 3"]:
    """Return normals at length 1.

    Raises:
        UserError: there is not one of a length above 0 for each point.
    """
    if normals.shape != points.shape:
        raise UserError(f"{source}: normals of shape {normals.shape} for points of shape {points.shape}")
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    bad = int(np.count_nonzero(~(np.isfinite(lengths) & (lengths > 0))))
    if bad:
        raise UserError(f"{source}: {bad} of {len(points)} normals are 0 or not finite: leave out --normals")
    return np.asarray(normals / lengths, dtype=np.float64)


def _read_shape(path: Path, seed: int) -> Cloud:
    shape = load_shape(path)
    if _has_faces(shape):
        mesh = read_mesh(path)
        points, normals = sample_surface(mesh, _SAMPLES, seed)
        return Cloud(points, normals, f"{path} is a mesh: took {_SAMPLES} points uniform on its surface")
    points = np.asarray(getattr(shape, "vertices", np.empty((0, 3))), dtype=np.float64)
    # trimesh keeps the columns of a PLY file's vertices here.
    raw = shape.metadata.get("_ply_raw", {}).get("vertex", {}).get("data")
    if isinstance(raw, dict):
        columns = raw
    else:
        columns = {name: raw[name] for name in raw.dtype.names} if raw is not None else {}
    parts = [np.ravel(columns[name]) for name in ("nx", "ny", "nz") if name in columns]
    return Cloud(points, np.stack(parts, axis=1).astype(np.float64) if len(parts) == 3 else None)


def _has_faces(shape: trimesh.Geometry) -> bool:
    return isinstance(shape, trimesh.Trimesh) and len(shape.faces) > 0


def _read_text(path: Path, seed: int) -> Cloud:
    try:
        table = np.loadtxt(path, ndmin=2)
    except ValueError as error:
        raise UserError(
            f"{path} is no table of numbers with spaces between them: write x y z in each line, without commas or a "
            "header"
        ) from error
    if table.shape[1] < 3:
        raise UserError(f"{path} has {table.shape[1]} columns: rows of x, y and z are needed")
    further = table[:, 3:6]
    # Columns 4 to 6 may be colours as well.
    is_unit = further.shape[1] == 3 and np.allclose(np.linalg.norm(further, axis=1), 1, atol=0.01)
    return Cloud(table[:, :3], further if is_unit else None)


def _read_pcd(path: Path, seed: int) -> Cloud:
    import pypcd4

    file = pypcd4.PointCloud.from_path(path)
    if not {"x", "y", "z"} <= set(file.fields):
        raise UserError(f"{path} has the fields {', '.join(file.fields)}: x, y and z are needed")
    points = file.numpy(("x", "y", "z")).astype(np.float64)
    # PCD marks a pixel without measurement by NaN.
    measured = ~np.isnan(points).all(axis=1)
    names = ("normal_x", "normal_y", "normal_z")
    normals = file.numpy(names).astype(np.float64)[measured] if set(names) <= set(file.fields) else None
    missing = int(np.count_nonzero(~measured))
    note = f"{path}: left out {missing} pixels without measurement" if missing else None
    return Cloud(points[measured], normals, note)


def _read_las(path: Path, seed: int) -> Cloud:
    import laspy

    return Cloud(np.asarray(laspy.read(path).xyz, dtype=np.float64))


def _read_arrays(path: Path, seed: int) -> Cloud:
    content = np.load(path, allow_pickle=False)
    if isinstance(content, np.ndarray):
        return Cloud(_numbers(content))
    with content:
        names = content.files
        name = "points" if "points" in names or not names else names[0]
        if name != "points" and len(names) > 1:
            raise UserError(f"{path} holds {', '.join(names)}: call the array of points 'points'")
        normals = _numbers(content["normals"]) if "normals" in names else None
        points = _numbers(content[name])
        if normals is not None and normals.shape != points.shape:
            raise UserError(f"{path}: normals of shape {normals.shape} for points of shape {points.shape}")
        return Cloud(points, normals)


def _numbers(array: np.ndarray) -> Float64[np.ndarray, "..."]:
    if array.dtype.kind not in "iuf":
        raise ValueError(f"an array of {array.dtype.name} where coordinates are real numbers")
    return array.astype(np.float64)


_READERS: dict[str, Callable[[Path, int], Cloud]] = {
    **dict.fromkeys((".ply", ".obj", ".stl", ".off"), _read_shape),
    ".xyz": _read_text,
    ".pcd": _read_pcd,
    **dict.fromkeys((".las", ".laz"), _read_las),
    **dict.fromkeys((".npy", ".npz"), _read_arrays),
}
CLOUD_FORMATS = tuple(_READERS)
