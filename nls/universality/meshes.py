"""Mesh files in, and the repairs that trimesh offers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh

from nls.errors import UserError
from nls.geometry.defects import facing_wrong_way, find_defect
from nls.geometry.files import MESH_FORMATS, load_shape, require_measurable, require_readable
from nls.geometry.hypersurface import Hypersurface, from_mesh


@dataclass(frozen=True)
class LoadedMesh:
    """The boundary of a solid read from a file, and what repairs changed, one line each."""

    surface: Hypersurface
    changes: tuple[str, ...]


def load_solid(path: str | Path, repair: bool = False) -> LoadedMesh:
    """Read a triangle mesh and make sure that it bounds a solid.

    Vertices at exactly the same place are one vertex, as in files that repeat them for every face; polygons are cut
    into triangles, whose numbers messages refer to.

    Args:
        path: PLY, OBJ, STL, OFF or GLB.
        repair: try trimesh's repairs on a mesh with a defect.

    Raises:
        UserError: if the file cannot be read or has a defect, which the message names with the first offending face.
    """
    mesh = _read(Path(path))
    defect = find_defect(from_mesh(mesh))
    if defect is None:
        return LoadedMesh(from_mesh(mesh), ())
    if not repair:
        raise UserError(f"{path}: {defect}; mend it, or try --repair")
    changes = repaired(mesh)
    remaining = find_defect(from_mesh(mesh))
    if remaining:
        tried = "; ".join(changes) or "nothing"
        raise UserError(
            f"{path}: {remaining}; the repairs changed {tried} and could not mend it: edit the mesh"
        )
    return LoadedMesh(from_mesh(mesh), tuple(changes))


def _read(path: Path) -> trimesh.Trimesh:
    require_readable(path, MESH_FORMATS)
    mesh = load_shape(path)
    if not isinstance(mesh, trimesh.Trimesh) or not len(mesh.faces):
        raise UserError(f"{path} holds no faces; give a triangle mesh")
    mesh.remove_unreferenced_vertices()
    finite = np.isfinite(mesh.vertices).all(axis=1)
    if finite.any():
        require_measurable(np.asarray(mesh.vertices)[finite], str(path))
    # Adding 0 makes -0 and 0 one number.
    vertices, index = np.unique(
        np.asarray(mesh.vertices, dtype=np.float64) + 0.0, axis=0, return_inverse=True
    )
    return trimesh.Trimesh(vertices, index[mesh.faces], process=False, validate=False)


def repaired(mesh: trimesh.Trimesh) -> list[str]:
    """Mend a mesh in place with trimesh's repairs; return what changed, one line a step that changed anything."""
    changes: list[str] = []

    def faces_kept(keep: np.ndarray, what: str) -> None:
        if not keep.all():
            mesh.update_faces(keep)
            mesh.remove_unreferenced_vertices()
            changes.append(f"removed {np.count_nonzero(~keep)} {what}")

    faces_kept(
        np.isfinite(mesh.vertices[mesh.faces]).all(axis=(1, 2)), "faces with coordinates that are not finite"
    )
    count = len(mesh.vertices)
    mesh.merge_vertices()
    if len(mesh.vertices) < count:
        changes.append(
            f"merged {count - len(mesh.vertices)} vertices closer than {trimesh.tol.merge:g} to others"
        )
    faces_kept(mesh.nondegenerate_faces(), "degenerate faces")
    faces_kept(mesh.unique_faces(), "duplicate faces")
    count = len(mesh.faces)
    trimesh.repair.fill_holes(mesh, use_fan=True)
    if len(mesh.faces) > count:
        changes.append(f"filled holes with {len(mesh.faces) - count} faces")
    before = mesh.faces.copy()
    trimesh.repair.fix_winding(mesh)
    if mesh.is_watertight and mesh.is_winding_consistent:
        wrong = facing_wrong_way(mesh.vertices, mesh.faces)
        mesh.faces = np.where(wrong[:, None], mesh.faces[:, ::-1], mesh.faces)
    turned = int((~_same_orientation(before, mesh.faces)).sum())
    if turned:
        changes.append(f"flipped {turned} faces")
    return changes


def _same_orientation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Where rows of the same three corners run in the same direction."""
    return np.any([(first == np.roll(second, shift, axis=1)).all(axis=1) for shift in range(3)], axis=0)
