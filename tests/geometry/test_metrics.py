import json

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from nls.cli import main
from nls.geometry.metrics import chamfer, chamfer_l2_of_meshes, chamfer_of_meshes, compare, distances_to
from nls.geometry.overlap import intersection_over_union

LENGTHS = {
    *(f"{pair}_{norm}" for pair in ("chamfer", "to_truth", "from_truth", "floor") for norm in ("l1", "l2")),
    "hausdorff",
    "hausdorff_95",
}
BALL, TORUS = trimesh.creation.icosphere(3), trimesh.creation.torus(0.7, 0.3, 24, 16)


def moved(mesh, scale=1.0, shift=(0, 0, 0)):
    return trimesh.Trimesh(mesh.vertices * scale + shift, mesh.faces, process=False)


@given(st.integers(1, 80), st.integers(1, 80), st.integers(0, 2**31))
def test_chamfer_equals_brute_force(first, second, seed):
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(first, 3)), random.normal(size=(second, 3))
    difference = a[:, None] - b[None]
    found = chamfer(a, b)
    for value, pairs in (
        (found.l1, np.abs(difference).sum(axis=2)),
        (found.l2, np.linalg.norm(difference, axis=2)),
    ):
        assert value == pytest.approx((pairs.min(axis=1).mean() + pairs.min(axis=0).mean()) / 2)


@pytest.mark.parametrize("surface", [trimesh.creation.box(), np.zeros((1, 3))])
def test_each_query_has_its_own_distance(surface):
    queries = np.random.default_rng(0).normal(size=(500, 3))
    beyond = np.abs(queries) - (0.5 if isinstance(surface, trimesh.Trimesh) else 0.0)
    outside = np.linalg.norm(beyond.clip(min=0), axis=1)
    inside = -beyond.max(axis=1).clip(max=0)
    np.testing.assert_allclose(distances_to(surface, queries), outside + inside, atol=1e-12)


def test_concentric_spheres():
    """Every point of a sphere of radius 1 is 0.1 from one of radius 1.1, and their normals agree."""
    small, large = trimesh.creation.icosphere(4), trimesh.creation.icosphere(4, radius=1.1)
    found = compare(large, small, points=10_000)
    assert found["chamfer_l2"] == pytest.approx(0.1, rel=0.03)
    assert found["to_truth_l2"] == pytest.approx(found["from_truth_l2"], rel=0.05)
    # Against the surface itself, not samples of it, the distance is that of the facets.
    assert found["hausdorff"] == pytest.approx(0.1, abs=0.003)
    assert found["hausdorff_95"] == pytest.approx(0.1, abs=0.002)
    assert found["normal_consistency"] > 0.998
    assert found["iou"] == pytest.approx(1.1**-3, abs=1e-3)
    assert found["floor_l2"] < found["floor_l1"] < 0.04
    assert (found["components"], found["watertight"], found["euler"]) == (1, 1, 2)


def test_the_f_score_is_of_a_share_of_the_diagonal():
    """The diagonal of the box of a ball of radius 1 is 2√3, and 0.1 is 0.0289 of it."""
    large = moved(BALL, 1.1)
    assert compare(large, BALL, 2000, f_share=0.028)["f_score"] == 0.0
    assert compare(large, BALL, 2000, f_share=0.030)["f_score"] == 1.0
    half = BALL.submesh([np.flatnonzero(BALL.triangles_center[:, 0] > 0)], append=True)
    # All of the half is on the ball, and half of the ball (and a rim of 0.0025 diagonals) is on the half.
    assert compare(half, BALL, 5_000)["f_score"] == pytest.approx(2 / 3, abs=0.02)


def test_a_missing_half_shows_in_one_direction_only():
    whole = trimesh.creation.icosphere(4)
    half = whole.submesh([np.flatnonzero(whole.triangles_center[:, 0] > 0)], append=True)
    found = compare(half, whole, points=10_000)
    assert found["to_truth_l2"] < 0.03 < 0.2 < found["from_truth_l2"]
    assert found["hausdorff"] == pytest.approx(2**0.5, rel=0.02)
    # x is uniform on a sphere, so the percentile is where x = −0.9, at √(2 − 2√(1 − x²)) from the half's rim.
    for pair in ((half, whole), (whole, half)):
        percentile = compare(*pair, points=10_000)["hausdorff_95"]
        assert percentile == pytest.approx((2 - 2 * 0.19**0.5) ** 0.5, rel=0.03)
    assert found["chamfer_l1"] == pytest.approx((found["to_truth_l1"] + found["from_truth_l1"]) / 2)
    assert found["boundary_edges"] > 0
    assert "iou" not in found


