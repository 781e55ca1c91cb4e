import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from nls.geometry.metrics import chamfer, chamfer_of_meshes, surface_metrics


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


def test_concentric_spheres():
    """Every point of a sphere of radius 1 is 0.1 from one of radius 1.1, and their normals agree."""
    small, large = trimesh.creation.icosphere(5), trimesh.creation.icosphere(5, radius=1.1)
    found = surface_metrics(large, small, points=20_000)
    assert found["chamfer_l2"] == pytest.approx(0.1, rel=0.02)
    assert found["to_truth"] == pytest.approx(found["from_truth"], rel=0.05)
    assert 0.1 < found["p95"] < found["hausdorff"] < 0.12
    assert found["normal_consistency"] > 0.995
    assert found["f_score"] == 0.0
    assert found["floor_l2"] < found["floor_l1"] < 0.03


def test_a_missing_half_shows_in_one_direction_only():
    whole = trimesh.creation.icosphere(5)
    half = whole.submesh([np.flatnonzero(whole.triangles_center[:, 0] > 0)], append=True)
    found = surface_metrics(half, whole, points=20_000)
    assert found["to_truth"] < 0.02 < 0.2 < found["from_truth"]
    assert found["hausdorff"] == pytest.approx(2**0.5, rel=0.05)


def test_a_surface_is_at_the_floor_from_itself():
    body = trimesh.creation.icosphere(4)
    found = surface_metrics(body, body, points=20_000)
    assert found["chamfer_l2"] == pytest.approx(found["floor_l2"], rel=0.02)
    assert chamfer_of_meshes(body, body, 20_000).l2 == found["chamfer_l2"]
