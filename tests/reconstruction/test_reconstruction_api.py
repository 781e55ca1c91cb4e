import math
from functools import cache

import numpy as np
import pytest
import torch
import trimesh

from nls import reconstruct
from nls.cli import main
from nls.errors import RunError, UserError
from nls.geometry.metrics import compare
from nls.geometry.neighbours import spacing
from nls.geometry.poisson import estimated_normals, screened_poisson
from nls.networks.detail import DetailedMLP
from nls.networks.implicit import ImplicitMLP
from nls.reconstruction import METHODS, reconstruct_with
from nls.reconstruction.igr import Igr
from nls.reconstruction.levelset import Detail, LevelSet
from nls.reconstruction.poisson import Poisson
from nls.reconstruction.session import UnsavedSession
from nls.reconstruction.training import Training, fit
from nls.reconstruction.user_method import UserMethod

SMALL = LevelSet(
    width=64, depth=3, detail=Detail(begin=0.75), training=Training(steps=160, batch=500, learning_rate=4e-3)
)


def cloud(mesh, points=4000):
    return np.asarray(trimesh.sample.sample_surface(mesh, points, seed=1)[0])


def small(points, method=SMALL, seed=0, **options):
    session = UnsavedSession(torch.device("cpu"))
    settings = {"resolution": 64, "max_points": 100_000} | options
    return reconstruct_with(method, points, seed=seed, session=session, **settings)


SPHERE = trimesh.creation.icosphere(5)
TORUS = trimesh.creation.torus(0.7, 0.3, 96, 48)


@cache
def fitted(name):
    return small(cloud({"sphere": SPHERE, "torus": TORUS}[name]))


@pytest.mark.parametrize(
    ("name", "truth", "euler", "steepness"), [("sphere", SPHERE, 2, 0.15), ("torus", TORUS, 0, 0.35)]
)
def test_sphere_and_torus_are_near_the_floor_and_the_field_near_the_distance(name, truth, euler, steepness):
    found = fitted(name)
    assert (found.topology.components, found.topology.watertight, found.topology.euler) == (1, True, euler)
    metrics = compare(found.mesh, truth, 10_000)
    assert metrics["chamfer_l2"] < 1.5 * metrics["floor_l2"]
    assert found.figures["eikonal_error"] < steepness


def test_field_is_the_signed_distance_near_a_sphere():
    found = fitted("sphere")
    draws = torch.Generator().manual_seed(0)
    points = torch.nn.functional.normalize(torch.randn(4000, 3, generator=draws), dim=1)
    radii = 0.8 + 0.2 * torch.rand(4000, generator=draws)
    with torch.no_grad():
        error = (found.network(points * radii[:, None]) - (radii - 1)).abs()
    assert error.mean() < 0.02


def test_same_mesh_wherever_and_however_large_the_input_is():
    points = cloud(TORUS)
    shift, scale = np.array([100.0, -50.0, 3.0]), 1000.0
    here, there = fitted("torus"), small(points * scale + shift)
    np.testing.assert_allclose(there.mesh.bounds, here.mesh.bounds * scale + shift, atol=0.01 * scale)
    returned = trimesh.Trimesh((there.mesh.vertices - shift) / scale, there.mesh.faces)
    metrics = compare(returned, here.mesh, 10_000)
    assert metrics["chamfer_l2"] < 1.2 * metrics["floor_l2"]


def test_a_turned_input_gives_the_turned_mesh():
    points = cloud(TORUS)
    turn = trimesh.transformations.rotation_matrix(1.0, [1, 2, 3])[:3, :3]
    turned = small(points @ turn.T).mesh
    metrics = compare(trimesh.Trimesh(turned.vertices @ turn, turned.faces), TORUS, 10_000)
    assert metrics["chamfer_l2"] < 1.5 * metrics["floor_l2"]


def test_seeds_and_repeats():
    points, short = (
        cloud(SPHERE),
        SMALL.model_copy(update={"training": SMALL.training.model_copy(update={"steps": 20})}),
    )
    first, again, other = small(points, short), small(points, short), small(points, short, seed=1)
    np.testing.assert_array_equal(first.mesh.vertices, again.mesh.vertices)
    assert not np.array_equal(first.mesh.vertices, other.mesh.vertices)


