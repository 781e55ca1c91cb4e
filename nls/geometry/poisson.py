"""Screened Poisson reconstruction (Kazhdan and Hoppe 2013) by MeshLab: what a user would pick instead."""

import numpy as np
import pymeshlab
import trimesh
from jaxtyping import Float

from nls.errors import UserError
from nls.geometry.meshlab import mesh_set
from nls.geometry.neighbours import distinct_points


def screened_poisson(
    points: Float[np.ndarray, "n 3"],
    depth: int = 9,
    neighbours: int = 16,
    threads: int = 1,
    normals: Float[np.ndarray, "n 3"] | None = None,
) -> trimesh.Trimesh:
    """Reconstruct a watertight surface; normals point outwards.

    Without given normals they are estimated from the points: a plane through each point's neighbours, oriented
    alike along a minimum spanning tree. A point that occurs many times then counts once.

    Args:
        points: the cloud.
        depth: of the octree; 9 is a grid of 512³.
        neighbours: points in the fit of a normal.
        threads: CPU threads.
        normals: of the points, all outwards or all inwards.

    Raises:
        UserError: no surface came out, or MeshLab lacks its filters.
    """
    if normals is None:
        points, _ = distinct_points(points)
    meshes = _with_normals(points, neighbours, normals)
    try:
        meshes.generate_surface_reconstruction_screened_poisson(depth=depth, preclean=True, threads=threads)
    except pymeshlab.PyMeshLabException as error:
        reason = " ".join(str(error).split())[:100]
        raise UserError(f"screened Poisson found no surface ({reason}): check the points") from error
    found = meshes.current_mesh()
    if found.face_number() == 0:
        raise UserError("screened Poisson found no surface: check the points")
    mesh = trimesh.Trimesh(found.vertex_matrix(), found.face_matrix(), process=False)
    # The tree makes normals agree with each other, and leaves open whether they all point inwards; so may a user.
    if mesh.volume < 0:
        mesh.invert()
    return mesh


def estimated_normals(points: Float[np.ndarray, "n 3"], neighbours: int = 16) -> Float[np.ndarray, "n 3"]:
    """Return the unit normals that :func:`screened_poisson` works with, outwards.

    Args:
        points: the cloud, around the origin.
        neighbours: points in the fit of a normal.
    """
    distinct, number = distinct_points(points)
    # The set of meshes has to outlive its mesh.
    meshes = _with_normals(distinct, neighbours)
    normals = meshes.current_mesh().vertex_normal_matrix().copy()
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(min=1e-12)
    # By the divergence theorem the mean of x · n over a closed surface is positive for outward normals.
    return (normals if np.einsum("nd,nd->", distinct, normals) > 0 else -normals)[number]


def _with_normals(
    points: Float[np.ndarray, "n 3"], neighbours: int, normals: Float[np.ndarray, "n 3"] | None = None
) -> pymeshlab.MeshSet:
    """Return the cloud with its normals, or with some that agree with each other: of planes through neighbours."""
    meshes = mesh_set()
    cloud = np.asarray(points, dtype=np.float64)
    if normals is None:
        meshes.add_mesh(pymeshlab.Mesh(cloud))
        meshes.compute_normal_for_point_clouds(k=neighbours)
    else:
        known = np.asarray(normals, dtype=np.float64)
        meshes.add_mesh(pymeshlab.Mesh(vertex_matrix=cloud, v_normals_matrix=known))
    return meshes
