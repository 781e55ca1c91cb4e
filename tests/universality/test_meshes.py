"""Defects are named with the first offending face; repairs say what they changed."""

import numpy as np
import pytest
import trimesh

from nls.cli import main
from nls.errors import UserError
from nls.geometry.winding import winding_number
from nls.universality import find_defect, from_mesh, from_polygons, load_solid

BALL = trimesh.creation.icosphere(subdivisions=1)


def ball():
    return np.array(BALL.vertices), np.array(BALL.faces)


def nan():
    vertices, faces = ball()
    vertices[faces[4, 0]] = np.nan
    return vertices, faces


def degenerate():
    vertices, faces = ball()
    return vertices, np.vstack([faces, [[1, 1, 2]]])


def hole():
    vertices, faces = ball()
    return vertices, np.delete(faces, 30, axis=0)


def non_manifold():
    vertices, faces = ball()
    wing = [[*faces[9, :2], len(vertices)]]
    return np.vstack([vertices, [[3.0, 0.0, 0.0]]]), np.vstack([faces, wing])


def duplicate():
    vertices, faces = ball()
    return vertices, np.vstack([faces, faces[5:6]])


def flipped():
    vertices, faces = ball()
    faces[7] = faces[7, ::-1]
    return vertices, faces


def inside_out():
    vertices, faces = ball()
    return vertices, faces[:, ::-1]


def cavity_facing_out():
    vertices, faces = ball()
    return np.vstack([vertices, 0.5 * vertices]), np.vstack([faces, faces + len(vertices)])


def pushed_through():
    vertices, faces = ball()
    vertices[10] *= -1.5
    return vertices, faces


def overlapping():
    vertices, faces = ball()
    return np.vstack([vertices, vertices + 0.7]), np.vstack([faces, faces + len(vertices)])


DEFECTS = {
    nan: ("NaN", True),
    degenerate: ("degenerate face: face 80", True),
    hole: ("hole: face", True),
    non_manifold: ("non-manifold edge: face", False),
    duplicate: ("non-manifold edge: face", True),
    flipped: ("flipped face: face 7", True),
    inside_out: ("flipped component: face 0", True),
    cavity_facing_out: ("flipped component: face 80", True),
    pushed_through: ("self-intersection: face", False),
    overlapping: ("self-intersection: face", False),
}


def written(tmp_path, make, suffix=".ply"):
    path = tmp_path / f"{make.__name__}{suffix}"
    vertices, faces = make()
    trimesh.Trimesh(vertices, faces, process=False, validate=False).export(path)
    return path