def test_resumes_to_the_same_network():
    class StoppedError(Exception):
        pass

    class Kept(UnsavedSession):
        state = None

        def resume(self):
            return self.state

        def save_if_due(self, state):
            self.state = state()
            if self.state["step"] == 7 and not hasattr(self, "stopped"):
                self.stopped = True
                buffer = {name: value for name, value in self.state.items()}
                self.state = torch.utils._pytree.tree_map(
                    lambda leaf: leaf.clone() if isinstance(leaf, torch.Tensor) else leaf, buffer
                )
                raise StoppedError

    points = torch.as_tensor(cloud(SPHERE), dtype=torch.float32)
    training = Training(steps=15, batch=100)

    def networks(session):
        torch.manual_seed(0)
        method = LevelSet(width=16, depth=2, detail=Detail(begin=0.3), training=training)
        return method.surface(points, 32, 0, session).network

    session = Kept(torch.device("cpu"))
    with pytest.raises(StoppedError):
        networks(session)
    resumed, whole = networks(session), networks(UnsavedSession(torch.device("cpu")))
    for a, b in zip(resumed.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_the_mlp_settles_before_the_grids_are_let_in():
    detail, points = Detail(), torch.as_tensor(cloud(SPHERE, 500), dtype=torch.float32)
    network = DetailedMLP.around(points, [0.5], ImplicitMLP(16, 2))
    *of_mlp, of_grids = detail.optimizers(network, Training())
    owned = [
        parameter
        for each in (*of_mlp, of_grids)
        for group in each.optimizer.param_groups
        for parameter in group["params"]
    ]
    assert {id(parameter) for parameter in owned} == {id(parameter) for parameter in network.parameters()}
    for each in of_mlp:
        assert each.factor(0.0) == 1
        assert each.factor(detail.begin - 1e-3) < 1e-4
        assert each.factor(detail.begin) == pytest.approx(detail.mlp_rate)
        assert each.factor(1.0) == 0
    assert (of_grids.factor(detail.begin), of_grids.factor(1.0)) == (1, 0)
    assert detail.shares(detail.begin) == [0, 0, 0]
    middle = detail.begin + detail.pause + detail.ramp / 2
    assert detail.shares(middle) == pytest.approx([1, 0.5, 0])
    assert detail.shares(1.0) == [1, 1, 1]


@pytest.mark.parametrize(("share", "wider"), [(0.0, 1.0), (0.15, 4 * 0.15**0.5), (0.8, 2.0)])
def test_noisy_points_have_wider_cells(share, wider):
    """Noise is a share of the spacing: none, some, and so much that the width is at its bound."""
    draws = np.random.default_rng(0)
    square = np.column_stack([draws.random((10_000, 2)), np.zeros(10_000)])
    square[:, 2] = share * spacing(torch.as_tensor(square)) * draws.standard_normal(10_000)
    points = torch.as_tensor(square, dtype=torch.float32)
    space = spacing(points)
    assert Detail(cells=[2.0, 1.0]).widths(points, space) == pytest.approx(
        [2 * wider * space, wider * space], rel=0.05
    )
    assert Detail(cells=[1.0], noise_factor=0.0).widths(points, space) == [space]


def test_a_loss_that_is_not_finite_stops_the_run():
    network = ImplicitMLP(8, 1)
    with pytest.raises(RunError, match="at step 0, seed 3"):
        fit(
            network,
            lambda batch, draws: (network(batch).mean() * math.nan, {}),
            torch.randn(100, 3),
            Training(steps=5, batch=10),
            3,
            UnsavedSession(torch.device("cpu")),
        )


def test_users_own_method(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "class Hull:\n"
        "    def __init__(self, grow):\n        self.grow = grow\n"
        "    def __call__(self, points, seed, device):\n"
        "        import trimesh\n"
        "        hull = trimesh.PointCloud(points.numpy()).convex_hull\n"
        "        hull.apply_scale(self.grow)\n"
        "        return trimesh.Trimesh([*hull.vertices, [9, 9, 9]], hull.faces, process=False)\n"
    )
    found = small(5 * cloud(SPHERE), UserMethod(method="mine.py:Hull", settings={"grow": 2.0}))
    assert found.mesh.volume == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.05)
    assert found.topology.components == 1


@pytest.mark.parametrize("faces", ["[[0, 1, 9]]", "[[0, 0, 0]]"])
def test_a_users_mesh_without_corners_or_area_is_told(tmp_path, monkeypatch, faces):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import trimesh\n\ndef Bad():\n    return lambda points, seed, device: "
        f"trimesh.Trimesh(points[:3].numpy(), {faces}, process=False)\n"
    )
    with pytest.raises(
        UserError, match=r"mine.py:Bad: must return .* without faces or area, .* corners that it lacks"
    ):
        small(cloud(SPHERE), UserMethod(method="mine.py:Bad"))


