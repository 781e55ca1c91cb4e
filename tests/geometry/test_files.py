import numpy as np
import pytest
import trimesh

from nls.errors import UserError
from nls.geometry.files import read_mesh, require_writable, write_mesh


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
    trimesh.PointCloud(np.eye(3)).export(tmp_path / "cloud.ply")
    with pytest.raises(UserError, match="no faces"):
        read_mesh(tmp_path / "cloud.ply")


@pytest.mark.parametrize("ending", [".ply", ".obj", ".stl", ".off", ".glb"])
def test_a_closed_mesh_stays_closed_in_every_format(tmp_path, ending):
    trimesh.creation.icosphere(2).export(tmp_path / f"ball{ending}")
    found = read_mesh(tmp_path / f"ball{ending}")
    assert found.is_watertight
    assert (len(found.vertices), len(found.faces), found.euler_number) == (162, 320, 2)
