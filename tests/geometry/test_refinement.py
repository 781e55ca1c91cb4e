"""A mesh of a level set comes nearer to it, and stays the surface that it was."""

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from nls.geometry.meshing import mesh_zero_level, topology
from nls.geometry.octree import Grid
from nls.geometry.refinement import _split, refined

GRID = Grid(40)


def ellipsoid(points):
    """Its long axis is three times the others, so that it bends at two ends."""
    return torch.linalg.vector_norm(points * torch.tensor([1.0, 3.0, 3.0]), dim=1) - 0.9


def torus(points):
    ring = torch.linalg.vector_norm(points[:, :2], dim=1) - 0.7
    return torch.hypot(ring, points[:, 2]) - 0.15


def farthest(mesh, field):
    """How far samples of the faces are from the level set, in units of the gradient at the surface."""
    samples, _ = trimesh.sample.sample_surface(mesh, 20_000, seed=0)
    places = torch.tensor(samples, dtype=torch.float32, requires_grad=True)
    values = field(places)
    (gradient,) = torch.autograd.grad(values.sum(), places)
    return float((values.detach().abs() / torch.linalg.vector_norm(gradient, dim=1)).max())


@pytest.mark.parametrize("field", [ellipsoid, torus])
def test_a_mesh_comes_nearer_and_keeps_its_kind(field):
    coarse = mesh_zero_level(field, GRID)
    fine = refined(coarse, field, GRID.spacing)
    assert topology(fine) == topology(coarse)
    assert fine.is_winding_consistent
    assert np.sign(fine.volume) == np.sign(coarse.volume)
    assert field(torch.tensor(fine.vertices, dtype=torch.float32)).abs().max() < 2e-6
    # An edge bows by at most a 32nd of the spacing; the middle of a face may by somewhat more.
    assert farthest(fine, field) < min(farthest(coarse, field) / 3, GRID.spacing / 24)


def test_edges_are_split_where_the_surface_bends():
    fine = refined(mesh_zero_level(ellipsoid, GRID), ellipsoid, GRID.spacing)
    lengths = fine.edges_unique_length
    from_middle = np.abs(fine.vertices[fine.edges_unique].mean(axis=1)[:, 0])
    assert np.median(lengths[from_middle > 0.85]) < 0.7 * np.median(lengths[from_middle < 0.3])


def test_a_point_that_is_far_from_the_level_set_stays():
    away = trimesh.creation.icosphere(2, radius=1.5)
    left = refined(away, lambda points: torch.linalg.vector_norm(points, dim=1) - 1, 0.1)
    assert np.array_equal(left.vertices, away.vertices)
    assert np.array_equal(left.faces, away.faces)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_whichever_edges_are_split_the_surface_is_the_same(seed, share):
    ball = trimesh.creation.icosphere(1)
    edges = ball.edges_unique
    chosen = np.random.default_rng(seed).random(len(edges)) < share
    middle = np.full(len(edges), -1)
    middle[chosen] = len(ball.vertices) + np.arange(chosen.sum())
    vertices = np.concatenate([ball.vertices, ball.vertices[edges[chosen]].mean(axis=1)])
    split = trimesh.Trimesh(vertices, _split(ball.faces, middle[ball.faces_unique_edges]), process=False)
    assert len(split.faces) == len(ball.faces) + 2 * chosen.sum()
    assert split.is_watertight
    assert split.is_winding_consistent
    assert split.area_faces.min() > 0.2 * ball.area_faces.min()
    assert split.area == pytest.approx(ball.area, rel=1e-9)
    assert split.volume == pytest.approx(ball.volume, rel=1e-9)