@pytest.mark.parametrize("make", DEFECTS)
def test_a_defect_is_named(make, tmp_path, capsys):
    path, out = written(tmp_path, make), tmp_path / "net.safetensors"
    assert main(["represent", str(path), "-o", str(out)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert str(path) in message
    assert DEFECTS[make][0] in message
    assert "--repair" in message
    assert not out.exists()


@pytest.mark.parametrize("make", DEFECTS)
def test_repairs_say_what_they_changed(make, tmp_path):
    path = written(tmp_path, make)
    if DEFECTS[make][1]:
        loaded = load_solid(path, repair=True)
        assert loaded.changes
        assert find_defect(loaded.surface) is None
    else:
        with pytest.raises(UserError, match="could not mend it"):
            load_solid(path, repair=True)


def test_repair_flips_exactly_the_wrong_faces(tmp_path):
    loaded = load_solid(written(tmp_path, flipped), repair=True)
    assert loaded.changes == ("flipped 1 faces",)
    assert trimesh.Trimesh(loaded.surface.vertices, loaded.surface.facets).volume == pytest.approx(
        BALL.volume
    )


@pytest.mark.parametrize("suffix", [".ply", ".stl", ".obj", ".off"])
def test_sound_meshes_of_every_format_pass(suffix, tmp_path):
    loaded = load_solid(written(tmp_path, ball, suffix))
    assert loaded.changes == ()
    assert len(loaded.surface.facets) == 80
    # STL repeats every vertex for every face.
    assert len(loaded.surface.points) == 42


def test_files_that_are_no_mesh(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        load_solid(tmp_path / "none.ply")
    (tmp_path / "text.ply").write_text("hello")
    with pytest.raises(UserError, match="cannot be read"):
        load_solid(tmp_path / "text.ply")
    trimesh.PointCloud(np.eye(3)).export(tmp_path / "cloud.ply")
    with pytest.raises(UserError, match="no faces"):
        load_solid(tmp_path / "cloud.ply")


def two(first, second):
    """Two tetrahedra."""
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    vertices, index = np.unique(np.concatenate([first, second]), axis=0, return_inverse=True)
    return from_mesh(trimesh.Trimesh(vertices, index.ravel()[np.vstack([faces, faces + 4])], process=False))


CORNER = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float)


def test_contact_is_found_exactly():
    apart = CORNER + np.ones(3)
    assert find_defect(two(CORNER, apart)) is None
    assert find_defect(two(CORNER, CORNER + np.array([1, 0, 0]))) is None, "touching in a vertex is allowed"
    least = np.nextafter(1.0, 0.0)
    assert find_defect(two(CORNER, CORNER + np.array([0, 0, np.nextafter(1.0, 2.0)]))) is None
    assert find_defect(two(CORNER, CORNER + np.array([0, 0, least]))).kind == "self-intersection"
    side = CORNER * [1, 1, -1]
    assert find_defect(two(CORNER, side[[0, 2, 1, 3]] + [0.1, 0.1, 0])).kind == "self-intersection", (
        "coplanar faces"
    )
    assert find_defect(two(CORNER, CORNER * 0.2 + 0.1)).kind == "flipped component", "nested, facing out"


def test_polygons_have_the_same_defects():
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=float)
    assert find_defect(from_polygons([square, square[::-1] * 0.5 + 0.25])) is None
    assert find_defect(from_polygons([square[::-1]])).kind == "flipped component"
    assert find_defect(from_polygons([square, square * 0.5 + 0.25])).facet == 4
    assert find_defect(from_polygons([square[[0, 2, 1, 3]]])).kind == "self-intersection"
    assert find_defect(from_polygons([square[[0, 1, 1, 2, 3]]])).kind == "degenerate face"
    assert (
        find_defect(from_polygons([np.array([[0, 0], [2, 0], [1, 0], [1, 1]])])).kind == "self-intersection"
    )


def test_winding_numbers_against_closed_forms():
    vertices, faces = ball()
    points = np.array([[0, 0, 0], [0.5, 0.2, 0], [2, 0, 0]], dtype=float)
    np.testing.assert_allclose(winding_number(points, vertices[faces]), [1, 1, 0], atol=1e-12)
    octant = np.eye(3)[None]
    np.testing.assert_allclose(winding_number(np.zeros((1, 3)), octant), [1 / 8])
    quarter = np.eye(2)[None]
    np.testing.assert_allclose(winding_number(np.zeros((1, 2)), quarter), [1 / 4])


def test_winding_numbers_are_sums_over_all_triangles():
    """Near and far from a surface of many parts, a cavity and a hole, by the plain formula, triangle by triangle."""
    outer, inner = (trimesh.creation.icosphere(subdivisions=3, radius=radius) for radius in (1.0, 0.5))
    facets = np.concatenate([outer.triangles[:-40], inner.triangles[:, ::-1], outer.triangles + 1.5])
    draws = np.random.default_rng(0)
    near = facets[draws.integers(len(facets), size=100)].mean(axis=1) + 1e-6 * draws.normal(size=(100, 3))
    points = np.concatenate([near, draws.uniform(-2, 3, size=(100, 3))])
    a, b, c = np.moveaxis(facets[None] - points[:, None, None], 2, 0)
    la, lb, lc = (np.linalg.norm(corner, axis=-1) for corner in (a, b, c))
    below = la * lb * lc + (a * b).sum(-1) * lc + (b * c).sum(-1) * la + (c * a).sum(-1) * lb
    expected = np.arctan2((a * np.cross(b, c)).sum(-1), below).sum(axis=1) / (2 * np.pi)
    np.testing.assert_allclose(winding_number(points, facets), expected, atol=1e-9)
