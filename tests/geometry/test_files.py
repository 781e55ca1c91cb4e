import numpy as np
import pytest
import trimesh

from nls.errors import UserError
from nls.geometry.files import read_mesh, require_writable, write_mesh
from nls.geometry.meshing import topology


@pytest.mark.parametrize("ending", [".ply", ".obj", ".glb"])
def test_meshes_come_back(tmp_path, ending):
    path = tmp_path / f"mesh{ending}"
    write_mesh(path, trimesh.creation.icosphere(2, radius=1234.5))
    assert read_mesh(path).volume == pytest.approx(
        trimesh.creation.icosphere(2, radius=1234.5).volume, rel=1e-4
    )
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_outputs_are_checked_before_any_work(tmp_path):
    require_writable(tmp_path / "new" / "one" / "mesh.ply")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    (tmp_path / "broken").symlink_to("nothing")
    for folder in ("file", "file/new", "broken", "broken/new", "x" * 300):
        with pytest.raises(UserError, match=r"cannot be written .* choose another place"):
            require_writable(tmp_path / folder / "mesh.ply")
    with pytest.raises(UserError, match="unknown format"):
        require_writable(tmp_path / "mesh.stl")
    trimesh.PointCloud(np.eye(3)).export(tmp_path / "cloud.ply")
    with pytest.raises(UserError, match="no faces"):
        read_mesh(tmp_path / "cloud.ply")


def test_an_obj_of_two_materials_is_one_mesh(tmp_path):
    ball = trimesh.creation.icosphere(3)
    lines = [f"v {x} {y} {z}" for x, y, z in ball.vertices]
    for material, faces in (("a", ball.faces[:500]), ("b", ball.faces[500:])):
        lines += [f"usemtl {material}", *(f"f {a} {b} {c}" for a, b, c in faces + 1)]
    (tmp_path / "two.obj").write_text("\n".join(lines))
    found = read_mesh(tmp_path / "two.obj")
    assert (len(found.vertices), found.is_watertight, found.euler_number) == (642, True, 2)


@pytest.mark.parametrize("ending", [".ply", ".obj", ".glb"])
def test_vertices_of_no_face_are_left_out(tmp_path, ending):
    ball = trimesh.creation.icosphere(2)
    loose = trimesh.Trimesh(np.vstack([ball.vertices, [[9.0, 9.0, 9.0]]]), ball.faces, process=False)
    loose.export(tmp_path / f"loose{ending}")
    found = read_mesh(tmp_path / f"loose{ending}")
    assert found.bounds.max() < 1.1
    assert topology(found).components == 1


@pytest.mark.parametrize("ending", [".ply", ".obj", ".stl", ".off", ".glb"])
def test_a_closed_mesh_stays_closed_in_every_format(tmp_path, ending):
    trimesh.creation.icosphere(2).export(tmp_path / f"ball{ending}")
    found = read_mesh(tmp_path / f"ball{ending}")
    assert found.is_watertight
    assert (len(found.vertices), len(found.faces), found.euler_number) == (162, 320, 2)
