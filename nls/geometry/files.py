"""Point clouds and meshes from files, and meshes into files, with bad input told in one line."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Float64

from nls.engine.files import written_whole
from nls.errors import UserError
from nls.geometry.metrics import sample_surface

CLOUD_FORMATS = (".ply", ".obj", ".xyz", ".npy", ".npz")
MESH_FORMATS = (".ply", ".obj", ".glb")
FEWEST_POINTS = 100
# Points taken from the surface where a mesh stands in for a cloud: the paper's 100K points of a scan.
_SAMPLES = 100_000


@dataclass(frozen=True)
class Cloud:
    """Points ``(n, 3)`` in the file's units; ``note`` says what was done to get them, if anything was."""

    points: Float64[np.ndarray, "n 3"]
    note: str | None = None


def read_cloud(path: Path, seed: int = 0) -> Cloud:
    """Read a point cloud: PLY, OBJ, XYZ (text, the first three columns), NPY or NPZ (its one array, or ``points``).

    A mesh is sampled uniformly, and the note says so.

    Raises:
        UserError: the file is missing or unreadable, or holds no usable cloud (see :func:`check_points`).
    """
    _require_format(path, CLOUD_FORMATS)
    _require_content(path)
    if path.suffix.lower() in (".ply", ".obj"):
        shape = _load(path)
        if isinstance(shape, trimesh.Trimesh) and len(shape.faces):
            check_points(np.asarray(shape.vertices, dtype=np.float64), str(path), fewest=4)
            points, _ = sample_surface(shape, _SAMPLES, seed)
            return Cloud(points, f"{path} is a mesh: took {_SAMPLES} points uniform on its surface")
        points = np.asarray(getattr(shape, "vertices", np.empty((0, 3))))
    else:
        points = _read_table(path)
    points = np.asarray(points, dtype=np.float64)
    check_points(points, str(path))
    return Cloud(points)


def read_mesh(path: Path) -> trimesh.Trimesh:
    """Read a mesh: PLY, OBJ or GLB.

    Raises:
        UserError: the file is missing or unreadable, or has no faces or coordinates that are not finite.
    """
    _require_format(path, MESH_FORMATS)
    _require_content(path)
    shape = _load(path)
    if not isinstance(shape, trimesh.Trimesh) or len(shape.faces) == 0:
        raise UserError(f"{path} has no faces: give a mesh")
    if not np.isfinite(shape.vertices).all():
        raise UserError(f"{path} has vertices that are not finite: remove them first")
    return shape


def write_mesh(path: Path, mesh: trimesh.Trimesh) -> None:
    """Write a mesh whole, as PLY, OBJ or GLB by the path's ending; check it first by :func:`require_writable`."""
    with written_whole(path) as temporary:
        trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(
            temporary, file_type=path.suffix[1:].lower()
        )


def require_writable(path: Path, formats: tuple[str, ...] = MESH_FORMATS) -> None:
    """Check, before any work, that a file of this name can be written.

    Raises:
        UserError: the ending is none of ``formats``, or the folder does not exist.
    """
    _require_format(path, formats)
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist: create it or name another")


def check_points(points: np.ndarray, source: str, fewest: int = FEWEST_POINTS) -> None:
    """Check that points can be a surface's or a curve's.

    Raises:
        UserError: they are not rows of three, too few, not finite, all equal, or on one line.
    """
    if points.ndim != 2 or points.shape[1] != 3:
        raise UserError(f"{source}: holds an array of shape {points.shape}: points are rows of x, y and z")
    bad = int(np.count_nonzero(~np.isfinite(points).all(axis=1)))
    if bad:
        raise UserError(f"{source}: {bad} of {len(points)} points are not finite: remove them first")
    if len(points) < fewest:
        raise UserError(f"{source}: has {len(points)} points: at least {fewest} are needed")
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    # Relative to the coordinates too: points that differ by rounding only are equal.
    scale = max(spread[0], np.abs(points).max() * np.sqrt(len(points)) * 1e-12)
    if spread[0] <= 1e-9 * np.abs(points).max() * np.sqrt(len(points)):
        raise UserError(f"{source}: all points are equal: there is no surface to find")
    if spread[1] <= 1e-6 * scale:
        raise UserError(f"{source}: all points lie on one line: there is no surface to find")


def _require_format(path: Path, formats: tuple[str, ...]) -> None:
    if path.suffix.lower() not in formats:
        raise UserError(f"{path}: unknown format {path.suffix!r}: take one of {', '.join(formats)}")


def _require_content(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if size == 0:
        raise UserError(f"{path} is empty: give a file with points")


def _load(path: Path) -> trimesh.Geometry:
    # The readers of foreign formats raise whatever their parsing runs into.
    try:
        return trimesh.load(path, process=False, force="mesh" if path.suffix.lower() == ".glb" else None)
    except Exception as error:
        reason = " ".join(str(error).split())[:100]
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}: {reason}): export it again"
        ) from error


def _read_table(path: Path) -> np.ndarray:
    try:
        if path.suffix.lower() == ".xyz":
            table = np.loadtxt(path, ndmin=2)
            if table.shape[1] < 3:
                raise UserError(f"{path} has {table.shape[1]} columns: rows of x, y and z are needed")
            return table[:, :3]
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content.astype(np.float64)
        with content:
            name = "points" if "points" in content.files else content.files[0]
            if name != "points" and len(content.files) > 1:
                raise UserError(f"{path} holds {', '.join(content.files)}: call the array of points 'points'")
            return content[name].astype(np.float64)
    except (ValueError, OSError, EOFError, KeyError, IndexError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:100]
        raise UserError(f"{path} cannot be read ({reason}): export it again") from error
