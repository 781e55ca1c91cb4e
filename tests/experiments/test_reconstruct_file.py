"""What ``nls reconstruct`` and ``nls mesh`` can be asked for, on files."""

from pathlib import Path

import numpy as np
import pymeshlab
import pytest
import trimesh
from PIL import Image
from safetensors.torch import save

from nls import reconstruct
from nls.cli import main
from nls.errors import UserError
from nls.geometry.files import read_mesh
from nls.geometry.meshing import trimmed
from nls.reconstruction import METHODS
from nls.reconstruction.api import QUALITIES, _at_quality

BALL = trimesh.creation.icosphere(5)
BUNNY = Path(pymeshlab.__file__).parent / "tests" / "sample_meshes" / "bunny.obj"


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Let screened Poisson divide space less often: it is what is asked of it that counts here, not its detail."""
    monkeypatch.setitem(METHODS, "poisson", METHODS["poisson"].model_copy(update={"depth": 7}))


@pytest.fixture
def scan(tmp_path):
    """A ball with its normals, in other coordinates than the unit ball's."""
    points, faces = trimesh.sample.sample_surface(BALL, 4000, seed=0)
    np.savez(tmp_path / "ball.npz", points=7 * points + 100, normals=BALL.face_normals[faces])
    return tmp_path / "ball.npz"


def run(*words):
    return main(["reconstruct", *map(str, words)])


def test_half_a_bunny_is_left_open(tmp_path):
    bunny = read_mesh(BUNNY)
    front = bunny.triangles_center[:, 0] > bunny.bounds[:, 0].mean()
    half = bunny.submesh([np.flatnonzero(front)], append=True)
    np.save(tmp_path / "half.npy", trimesh.sample.sample_surface(half, 10_000, seed=0)[0])
    words = (tmp_path / "half.npy", "-o", tmp_path / "half.ply", "--method", "poisson", "--quality", "fast")
    assert run(*words) == 0
    closed = read_mesh(tmp_path / "half.ply")
    assert run(*words, "--trim", "0.012") == 0
    found = read_mesh(tmp_path / "half.ply")
    assert closed.area > 1.1 * half.area
    assert found.area == pytest.approx(half.area, rel=0.05)
    assert not found.is_watertight


def test_trimming_keeps_what_is_near():
    square = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    left = trimmed(square, np.array([0.0, 0.2, 0.1, 0.3]), 0.2)
    assert (len(left.vertices), len(left.faces)) == (3, 1)


def test_a_trim_that_leaves_nothing_is_told(scan, capsys):
    assert run(scan, "-o", scan.with_name("m.ply"), "--method", "poisson", "--trim", "1e-9") == 2
    assert "trim less" in capsys.readouterr().err
    assert not scan.with_name("m.ply").exists()


def test_a_saved_network_meshes_again_to_the_same_bytes(scan, capsys):
    first, again, fine, net = (
        scan.with_name(name) for name in ("a.ply", "b.ply", "c.ply", "net.safetensors")
    )
    assert run(scan, "-o", first, "--steps", "3", "--resolution", "40", "--save-network", net) == 0
    assert main(["mesh", str(net), "-o", str(again), "--resolution", "40"]) == 0
    assert first.read_bytes() == again.read_bytes()
    assert main(["mesh", str(net), "-o", str(fine), "--resolution", "80"]) == 0
    assert len(read_mesh(fine).faces) > 3 * len(read_mesh(first).faces)
    np.testing.assert_allclose(read_mesh(fine).bounds, read_mesh(first).bounds, atol=0.2)
    assert "watertight" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content",
    [None, b"", b"PK", b"\x02\0\0\0\0\0\0\0{}", save({}, {"nls.reconstruction": "no JSON"})],
)
def test_a_file_that_is_no_saved_network_is_told_in_one_line(tmp_path, capsys, content):
    if content is not None:
        (tmp_path / "net.safetensors").write_bytes(content)
    assert main(["mesh", str(tmp_path / "net.safetensors"), "-o", str(tmp_path / "m.ply")]) == 2
    said = capsys.readouterr().err
    assert "net.safetensors" in said
    assert said.count("\n") == 1


