"""A mesh of a level set brought nearer to it: vertices on the level set, and short edges where it bends."""

import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int

from nls.levelset import Field, project

# Points that are projected at once.
_ROWS = 1 << 15
# Newton steps; a vertex of marching cubes is already near.
_STEPS = 5
# Times that edges are split, and how far the level set may bow away from an edge, as a share of the grid's spacing.
_ROUNDS, _BOW = 2, 1 / 32


def refined(
    mesh: trimesh.Trimesh, field: Field, spacing: float, device: torch.device | str = "cpu"
) -> trimesh.Trimesh:
    """Move the vertices of a mesh onto the zero level set, and split edges from which the level set bows away.

    Marching cubes puts a vertex where a linear interpolation of F is zero; generalized Newton (Eq. 4) moves it to
    where F is. Over an edge from a to b with unit normals ``n_a``, ``n_b`` a smooth surface bows by about
    ``|(n_b − n_a)·(b − a)| / 8``. Where that is more than a 32nd of the grid's spacing, the edge is split at the
    point of the level set next to its middle; twice. A finger is two to three cells thick, and gains most.

    Pieces, holes and handles stay as they are.

    Args:
        mesh: of the zero level set.
        field: F, scalar.
        spacing: of the grid that the mesh was made on. A point that Newton would move by more than half of it stays.
        device: of the field.
    """
    vertices, normals = _on_level_set(field, np.asarray(mesh.vertices), spacing / 2, device)
    fine = trimesh.Trimesh(vertices, mesh.faces, process=False)
    for _ in range(_ROUNDS):
        edges = fine.edges_unique
        along, turn = (each[edges[:, 1]] - each[edges[:, 0]] for each in (vertices, normals))
        bowed = np.abs((along * turn).sum(axis=1)) / 8 > _BOW * spacing
        middles = vertices[edges[bowed]].mean(axis=1)
        middles, middle_normals = _on_level_set(field, middles, spacing / 2, device)
        middle = np.full(len(edges), -1)
        middle[bowed] = len(vertices) + np.arange(len(middles))
        vertices, normals = np.concatenate([vertices, middles]), np.concatenate([normals, middle_normals])
        fine = trimesh.Trimesh(vertices, _split(fine.faces, middle[fine.faces_unique_edges]), process=False)
    return fine


def _on_level_set(
    field: Field, points: Float[np.ndarray, "n 3"], reach: float, device: torch.device | str
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """Return the points of the level set next to some points, and unit normals; points out of reach, and 0."""
    places, normals = points.astype(np.float64), np.zeros((len(points), 3))
    for start in range(0, len(points), _ROWS):
        block = places[start : start + _ROWS]
        at = torch.as_tensor(block, dtype=torch.float32, device=device)
        found = project(field, at, tolerance=1e-6, max_iterations=_STEPS)
        near = (torch.linalg.vector_norm(found.points - at, dim=1) <= reach).cpu().numpy()
        block[near] = found.points.cpu().numpy()[near]
        unit = torch.nn.functional.normalize(found.jacobian[:, 0], dim=1).cpu().numpy()
        normals[start : start + _ROWS][near] = unit[near]
    return places, normals


def _split(faces: Int[np.ndarray, "f 3"], middles: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "g 3"]:
    """Return the faces with each edge split that has a vertex in its middle; −1 for none.

    Neighbours see the same vertices on the edge that they share, so no gap opens.
    """
    split = middles >= 0
    count = split.sum(axis=1)
    # Corners a, b, c in an order in which one split edge is the first, and of two the one that is whole is the last.
    first = np.where(count == 2, (~split).argmax(axis=1) + 1, split.argmax(axis=1))
    order = (first[:, None] + np.arange(3)) % 3
    a, b, c = np.take_along_axis(faces, order, axis=1).T
    ab, bc, ca = np.take_along_axis(middles, order, axis=1).T
    patterns = {
        0: [(a, b, c)],
        1: [(a, ab, c), (ab, b, c)],
        2: [(ab, b, bc), (a, ab, bc), (a, bc, c)],
        3: [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)],
    }
    return np.concatenate(
        [
            np.stack(corners, axis=1)[count == number]
            for number, pieces in patterns.items()
            for corners in pieces
        ]
    )