@pytest.mark.parametrize("normals", [False, True])
def test_igr_closes_a_hole(normals):
    points = cloud(SPHERE)
    training = Training(steps=100, batch=200)
    found = small(points[points[:, 1] > -0.8], Igr(width=32, depth=3, training=training, normals=normals))
    assert (found.topology.components, found.topology.watertight, found.topology.euler) == (1, True, 2)
    assert found.mesh.volume == pytest.approx(4 / 3 * np.pi, rel=0.1)


def test_estimated_normals_point_outwards():
    points = cloud(TORUS)
    normals = estimated_normals(points)
    axis = points * [1, 1, 0]
    outwards = points - 0.7 * axis / np.linalg.norm(axis, axis=1, keepdims=True)
    cosines = (normals * outwards).sum(axis=1) / 0.3
    assert cosines.mean() > 0.95
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)


def test_points_that_occur_many_times_count_once():
    few = cloud(SPHERE, 300)
    order = np.random.default_rng(0).permutation(np.arange(20 * len(few)) % len(few))
    # The first occurrences are in the order of the cloud.
    order = np.concatenate([np.arange(len(few)), order])
    np.testing.assert_array_equal(estimated_normals(few[order]), estimated_normals(few)[order])
    found, expected = screened_poisson(few[order], depth=5), screened_poisson(few, depth=5)
    np.testing.assert_array_equal(found.vertices, expected.vertices)
    np.testing.assert_array_equal(found.faces, expected.faces)
    assert found.is_watertight


def test_poisson_closes_a_sphere():
    found = small(cloud(SPHERE, 8000), Poisson(depth=5))
    assert found.topology.watertight
    assert found.mesh.volume == pytest.approx(4 / 3 * np.pi, rel=0.05)


def test_pieces_are_dropped_on_request_and_that_is_said(capsys):
    far = trimesh.creation.icosphere(3, radius=0.1)
    far.apply_translation([3, 0, 0])
    points = np.concatenate([cloud(SPHERE, 5000), cloud(far, 500)])
    whole = small(points, Poisson(depth=6))
    kept = small(points, Poisson(depth=6), keep_largest=True)
    assert whole.topology.components == 2
    assert kept.topology.components == 1
    assert "dropped 1 piece" in capsys.readouterr().out


def test_a_resolution_that_is_not_used_is_told(capsys):
    reconstruct(cloud(SPHERE), "poisson", quality="fast", resolution=64)
    assert "method poisson has no meshing grid: the resolution is not used" in capsys.readouterr().out


def test_thinning_and_method_names():
    assert small(cloud(SPHERE), Poisson(depth=5), max_points=1000).points == 1000
    with pytest.raises(UserError, match="take one of levelset"):
        reconstruct(cloud(SPHERE), "nerf")
    with pytest.raises(UserError, match="no training steps"):
        reconstruct(cloud(SPHERE), "poisson", steps=5)


def test_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(METHODS, "poisson", Poisson(depth=6))
    scan, mesh, picture = tmp_path / "scan.npy", tmp_path / "mesh.obj", tmp_path / "mesh.png"
    np.save(scan, 1000 * cloud(SPHERE))
    words = ["reconstruct", str(scan), "-o", str(mesh), "--resolution", "64"]
    assert main([*words, "--method", "poisson", "--preview", str(picture)]) == 0
    said = capsys.readouterr().out
    assert "4000 of 4000 points used" in said
    assert "1 component, watertight, Euler number 2" in said
    assert picture.stat().st_size > 5000
    found = trimesh.load(mesh)
    assert found.volume == pytest.approx(4 / 3 * np.pi * 1000**3, rel=0.05)
    assert main(["chamfer", str(mesh), str(mesh), "--points", "2000"]) == 0
    assert '"l2": ' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["empty.ply", "-o", "mesh.ply"], "empty"),
        (["missing.ply", "-o", "mesh.ply"], "cannot read"),
        (["scan.npy", "-o", "empty.ply/mesh.ply"], "cannot be written"),
        (["empty.ply", "-o", "new/mesh.ply"], "empty"),
        (["scan.npy", "-o", "mesh.stl"], "unknown format"),
        (["scan.npy", "-o", "mesh.ply", "--method", "nerf"], "unknown method"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_file(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.ply").touch()
    np.save("scan.npy", cloud(SPHERE))
    before = sorted(tmp_path.iterdir())
    assert main(["reconstruct", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 0},
        {"resolution": 1},
        {"max_points": -1},
        {"trim": -1.0},
        {"trim": np.nan},
        {"device": "gpu"},
    ],
)
def test_numbers_and_devices_that_make_no_sense_are_refused(settings):
    with pytest.raises(UserError, match=r"must be |unknown device"):
        reconstruct(cloud(SPHERE), **settings)
