"""The virtual scanner and the virtual bodies."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree

from nls.cli import main
from nls.data import load_scans, read_points, write_ply
from nls.data.bodies import body
from nls.data.scanner import CONDITIONS, Condition, Scan, _Rig, scan, scan_under
from nls.errors import UserError
from nls.experiments.scan_file import scan_file

SPHERE = trimesh.creation.icosphere(subdivisions=5, radius=0.5)


def scanned(mesh: trimesh.Trimesh, **options: float) -> np.ndarray:
    return scan(np.asarray(mesh.vertices), np.asarray(mesh.faces), **{"seed": 0, "points": 20_000, **options})


def distance_to_samples(mesh: trimesh.Trimesh, points: np.ndarray, n: int = 100_000) -> np.ndarray:
    samples, _ = trimesh.sample.sample_surface(mesh, n, seed=1)
    return cKDTree(samples).query(points)[0]


def test_points_lie_on_the_surface_without_noise_and_off_it_by_the_noise():
    faceted = 0.5 * (1 - np.cos(np.pi / 160))  # an icosphere's facets lie inside the sphere
    exact = np.linalg.norm(scanned(SPHERE, noise=0.0), axis=1)
    assert exact.max() <= 0.5 + 1e-9
    assert exact.min() > 0.5 - 3 * faceted
    noisy = np.linalg.norm(scanned(SPHERE, noise=0.005), axis=1) - 0.5
    # Along the ray by σ/√cosθ; radially that is σ√cosθ: below σ, and the mean over measured angles not far below.
    assert 0.8 * 0.005 < noisy.std() < 0.005
    assert abs(noisy.mean()) < 0.0005


def test_scale_and_place_do_not_matter():
    moved = SPHERE.copy().apply_scale(1000).apply_translation([5e3, -2e3, 1e3])
    np.testing.assert_allclose(
        (scanned(moved, noise=0.0) - [5e3, -2e3, 1e3]) / 1000, scanned(SPHERE, noise=0.0), atol=1e-6
    )


def test_the_underside_and_the_inside_are_not_seen():
    box = trimesh.creation.box(extents=[1, 1, 1])
    inner = trimesh.creation.icosphere(subdivisions=3, radius=0.3)
    points = scanned(trimesh.util.concatenate([box, inner]), noise=0.0)
    np.testing.assert_allclose(
        np.abs(points).max(axis=1), 0.5, atol=1e-6
    )  # on the box, none on the sphere within
    assert not np.any(points[:, 1] < -0.5 + 1e-9)
    assert np.mean(points[:, 1] > 0.5 - 1e-9) > 0.1  # the top is seen


def test_density_depends_on_the_angle():
    points = scanned(SPHERE, noise=0.0, points=50_000)
    height = points[:, 1] / 0.5
    waist = np.mean(np.abs(height) < 0.2) / 0.2  # equal areas between equal heights
    crown = np.mean(height > 0.9) / 0.05
    assert crown < 0.8 * waist


def square(side: float, height: float) -> tuple[np.ndarray, np.ndarray]:
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * side / 2 + [0, 0, height]
    return corners, np.array([[0, 1, 2], [0, 2, 3]])


def test_a_point_counts_only_if_the_second_camera_sees_it_too():
    back, front = square(2, 0), square(0.2, 0.5)
    rig = _Rig(np.concatenate([back[0], front[0]]), np.concatenate([back[1], front[1] + 4]))
    grid = np.stack(np.meshgrid(np.linspace(-0.9, 0.9, 30), np.linspace(-0.9, 0.9, 30)), axis=-1).reshape(
        -1, 2
    )
    hits = np.concatenate([grid, np.zeros((len(grid), 1))], axis=1)
    # From (0, 0, 1) the small square, half way, throws a shadow of twice its size.
    shadow = np.abs(grid).max(axis=1) < 0.2
    seen = rig._sees(np.array([0, 0, 1.0]), hits, np.tile([0, 0, 1.0], (len(grid), 1)))
    np.testing.assert_array_equal(seen, ~shadow)


@pytest.mark.parametrize(
    ("degrees", "kept"), [(0, 1.0), (50, 1.0), (68, 2 * np.cos(np.radians(68))), (75, 0.0)]
)
def test_a_measurement_is_kept_by_its_angle(degrees, kept):
    vertices, faces = square(500, 0)
    turn = trimesh.transformations.rotation_matrix(np.radians(degrees), [1, 0, 0])[:3, :3]
    eye = np.array([0, 0, 50.0])  # so far off that all rays meet the plane at the same angle, to a degree
    shot = _Rig(vertices @ turn.T, faces).shoot(eye, eye, 100, np.random.default_rng(0))
    assert len(shot.hits) / 100**2 == pytest.approx(kept, abs=0.02)
    np.testing.assert_allclose(shot.cosine, np.cos(np.radians(degrees)), atol=0.03)


def scan_of(condition: Condition) -> Scan:
    return scan_under(condition, np.asarray(SPHERE.vertices), np.asarray(SPHERE.faces), seed=0)


def test_conditions_have_the_defects_of_their_names():
    assert CONDITIONS["usual"] == Condition()
    usual = scan_of(replace(CONDITIONS["usual"], points=20_000))
    assert usual.normals is None
    np.testing.assert_array_equal(usual.points, scanned(SPHERE))
    assert len(scan_of(CONDITIONS["points-3000"]).points) == 3000
    off = {
        name: np.abs(np.linalg.norm(scan_of(replace(CONDITIONS[name], points=20_000)).points, axis=1) - 0.5)
        for name in ("noise-5mm", "outliers-2", "outliers-10")
    }
    assert 0.003 < off["noise-5mm"].mean() < 0.005
    assert np.mean(off["outliers-2"] > 0.01) == pytest.approx(0.02, abs=0.002)
    assert np.mean(off["outliers-10"] > 0.01) == pytest.approx(0.1, abs=0.01)


def test_half_of_the_units_see_less():
    whole, half = (
        cKDTree(scan_of(replace(CONDITIONS[name], points=20_000)).points).query(SPHERE.vertices)[0]
        for name in ("usual", "half-of-units")
    )
    assert np.mean(half > 0.02) > np.mean(whole > 0.02)


def test_wrong_normals_are_normals_that_point_the_wrong_way():
    found = scan_of(replace(CONDITIONS["wrong-normals"], points=20_000, noise=0.0))
    outwards = np.einsum("nd,nd->n", found.normals, found.points) / 0.5
    np.testing.assert_allclose(np.abs(outwards), 1, atol=0.01)
    assert 0.3 < np.mean(outwards < 0) < 0.7


def test_seeds():
    first = scanned(SPHERE)
    np.testing.assert_array_equal(scanned(SPHERE), first)
    assert not np.array_equal(scanned(SPHERE, seed=1), first)


def test_the_command_scans_any_mesh(tmp_path, capsys):
    SPHERE.export(tmp_path / "ball.obj")
    command = [
        "data",
        "scan",
        str(tmp_path / "ball.obj"),
        "-o",
        str(tmp_path / "scan.ply"),
        "--points",
        "5000",
    ]
    assert main(command) == 0
    points = read_points(tmp_path / "scan.ply")
    assert points.shape == (5000, 3)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 0.5, atol=0.01)


def test_a_scan_is_a_ply_file(tmp_path, capsys):
    SPHERE.export(tmp_path / "ball.ply")
    assert main(["data", "scan", str(tmp_path / "ball.ply"), "-o", str(tmp_path / "scan.xyz")]) == 2
    assert "unknown format '.xyz': take one of .ply" in capsys.readouterr().err
    assert not (tmp_path / "scan.xyz").exists()


BAD = {
    "missing.ply": (None, "No such file"),
    "points.ply": (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
                   b"property float z\nend_header\n0 0 0\n", "no faces"),
    "nan.obj": (b"v 0 0 0\nv 1 0 0\nv 0 nan 0\nf 1 2 3\n", "not finite"),
    "flat.obj": (b"v 0 0 0\nv 0 0 0\nv 0 0 0\nf 1 2 3\n", "no face with an area"),
    "text.stl": (b"hello", "text.stl"),
    "unknown.xyz9": (b"hello", "unknown.xyz9"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_meshes_are_named(tmp_path, capsys, name):
    content, words = BAD[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert main(["data", "scan", str(tmp_path / name), "-o", str(tmp_path / "out.ply")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert str(tmp_path / name) in lines[0]
    assert words in lines[0]
    assert not (tmp_path / "out.ply").exists()


@pytest.mark.parametrize(("points", "noise"), [(0, 0.0), (100, -1.0), (100, float("nan"))])
def test_bad_numbers_are_named(tmp_path, points, noise):
    SPHERE.export(tmp_path / "ball.ply")
    with pytest.raises(UserError, match="cannot scan"):
        scan_file(tmp_path / "ball.ply", tmp_path / "o.ply", 0, points, noise)


def test_an_unseen_mesh_is_named(tmp_path, capsys):
    speck = trimesh.Trimesh(
        [[0, 0, 0], [1e-9, 0, 0], [0, 1e-9, 0], [1, 1, 1]], [[0, 1, 2], [3, 3, 3]], process=False
    )  # far apart, a face too small to be hit, and one without an area
    speck.export(tmp_path / "speck.ply")
    assert main(["data", "scan", str(tmp_path / "speck.ply"), "-o", str(tmp_path / "o.ply")]) == 2
    assert "see too little" in capsys.readouterr().err


@pytest.fixture
def root(smoke: Path) -> Path:
    """The bodies that the small suite has fetched."""
    return smoke / "data"


@pytest.mark.workflow
def test_ten_pairs_of_scan_and_watertight_ground_truth(root):
    pairs = load_scans(root, "bodies")
    assert [pair.name for pair in pairs] == [f"{k:03d}" for k in range(10)]
    for pair in pairs:
        truth = trimesh.load_mesh(pair.registration, process=False)
        assert truth.is_watertight
        assert truth.is_winding_consistent
        assert truth.body_count == 1
        assert 0.04 < truth.volume < 0.13  # cubic metres: a person, right side out
        assert 1.4 < np.ptp(truth.vertices[:, 1]) < 2.6  # metres, y up; one raises an arm
        points = read_points(pair.scan)
        assert len(points) == 170_000
        # The noise is a fraction of a millimetre: the samples of the truth are farther apart than that.
        assert np.median(distance_to_samples(truth, points[::50])) < 0.003
    volumes = {round(trimesh.load_mesh(pair.registration, process=False).volume, 6) for pair in pairs}
    assert len(volumes) == 10  # ten different people


@pytest.mark.workflow
def test_scans_have_holes_where_no_camera_sees(root):
    pair = load_scans(root, "bodies")[0]
    truth = trimesh.load_mesh(pair.registration, process=False)
    samples, faces = trimesh.sample.sample_surface(truth, 30_000, seed=0)
    gap = cKDTree(read_points(pair.scan)).query(samples)[0]
    sole = (samples[:, 1] < 0.02) & (truth.face_normals[faces][:, 1] < -0.8)
    chest = (np.abs(samples[:, 1] - 1.3) < 0.1) & (truth.face_normals[faces][:, 2] > 0.7)
    assert np.median(gap[sole]) > 0.006
    assert np.median(gap[chest]) < 0.003
    assert 0.005 < np.mean(gap > 0.01) < 0.1


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_bytes_come_out_every_time_on_any_number_of_threads(root, tmp_path, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        vertices, faces = body(4)
    finally:
        torch.set_num_threads(before)
    write_ply(tmp_path / "registration.ply", vertices, faces)
    write_ply(tmp_path / "scan.ply", scan(vertices, faces, seed=4))
    pair = load_scans(root, "bodies")[4]
    assert (tmp_path / "registration.ply").read_bytes() == pair.registration.read_bytes()
    assert (tmp_path / "scan.ply").read_bytes() == pair.scan.read_bytes()


def test_anny_is_used_without_a_warning(recwarn):
    body(0)
    assert not list(recwarn)


def test_without_anny_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "anny", None)
    assert main(["data", "fetch", "bodies", "--root", str(tmp_path)]) == 2
    assert "pip install" in capsys.readouterr().err
    assert not (tmp_path / "bodies").exists()
