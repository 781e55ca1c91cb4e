import doctest

import numpy as np
import pytest
import torch
import trimesh
from skimage.measure import marching_cubes

from nls.errors import UserError
from nls.geometry import meshing
from nls.geometry.meshing import largest_piece, mesh_zero_level, topology, without_small_pieces
from nls.geometry.octree import Grid, sample_volume
from nls.networks.implicit import ImplicitMLP


def sphere(points):
    return points.norm(dim=1) - 0.7


def torus(points):
    return torch.stack([points[:, :2].norm(dim=1) - 0.6, points[:, 2]]).norm(dim=0) - 0.25


def two_spheres(points):
    return torch.minimum(
        (points - torch.tensor([0.6, 0.0, 0.0])).norm(dim=1) - 0.3,
        (points + torch.tensor([0.6, 0.0, 0.0])).norm(dim=1) - 0.1,
    )


def rough_network():
    """Return a network far from a distance: its gradients differ widely from place to place."""
    torch.manual_seed(0)
    network = ImplicitMLP(32, 3, radius=0.6)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return network


@pytest.mark.parametrize("field", [sphere, torus, two_spheres, rough_network()])
@pytest.mark.parametrize("resolution", [20, 65, 100])
def test_mesh_equals_the_mesh_of_a_dense_evaluation(field, resolution):
    grid = Grid(resolution)
    axis = torch.arange(resolution)
    with torch.no_grad():
        dense = field(grid.points(torch.cartesian_prod(axis, axis, axis)))
    dense = dense.reshape(resolution, resolution, resolution).numpy()
    vertices, faces, _, _ = marching_cubes(dense, 0.0, gradient_direction="descent")
    mesh = mesh_zero_level(field, grid)
    np.testing.assert_array_equal(mesh.faces, faces)
    # A batched product may round a value differently in another batch.
    np.testing.assert_allclose(mesh.vertices, vertices * grid.spacing - 1.1, atol=2e-5)


def test_few_nodes_are_evaluated():
    asked = 0

    def counted(points):
        nonlocal asked
        asked += len(points)
        return sphere(points)

    sample_volume(counted, Grid(256))
    assert asked * 8 < 256**3


def test_normals_point_outwards_and_pieces_are_counted():
    mesh = mesh_zero_level(sphere, Grid(64))
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.7**3, rel=0.01)
    kinds = [topology(mesh_zero_level(field, Grid(64))) for field in (sphere, torus, two_spheres)]
    assert [(kind.components, kind.watertight, kind.euler) for kind in kinds] == [
        (1, True, 2),
        (1, True, 0),
        (2, True, 4),
    ]


def test_largest_piece_is_kept():
    kept, dropped = largest_piece(mesh_zero_level(two_spheres, Grid(64)))
    assert (dropped, topology(kept).components) == (1, 1)
    assert kept.vertices[:, 0].min() > 0.2


def test_the_largest_piece_keeps_its_holes_and_leaves_what_touches_it_in_a_vertex():
    ball = trimesh.creation.icosphere(3)
    other = ball.copy()
    other.apply_scale(0.5)
    # Both have a vertex on the x axis, where they touch.
    other.apply_translation([ball.vertices[:, 0].max() - other.vertices[:, 0].min(), 0, 0])
    both = trimesh.util.concatenate([ball, other])
    both.merge_vertices()
    both.update_faces(np.arange(len(both.faces)) != 0)
    assert topology(both).components == 1
    kept, dropped = largest_piece(both)
    assert (dropped, len(kept.faces), kept.is_watertight) == (1, len(ball.faces) - 1, False)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_field_of_one_sign_has_no_mesh(sign):
    with pytest.raises(UserError, match=r"never crosses zero.*train for more steps.*half_width"):
        mesh_zero_level(lambda points: sign * (points.norm(dim=1) + 0.1), Grid(32))


def test_pieces_are_dropped_by_their_share_of_the_area():
    mesh = mesh_zero_level(two_spheres, Grid(65))  # radii 0.3 and 0.1: a tenth of the area is the small one's
    kept, dropped = without_small_pieces(mesh, 0.09)
    assert dropped == 0
    assert kept is mesh
    kept, dropped = without_small_pieces(mesh, 0.11)
    assert (dropped, topology(kept).components, topology(kept).watertight) == (1, 1, True)
    assert kept.bounds[0, 0] > 0
    assert len(kept.vertices) == len(np.unique(kept.faces))


def test_a_field_with_numbers_that_are_none_is_not_said_to_lack_a_zero():
    def field(points):
        return torch.where(points[:, 0] > 0, torch.nan, points.norm(dim=1) - 0.7)

    with pytest.raises(UserError, match="not finite at 500 of the grid's 1000 nodes"):
        mesh_zero_level(field, Grid(10))


def test_the_example_of_the_docstring_runs():
    assert doctest.testmod(meshing) == (0, 3)
