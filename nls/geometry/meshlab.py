"""MeshLab's filters, which need libraries of the system: without them pymeshlab is imported, and has no filters."""

import pymeshlab

from nls.errors import UserError

OPENGL = "OpenGL's libraries (on Debian and Ubuntu: apt-get install libegl1 libgl1 libopengl0 libxrender1)"
_FILTERS = (
    "compute_normal_for_point_clouds",
    "generate_surface_reconstruction_screened_poisson",
    "meshing_decimation_quadric_edge_collapse",
)


def mesh_set() -> pymeshlab.MeshSet:
    """Return an empty set of meshes that has MeshLab's filters.

    Raises:
        UserError: it has none.
    """
    meshes = pymeshlab.MeshSet(verbose=False)
    if not all(hasattr(meshes, name) for name in _FILTERS):
        raise UserError(f"MeshLab's filters cannot be loaded; install {OPENGL}")
    return meshes