@pytest.mark.parametrize("every", [1, 2])
def test_the_orientation_of_the_facets_does_not_count(every):
    faces = BALL.faces.copy()
    faces[::every] = faces[::every, ::-1]
    inverted = trimesh.Trimesh(BALL.vertices, faces, process=False)
    assert compare(inverted, BALL, points=10_000)["normal_consistency"] > 0.99


def test_a_surface_is_at_the_floor_from_itself():
    found = compare(BALL, BALL, points=10_000)
    assert found["chamfer_l2"] == pytest.approx(found["floor_l2"], rel=0.03)
    assert chamfer_of_meshes(BALL, BALL, 10_000).l2 == pytest.approx(found["chamfer_l2"])
    assert chamfer_l2_of_meshes(BALL, BALL, 10_000) == chamfer_of_meshes(BALL, BALL, 10_000).l2
    assert found["hausdorff"] < 1e-9
    assert found["iou"] == found["f_score"] == 1


@settings(max_examples=3)
@given(
    st.floats(-6, 6).map(lambda power: 10**power),
    st.tuples(*[st.floats(-10, 10)] * 3),
    st.sampled_from([(TORUS, BALL), (BALL, TORUS)]),
)
def test_scale_and_place_do_not_matter(scale, shift, pair):
    shift = scale * np.array(shift)
    here = compare(*pair, points=500)
    there = compare(*(moved(mesh, scale, shift) for mesh in pair), points=500)
    assert here.keys() == there.keys()
    for name, value in here.items():
        expected = value * scale if name in LENGTHS else value
        assert there[name] == pytest.approx(expected, rel=1e-6), name


@pytest.mark.parametrize("distance", [0.3, 1.0, 1.9])
def test_the_overlap_of_two_spheres_is_that_of_the_closed_form(distance):
    """Two unit balls share a lens of volume π(4 + d)(2 − d)²/12."""
    ball = trimesh.creation.icosphere(5)
    lens = np.pi * (4 + distance) * (2 - distance) ** 2 / 12
    found = intersection_over_union(ball, moved(ball, shift=(0, distance, 0)))
    assert found == pytest.approx(lens / (8 / 3 * np.pi - lens), rel=0.002, abs=3e-4)


def test_the_overlap_of_boxes_on_the_axes():
    box = trimesh.creation.box()
    assert intersection_over_union(box, moved(box, shift=(0.5, 0, 0))) == pytest.approx(1 / 3, abs=1e-3)
    assert intersection_over_union(box, moved(box, shift=(3, 0, 0))) == 0
    shell = trimesh.util.concatenate([moved(box, 2), box])  # hollow: the inner box is a hole
    assert intersection_over_union(shell, box) == pytest.approx(0, abs=1e-3)


def test_edges_that_no_closed_surface_has_are_counted():
    faces = [[0, 1, 2], [0, 1, 3], [0, 1, 4]]  # three leaves on one edge
    leaves = trimesh.Trimesh([[0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [-1, 0, 0]], faces, process=False)
    found = compare(leaves, BALL, points=1000)
    assert (found["boundary_edges"], found["nonmanifold_edges"], found["watertight"]) == (6, 1, 0)


def test_a_truth_of_points():
    truth = np.asarray(trimesh.creation.icosphere(5).vertices)
    found = compare(moved(BALL, 1.1), truth, points=5000)
    assert found["from_truth_l2"] == pytest.approx(0.1, rel=0.05)
    assert found["hausdorff"] == pytest.approx(0.1, rel=0.1)
    assert not {"iou", "normal_consistency", "floor_l2"} & found.keys()


def test_the_verb_prints_them_all(tmp_path, capsys):
    BALL.export(tmp_path / "a.ply")
    moved(BALL, 1.1).export(tmp_path / "b.obj")
    words = ["compare", str(tmp_path / "a.ply"), str(tmp_path / "b.obj"), "--points", "2000"]
    assert main([*words, "--f-share", "0.1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["iou"] == pytest.approx(1.1**-3, abs=2e-3)
    assert found["f_score"] == 1
    np.save(tmp_path / "b.npy", np.asarray(BALL.vertices))
    assert main(["compare", str(tmp_path / "a.ply"), str(tmp_path / "b.npy"), "--points", "500"]) == 0
    assert json.loads(capsys.readouterr().out)["hausdorff"] < 0.1
    assert main(["compare", str(tmp_path / "b.npy"), str(tmp_path / "a.ply")]) == 2
