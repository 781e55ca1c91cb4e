"""Measures of detail, on a virtual body and on what a coarse method makes of it."""

import numpy as np
import pytest
import trimesh

from nls.data.bodies import body
from nls.errors import UserError
from nls.geometry.hands_and_face import detail_metrics, separate_fingers
from nls.geometry.landmarks import landmarks_of


@pytest.fixture(scope="module")
def truth():
    return trimesh.Trimesh(*body(0), process=False)


@pytest.fixture(scope="module")
def marks(truth):
    return landmarks_of(truth)


def near(truth, vertices, radius):
    tips = truth.vertices[list(vertices)]
    return np.linalg.norm(truth.vertices[:, None] - tips, axis=2).min(axis=1) < radius


def test_the_truth_has_all_its_fingers_and_no_distance(truth, marks):
    found = detail_metrics(truth, truth, marks.nose, marks.fingertips)
    assert found["hands"] == pytest.approx(0, abs=1e-9)
    assert found["face"] == pytest.approx(0, abs=1e-9)
    assert found["separate_fingers"] == 1


def test_a_mitten_and_a_lost_hand_have_no_fingers(truth, marks):
    left, right = marks.fingertips[:5], marks.fingertips[5:]
    mitten = truth.submesh([np.flatnonzero(near(truth, left, 0.08)[truth.faces].all(axis=1))], append=True)
    with_mitten = trimesh.util.concatenate([truth, mitten.convex_hull])
    assert separate_fingers(with_mitten, truth, left) == 0
    assert separate_fingers(with_mitten, truth, right) == 1
    lost = near(truth, right, 0.08)[truth.faces].any(axis=1)
    assert separate_fingers(truth.submesh([~lost], append=True), truth, marks.fingertips) == 0.5


def test_two_fingers_grown_together_count_neither(truth, marks):
    ring, little = marks.fingertips[3:5]
    pair = truth.submesh(
        [np.flatnonzero(near(truth, (ring, little), 0.035)[truth.faces].all(axis=1))], append=True
    )
    grown = trimesh.util.concatenate([truth, pair.convex_hull])
    assert separate_fingers(grown, truth, (ring, little)) == 0
    assert separate_fingers(grown, truth, marks.fingertips[:2]) == 1


def test_regions_see_what_is_changed_in_them(truth, marks):
    """The face is set back by 5 mm, and all else stays."""
    vertices = np.array(truth.vertices)
    vertices[near(truth, (marks.nose,), 0.13), 2] -= 0.005
    flat = trimesh.Trimesh(vertices, truth.faces, process=False)
    found = detail_metrics(flat, truth, marks.nose, marks.fingertips)
    assert 0.001 < found["face"] < 0.005
    assert found["hands"] == pytest.approx(0, abs=1e-6)


def test_landmarks_are_at_the_same_places_in_every_pose(truth, marks):
    raised = trimesh.Trimesh(*body(7), process=False)
    assert landmarks_of(raised) == marks
    assert truth.vertices[marks.nose, 2] == pytest.approx(
        truth.vertices[near(truth, (marks.nose,), 0.1), 2].max(), abs=1e-3
    )
    assert landmarks_of(trimesh.creation.icosphere(2)) is None


def test_another_template_with_as_many_vertices_is_refused(truth):
    shuffled = np.random.default_rng(0).permutation(len(truth.vertices))
    other = trimesh.Trimesh(truth.vertices[shuffled], np.argsort(shuffled)[truth.faces], process=False)
    with pytest.raises(UserError, match="another template"):
        landmarks_of(other)
    with pytest.raises(UserError, match="metres"):
        landmarks_of(trimesh.Trimesh(1000 * truth.vertices, truth.faces, process=False))
