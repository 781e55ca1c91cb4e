"""The shapes that the construction is checked on: in the plane and in space, with holes, handles and cavities."""

import re
from collections.abc import Callable

import numpy as np
import trimesh
from jaxtyping import Float

from nls.errors import UserError
from nls.geometry.defects import find_defect
from nls.geometry.hypersurface import Hypersurface, from_mesh, from_polygons


def shape(name: str) -> Hypersurface:
    """A shape by its name, or a body decimated to N faces by the name ``body-N``.

    Raises:
        UserError: if there is no such shape.
    """
    require_shape(name)
    return SHAPES[name]() if name in SHAPES else body(int(name.removeprefix("body-")))


def require_shape(name: str) -> None:
    """Check that there is a shape of this name, or could be a body.

    Raises:
        UserError: there is none.
    """
    if name not in SHAPES and not re.fullmatch(r"body-[1-9]\d{1,5}", name):
        raise UserError(f"no shape is called {name}; take one of {', '.join(SHAPES)} or body-N with N faces")


def square() -> Hypersurface:
    """A square of side 1."""
    return from_polygons([_rectangle(0, 0, 1, 1)])


def star() -> Hypersurface:
    """A five-pointed star with radii 1 and 0.4."""
    angle = np.pi / 2 + np.pi / 5 * np.arange(10)
    radius = np.where(np.arange(10) % 2, 0.4, 1.0)
    return from_polygons([np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])])


def polygon_with_holes() -> Hypersurface:
    """A notched polygon with a square hole and a triangular one, and an island in the square hole."""
    outer = np.array([[0, 0], [6, 0], [6, 4], [3.5, 4], [3, 3], [2.5, 4], [0, 4]], dtype=float)
    triangle = np.array([[4, 1], [4.5, 2.5], [5.5, 1.5]])
    return from_polygons([outer, _rectangle(0.5, 0.5, 2.5, 2.5)[::-1], triangle, _rectangle(1, 1, 2, 2)])


def tetrahedron() -> Hypersurface:
    """A regular tetrahedron."""
    vertices = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=float)
    return from_mesh(trimesh.Trimesh(vertices, [[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]], process=False))


def cube() -> Hypersurface:
    """A cube of side 1, two triangles a side."""
    return from_mesh(trimesh.creation.box())


def l_block() -> Hypersurface:
    """A block in the shape of the letter L."""
    corners = np.array([[0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2]], dtype=float)
    count = len(corners)
    vertices = np.concatenate([np.column_stack([corners, np.full(count, z)]) for z in (0.0, 1.0)])
    cap = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5]])
    around = [(i, (i + 1) % count) for i in range(count)]
    sides = [t for i, j in around for t in ((i, j, j + count), (i, j + count, i + count))]
    return from_mesh(
        trimesh.Trimesh(vertices, np.concatenate([cap[:, ::-1], cap + count, sides]), process=False)
    )


def torus(major_sections: int = 20, minor_sections: int = 10) -> Hypersurface:
    """A torus with radii 1 and 0.35."""
    return from_mesh(
        trimesh.creation.torus(1.0, 0.35, major_sections=major_sections, minor_sections=minor_sections)
    )


def linked_components() -> Hypersurface:
    """Two tori linked like the rings of a chain."""
    first = trimesh.creation.torus(1.0, 0.25, major_sections=16, minor_sections=8)
    second = first.copy()
    second.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))
    second.apply_translation([1.0, 0.0, 0.0])
    return _together(first, second)


def body_with_cavity() -> Hypersurface:
    """A ball with a block-shaped cavity."""
    outer = trimesh.creation.icosphere(subdivisions=2)
    cavity = trimesh.creation.box(extents=[0.8, 0.6, 0.4])
    cavity.apply_transform(trimesh.transformations.rotation_matrix(0.5, [1, 2, 3]))
    cavity.invert()
    return _together(outer, cavity)


def body(faces: int) -> Hypersurface:
    """A human body decimated by quadric edge collapses to about ``faces`` triangles.

    Decimation may push thin parts through one another; a firmer demand on the triangles' shape mends that.

    Raises:
        UserError: if anny is not installed or no setting gives a boundary of a solid.
    """
    import pymeshlab

    from nls.data.bodies import body as fine_body
    from nls.geometry.meshlab import mesh_set

    vertices, triangles = fine_body(0)
    for quality in (0.5, 0.7, 0.9, 0.3):
        meshes = mesh_set()
        meshes.add_mesh(pymeshlab.Mesh(vertices, triangles))
        meshes.meshing_decimation_quadric_edge_collapse(
            targetfacenum=faces,
            qualitythr=quality,
            preservetopology=True,
            preservenormal=True,
            planarquadric=True,
        )
        mesh = meshes.current_mesh()
        surface = from_mesh(trimesh.Trimesh(mesh.vertex_matrix(), mesh.face_matrix(), process=False))
        if find_defect(surface) is None:
            return surface
    raise UserError(f"the body decimated to {faces} faces intersects itself; take another number of faces")


SHAPES: dict[str, Callable[[], Hypersurface]] = {
    "square": square,
    "star": star,
    "polygon_with_holes": polygon_with_holes,
    "tetrahedron": tetrahedron,
    "cube": cube,
    "l_block": l_block,
    "torus": torus,
    "linked_components": linked_components,
    "body_with_cavity": body_with_cavity,
}


def _together(first: trimesh.Trimesh, second: trimesh.Trimesh) -> Hypersurface:
    vertices = np.concatenate([first.vertices, second.vertices])
    faces = np.concatenate([first.faces, second.faces + len(first.vertices)])
    return from_mesh(trimesh.Trimesh(vertices, faces, process=False))


def _rectangle(left: float, bottom: float, right: float, top: float) -> Float[np.ndarray, "4 2"]:
    return np.array([[left, bottom], [right, bottom], [right, top], [left, top]], dtype=float)
