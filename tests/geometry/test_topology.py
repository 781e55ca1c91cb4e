import numpy as np
import trimesh

from nls.geometry.meshing import topology


def test_loose_vertices_are_no_pieces():
    ball = trimesh.creation.icosphere(1)
    # In the order of the vertices the loose ones come first, in between and last.
    half = len(ball.vertices) // 2
    loose = np.full((1, 3), 5.0)
    vertices = np.concatenate([loose, ball.vertices[:half], loose, ball.vertices[half:], loose])
    faces = ball.faces + 1 + (ball.faces >= half)
    assert topology(trimesh.Trimesh(vertices, faces, process=False)) == topology(ball)
    assert topology(ball).components == 1
    assert topology(trimesh.Trimesh(loose, np.empty((0, 3), dtype=int), process=False)).components == 0
