import numpy as np
import pytest
import trimesh

from nls.errors import UserError
from nls.geometry.files import read_cloud, read_mesh, require_writable, write_mesh

POINTS = np.random.default_rng(0).normal(size=(150, 3))


def write(path, points):
    match path.suffix:
        case ".npy":
            np.save(path, points)
        case ".npz":
            np.savez(path, points=points)
        case ".xyz":
            np.savetxt(path, np.c_[points, points], header="x y z nx ny nz")
        case ".obj":
            path.write_text("".join(f"v {x} {y} {z}\n" for x, y, z in points))
        case _:
            trimesh.PointCloud(points).export(path)
    return path


@pytest.mark.parametrize("ending", [".ply", ".obj", ".xyz", ".npy", ".npz", ".PLY"])
def test_every_format_gives_the_points_in_order(tmp_path, ending):
    path = write(tmp_path / "cloud.ply", POINTS).rename(tmp_path / "a.PLY") if ending == ".PLY" else None
    cloud = read_cloud(path or write(tmp_path / f"cloud{ending}", POINTS))
    np.testing.assert_allclose(cloud.points, POINTS, atol=1e-6)
    assert cloud.note is None


def test_a_mesh_is_sampled_and_that_is_said(tmp_path):
    path = tmp_path / "mesh.ply"
    trimesh.creation.box().export(path)
    cloud = read_cloud(path)
    assert "is a mesh" in cloud.note
    np.testing.assert_allclose(np.abs(cloud.points).max(axis=1), 0.5)


@pytest.mark.parametrize(
    ("name", "points", "words"),
    [
        ("few.npy", POINTS[:99], "at least 100"),
        ("nan.npy", np.where(np.arange(450).reshape(150, 3) == 7, np.nan, POINTS), "not finite"),
        ("infinite.xyz", np.where(np.arange(450).reshape(150, 3) == 7, np.inf, POINTS), "not finite"),
        ("equal.npy", np.full((150, 3), 1e6), "equal"),
        ("line.npy", np.outer(np.linspace(0, 1, 150), [1, 2, 3]) + 5, "line"),
        ("flat.npy", POINTS[:, :2], "shape"),
    ],
)
def test_unusable_points_are_told_in_one_line(tmp_path, name, points, words):
    path = tmp_path / name
    np.save(path, points) if name.endswith("npy") else np.savetxt(path, points)
    with pytest.raises(UserError, match=words) as caught:
        read_cloud(path)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.ply", b""),
        ("broken.ply", b"ply\nformat binary_little_endian 1.0\nelement vertex 200\nend_header\n12"),
        ("text.xyz", b"one two three\n"),
        ("words.obj", b"nothing here\n"),
        ("pickle.npy", b"\x80\x04\x95"),
        ("zip.npz", b"PK\x03\x04 broken"),
        ("table.csv", b"1,2,3\n"),
    ],
)
def test_unreadable_files_are_told_in_one_line(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_cloud(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError):
        read_cloud(tmp_path / "missing" / name)


@pytest.mark.parametrize("ending", [".ply", ".obj", ".glb"])
def test_meshes_come_back(tmp_path, ending):
    path = tmp_path / f"mesh{ending}"
    write_mesh(path, trimesh.creation.icosphere(2, radius=1234.5))
    assert read_mesh(path).volume == pytest.approx(
        trimesh.creation.icosphere(2, radius=1234.5).volume, rel=1e-4
    )
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_outputs_are_checked_before_any_work(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        require_writable(tmp_path / "nowhere" / "mesh.ply")
    with pytest.raises(UserError, match="unknown format"):
        require_writable(tmp_path / "mesh.stl")
    with pytest.raises(UserError, match="no faces"):
        read_mesh(write(tmp_path / "cloud.ply", POINTS))
