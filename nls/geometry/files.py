"""Meshes from files and into files, with bad input told in one line."""

from pathlib import Path

import numpy as np
import trimesh

from nls.engine.files import require_place, written_whole
from nls.errors import UserError

MESH_FORMATS = (".ply", ".obj", ".stl", ".off", ".glb")
WRITTEN_FORMATS = (".ply", ".obj", ".glb")
_LEAST, _LARGEST = 1e-100, 1e100
# Formats that repeat a vertex for every face, or for every face with another texture.
_REPEATING = (".stl", ".obj", ".glb")


def read_mesh(path: Path) -> trimesh.Trimesh:
    """Read a mesh: PLY, OBJ, STL, OFF or GLB; polygons are cut into triangles.

    Vertices that STL, OBJ or GLB repeat at exactly the same place are one vertex; those of no face are left out.

    Raises:
        UserError: the file is missing or unreadable, has no faces or none with an area, or has coordinates that are
            not finite or of an absurd size.
    """
    require_readable(path, MESH_FORMATS)
    shape = load_shape(path)
    if not isinstance(shape, trimesh.Trimesh) or len(shape.faces) == 0:
        raise UserError(f"{path} has no faces: give a mesh")
    if not np.isfinite(shape.vertices).all():
        raise UserError(f"{path} has vertices that are not finite: remove them first")
    require_measurable(np.asarray(shape.vertices), str(path))
    if not shape.area > 0:
        raise UserError(f"{path} has no face with an area: give a mesh of a surface")
    shape.remove_unreferenced_vertices()
    return _with_shared_vertices(shape) if path.suffix.lower() in _REPEATING else shape


def write_mesh(path: Path, mesh: trimesh.Trimesh) -> None:
    """Write a mesh whole, as PLY, OBJ or GLB by the path's ending; check it first by :func:`require_writable`."""
    with written_whole(path) as temporary:
        trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(
            temporary, file_type=path.suffix[1:].lower()
        )


def require_writable(path: Path, formats: tuple[str, ...] = WRITTEN_FORMATS, *inputs: Path) -> None:
    """Check, before any work, that a file of this name can be written and is none of the inputs.

    Raises:
        UserError: the ending is none of ``formats``, or see :func:`require_place`.
    """
    require_place(path, *inputs)
    _require_format(path, formats)


def require_readable(path: Path, formats: tuple[str, ...]) -> None:
    """Check that a file has a known ending, is there and is not empty.

    Raises:
        UserError: one of these is not so.
    """
    _require_format(path, formats)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}: name a file that is there, relative to this directory"
        ) from error
    if size == 0:
        raise UserError(f"{path} is empty: give a file with points")


def require_measurable(points: np.ndarray, source: str) -> None:
    """Check that squares of coordinates, some of which may be 0, are float64 numbers too.

    Raises:
        UserError: they are not.
    """
    largest = float(np.abs(points).max())
    if largest and not _LEAST < largest < _LARGEST:
        raise UserError(f"{source}: the largest coordinate is {largest:.3g}: write the file in another unit")


def load_shape(path: Path) -> trimesh.Geometry:
    """Read whatever trimesh finds in a file.

    Raises:
        UserError: it cannot be read, breaks off, or has a face with a vertex that does not exist.
    """
    try:
        shape = trimesh.load(path, process=False)
        if isinstance(shape, trimesh.Scene):  # several materials, or nodes with places of their own
            shape = shape.to_mesh()
        _require_every_row(path, shape)
    except UserError:
        raise
    except Exception as error:  # the readers of foreign formats raise whatever their parsing runs into
        raise unreadable(path, error) from error
    if isinstance(shape, trimesh.Trimesh) and len(shape.faces):
        if shape.vertices.shape[1:] != (3,):
            raise UserError(f"{path}: has vertices that are not three coordinates each: export it again")
        wrong = (shape.faces < 0) | (shape.faces >= len(shape.vertices))
        if wrong.any():
            face = int(np.argmax(wrong.any(axis=1)))
            raise UserError(
                f"{path}: face {face} names vertex {shape.faces[wrong][0]}, which does not exist among "
                f"{len(shape.vertices)} vertices: export it again"
            )
    return shape


def _require_every_row(path: Path, shape: trimesh.Geometry) -> None:
    """Raise UserError where a PLY file breaks off at the end of a line: trimesh takes what there is."""
    announced = shape.metadata.get("_ply_raw", {})
    for name, element in ((name, announced[name]) for name in ("vertex", "face") if name in announced):
        rows = element.get("data", {})
        found = len(next(iter(rows.values()), ())) if isinstance(rows, dict) else len(rows)
        if found < element["length"]:
            raise UserError(
                f"{path} breaks off after {found} of {element['length']} {name} rows: export it again"
            )


def unreadable(path: Path, error: Exception) -> UserError:
    """Return what to tell of a file that a reader failed on."""
    reason = " ".join(str(error).split())[:100]
    return UserError(f"{path} cannot be read ({type(error).__name__}: {reason}): export it again")


def _require_format(path: Path, formats: tuple[str, ...]) -> None:
    if path.suffix.lower() not in formats:
        raise UserError(f"{path}: unknown format {path.suffix!r}: take one of {', '.join(formats)}")


def _with_shared_vertices(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """Return the mesh with one vertex for each place, and without faces that have lost their area by that."""
    places, index = np.unique(np.asarray(mesh.vertices), axis=0, return_inverse=True)
    faces = index.reshape(-1)[mesh.faces]
    corners = np.sort(faces, axis=1)
    whole = (corners[:, 0] != corners[:, 1]) & (corners[:, 1] != corners[:, 2])
    return trimesh.Trimesh(places, faces[whole], process=False)