def test_given_normals_are_used_whichever_way_they_point(scan, capsys):
    with np.load(scan) as file:
        points, normals = file["points"], file["normals"]
    for given in (normals, -3 * normals):
        found = reconstruct(points, "poisson", normals=given, quality="fast").mesh
        assert found.volume == pytest.approx(4 / 3 * np.pi * 7**3, rel=0.05)
    # Normals that do not agree leave no closed ball: they are really used.
    mixed = np.where(np.arange(len(normals))[:, None] % 2, -normals, normals)
    ruined = reconstruct(points, "poisson", normals=mixed, quality="fast").mesh
    assert ruined.volume != pytest.approx(4 / 3 * np.pi * 7**3, rel=0.05)
    with pytest.raises(UserError, match="normals of shape"):
        reconstruct(points, "poisson", normals=normals[:5])
    with pytest.raises(UserError, match="uses no normals"):
        reconstruct(points, "levelset", normals=normals)
    np.save(scan.with_name("bare.npy"), points)
    words = (scan.with_name("bare.npy"), "-o", scan.with_name("m.ply"), "--method", "poisson", "--normals")
    assert run(*words) == 2
    assert "has no normals" in capsys.readouterr().err


def test_normals_follow_their_points_when_a_cloud_is_thinned(scan):
    with np.load(scan) as file:
        found = reconstruct(
            file["points"], "poisson", normals=file["normals"], max_points=2000, quality="fast"
        )
    assert found.points == 2000
    assert found.mesh.volume == pytest.approx(4 / 3 * np.pi * 7**3, rel=0.05)


def test_quality_sets_steps_and_resolution(scan):
    with np.load(scan) as file:
        points = file["points"]
    assert reconstruct(points, "poisson", quality="fast").method.depth == METHODS["poisson"].depth - 1
    for name, share in (("fast", 1 / 2), ("fine", 2)):
        found = _at_quality(METHODS["levelset"], QUALITIES[name])
        assert found.training.steps == round(share * METHODS["levelset"].training.steps)
    with pytest.raises(UserError, match="unknown quality 'best'"):
        reconstruct(points, quality="best")
    with pytest.raises(UserError, match="resolution"):
        reconstruct(points, "poisson", resolution=2)


def test_max_points_thins(scan, capsys):
    assert run(scan, "-o", scan.with_name("m.ply"), "--method", "poisson", "--max-points", "1000") == 0
    assert "1000 of 4000 points used" in capsys.readouterr().out


def test_the_surface_can_be_watched(scan, capsys):
    plain, watched, folder = (scan.with_name(name) for name in ("a.ply", "b.ply", "pictures"))
    words = ("--steps", "5", "--resolution", "32")
    assert run(scan, "-o", plain, *words) == 0
    assert run(scan, "-o", watched, *words, "--watch", folder, "--watch-every", "2") == 0
    names = ["animation.webp", "result.png", "step-000002.png", "step-000004.png"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert min(path.stat().st_size for path in folder.iterdir()) > 5000
    with Image.open(folder / names[0]) as animation, Image.open(folder / names[1]) as picture:
        assert animation.n_frames == 3
        assert [2 * side for side in animation.size] == list(picture.size)
    assert plain.read_bytes() == watched.read_bytes()
    words = (scan, "-o", plain, "--method", "poisson", "--watch")
    assert run(*words, folder) == 2
    assert "leave out --watch" in capsys.readouterr().err
    assert run(scan, "-o", plain, "--watch", scan / "where") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_only_level_sets_are_saved(scan, capsys):
    words = (scan, "-o", scan.with_name("m.ply"), "--method", "poisson", "--save-network")
    assert run(*words, scan.with_name("net.safetensors")) == 2
    assert "no level set" in capsys.readouterr().err


@pytest.mark.parametrize("option", [(), ("--save-network", "net.safetensors"), ("--watch", "pictures")])
def test_a_misspelt_method_is_told_as_one(scan, capsys, monkeypatch, option):
    monkeypatch.chdir(scan.parent)
    assert run(scan, "-o", "m.ply", "--method", "levelsett", *option) == 2
    said = capsys.readouterr().err
    assert "unknown method 'levelsett': take one of levelset, " in said
    assert "--save-network" not in said
