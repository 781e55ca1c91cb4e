"""Meshes of zero level sets by marching cubes, and what kind of surface a mesh is."""

from dataclasses import dataclass

import numpy as np
import torch
import trimesh
from jaxtyping import Bool, Float, Int
from skimage.measure import marching_cubes

from nls.errors import UserError
from nls.geometry.octree import Grid, sample_volume
from nls.levelset import Field


class NoSurfaceError(UserError):
    """A level set does not cross the grid, so there is no surface: of a network, perhaps not yet."""


@dataclass(frozen=True)
class Topology:
    """What kind of surface a mesh is.

    Attributes:
        components: connected pieces; a vertex without a face is none.
        watertight: whether every edge has exactly two faces.
        euler: vertices − edges + faces: 2 for each sphere-like piece.
        boundary_edges: edges with one face.
        nonmanifold_edges: edges with three faces or more.
    """

    components: int
    watertight: bool
    euler: int
    boundary_edges: int
    nonmanifold_edges: int

    def figures(self) -> dict[str, int]:
        """Return the attributes as numbers."""
        return {name: int(value) for name, value in vars(self).items()}

    def __str__(self) -> str:
        pieces = "1 component" if self.components == 1 else f"{self.components} components"
        return f"{pieces}, {'watertight' if self.watertight else 'not watertight'}, Euler number {self.euler}"


def topology(mesh: trimesh.Trimesh) -> Topology:
    """Count the pieces of a mesh and tell whether it is closed."""
    _, faces_of_edge = np.unique(mesh.edges_sorted, axis=0, return_counts=True)
    return Topology(
        int(mesh.body_count - np.count_nonzero(~mesh.referenced_vertices)),
        bool(mesh.is_watertight),
        int(mesh.euler_number),
        int(np.count_nonzero(faces_of_edge == 1)),
        int(np.count_nonzero(faces_of_edge > 2)),
    )


def mesh_zero_level(field: Field, grid: Grid, device: torch.device | str = "cpu") -> trimesh.Trimesh:
    """Extract the zero level set of a scalar field; normals point to where the field grows.

    >>> from nls.geometry.octree import Grid
    >>> def sphere(points):
    ...     return points.norm(dim=1) - 0.7
    >>> mesh_zero_level(sphere, Grid(64)).is_watertight
    True

    Args:
        field: takes float32 points ``(n, 3)`` and returns a value for each, ``(n,)`` or ``(n, 1)``, which autograd
            can differentiate by the points.
        grid: its ``half_width`` sets the cube that is looked through. A surface that leaves the cube is open at the
            cube's walls.
        device: where the points are.

    Raises:
        NoSurfaceError: the field has one sign on the whole grid, or is not finite.
    """
    volume = sample_volume(field, grid, device)
    # A NaN is neither less nor more than anything.
    if not volume.min() < 0 < volume.max():
        broken = np.count_nonzero(~np.isfinite(volume))
        if broken:
            raise NoSurfaceError(
                f"the field is not finite at {broken} of the grid's {volume.size} nodes, so there is no surface to "
                "write: check the field's weights and the points"
            )
        raise NoSurfaceError(
            "the level set never crosses zero inside the grid, so there is no surface to write: "
            "train for more steps (--steps), or check the points (from Python, also the grid's half_width)"
        )
    # scikit-image names its directions for axes in the order z, y, x, which is a mirror image.
    vertices, faces, _, _ = marching_cubes(volume, 0.0, gradient_direction="descent")
    return trimesh.Trimesh(vertices * grid.spacing - grid.half_width, faces, process=False)


def trimmed(mesh: trimesh.Trimesh, distances: Float[np.ndarray, " v"], most: float) -> trimesh.Trimesh:
    """Return the faces of a mesh whose corners are all at most so far off, by the distances of its vertices."""
    kept = (distances <= most)[mesh.faces].all(axis=1)
    left = trimesh.Trimesh(mesh.vertices, mesh.faces[kept], process=False)
    left.remove_unreferenced_vertices()
    return left


def without_small_pieces(mesh: trimesh.Trimesh, share: float) -> tuple[trimesh.Trimesh, int]:
    """Return a mesh without the connected pieces that have less than a share of its area, and how many these were."""
    piece, areas = _pieces(mesh)
    return _without(mesh, piece, areas < share * areas.sum())


def largest_piece(mesh: trimesh.Trimesh) -> tuple[trimesh.Trimesh, int]:
    """Return the connected piece of a mesh with the largest area, and how many others there were."""
    piece, areas = _pieces(mesh)
    return _without(mesh, piece, np.arange(len(areas)) != areas.argmax())


def _pieces(mesh: trimesh.Trimesh) -> tuple[Int[np.ndarray, " f"], Float[np.ndarray, " p"]]:
    """Return the piece of each face, of those that edges connect, and the area of each piece."""
    piece = trimesh.graph.connected_component_labels(mesh.face_adjacency, node_count=len(mesh.faces))
    return piece, np.bincount(piece, weights=mesh.area_faces)


def _without(
    mesh: trimesh.Trimesh, piece: Int[np.ndarray, " f"], dropped: Bool[np.ndarray, " p"]
) -> tuple[trimesh.Trimesh, int]:
    """Return the mesh without the pieces to be dropped, and how many these are."""
    if not dropped.any():
        return mesh, 0
    left = trimesh.Trimesh(mesh.vertices, mesh.faces[~dropped[piece]], process=False)
    left.remove_unreferenced_vertices()
    return left, int(np.count_nonzero(dropped))
