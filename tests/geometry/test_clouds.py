import laspy
import numpy as np
import pypcd4
import pytest
import trimesh

from nls.errors import UserError
from nls.geometry.clouds import read_cloud, read_surface, unit_normals

POINTS = np.random.default_rng(0).normal(size=(150, 3))


def write(path, points):
    match path.suffix:
        case ".npy":
            np.save(path, points)
        case ".npz":
            np.savez(path, points=points)
        case ".xyz":
            np.savetxt(path, np.c_[points, points], header="x y z r g b")
        case ".off":
            path.write_text(f"OFF\n{len(points)} 0 0\n" + "".join(f"{x} {y} {z}\n" for x, y, z in points))
        case ".pcd":
            pypcd4.PointCloud.from_xyz_points(points.astype(np.float32)).save(path)
        case ".las" | ".laz":
            header = laspy.LasHeader(point_format=3, version="1.2")
            header.scales = [1e-7] * 3
            file = laspy.LasData(header)
            file.x, file.y, file.z = points.T
            file.write(path)
        case ".obj":
            path.write_text("".join(f"v {x} {y} {z}\n" for x, y, z in points))
        case _:
            trimesh.PointCloud(points).export(path)
    return path


ENDINGS = [".ply", ".obj", ".off", ".xyz", ".pcd", ".las", ".laz", ".npy", ".npz", ".PLY"]


@pytest.mark.parametrize("ending", ENDINGS)
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
        ("huge.npy", POINTS * 1e200, "another unit"),
        ("tiny.npy", POINTS * 1e-200, "another unit"),
        ("truth.npy", POINTS > 0, "array of bool"),
        ("complex.npy", POINTS + 0j, "array of complex128"),
        ("words.npy", POINTS.astype(str), "real numbers"),
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
        ("broken.pcd", b"# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\n"),
        (
            "fields.pcd",
            b"VERSION 0.7\nFIELDS i\nSIZE 4\nTYPE F\nCOUNT 1\nWIDTH 1\nHEIGHT 1\nPOINTS 1\nDATA ascii\n1\n",
        ),
        ("broken.las", b"LASF" + bytes(100)),
        ("broken.laz", b"hello"),
        ("broken.off", b"OFF\n3 1 0\n0 0\n"),
        ("point.obj", b"v 0 0 0\nv 0 0 0\nv 0 0 0\nf 1 2 3\n"),
        ("huge.obj", b"v 1e200 0 0\nv 0 1e200 0\nv 0 0 1e200\nf 1 2 3\n"),
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


@pytest.mark.parametrize("ending", [".ply", ".xyz", ".pcd", ".npz"])
def test_normals_are_read(tmp_path, ending):
    path, normals = tmp_path / f"cloud{ending}", POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)
    columns = np.c_[POINTS, normals].astype(np.float32)
    match ending:
        case ".ply":
            names = "".join(f"property float {name}\n" for name in ("x", "y", "z", "nx", "ny", "nz"))
            header = (
                f"ply\nformat binary_little_endian 1.0\nelement vertex {len(POINTS)}\n{names}end_header\n"
            )
            path.write_bytes(header.encode() + columns.tobytes())
        case ".xyz":
            np.savetxt(path, columns)
        case ".pcd":
            fields = ("x", "y", "z", "normal_x", "normal_y", "normal_z")
            pypcd4.PointCloud.from_points(columns, fields, (np.float32,) * 6).save(path)
        case _:
            np.savez(path, points=POINTS, normals=normals)
    cloud = read_cloud(path)
    np.testing.assert_allclose(cloud.points, POINTS, atol=1e-6)
    np.testing.assert_allclose(cloud.normals, normals, atol=1e-6)


def test_normals_must_be_usable():
    np.testing.assert_allclose(np.linalg.norm(unit_normals(5 * POINTS, POINTS, "a.ply"), axis=1), 1)
    for bad, words in ((POINTS[:9], "shape"), (np.zeros_like(POINTS), "150 of 150 normals")):
        with pytest.raises(UserError, match=words):
            unit_normals(bad, POINTS, "a.ply")


def test_pixels_without_measurement_are_left_out(tmp_path):
    points = np.r_[POINTS, np.full((7, 3), np.nan)].astype(np.float32)
    pypcd4.PointCloud.from_xyz_points(points).save(tmp_path / "depth.pcd")
    cloud = read_cloud(tmp_path / "depth.pcd")
    np.testing.assert_allclose(cloud.points, POINTS, atol=1e-6)
    assert "7 pixels" in cloud.note


def test_a_truth_is_a_mesh_or_points(tmp_path):
    trimesh.creation.box().export(tmp_path / "box.stl")
    assert isinstance(read_surface(tmp_path / "box.stl"), trimesh.Trimesh)
    for ending in (".ply", ".npy"):
        assert read_surface(write(tmp_path / f"cloud{ending}", POINTS)).shape == (150, 3)
