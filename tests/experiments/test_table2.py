import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
import yaml

from nls.data.curves import make_curve
from nls.data.scans import registration_path, scan_path
from nls.data.store import build
from nls.errors import UserError
from nls.experiments import load_suite, run_spec, table2
from nls.experiments.common import Common
from nls.geometry.curves import curve_metrics
from nls.reconstruction.atlasnet import AtlasNetMethod
from nls.reconstruction.levelset import LevelSet
from nls.reconstruction.poisson import Poisson
from nls.reconstruction.user_method import UserMethod
from nls.reporting import figure3
from nls.reporting import hard_inputs as hard_reports
from nls.reporting import table2 as reports
from nls.reporting.runs import Evidence

SUITE = {
    "suite": "tiny",
    "experiments": {
        "table2": {
            "scans": [0],
            "resolution": 32,
            "methods": {
                "levelset": {
                    "method": "levelset",
                    "width": 16,
                    "depth": 2,
                    "training": {"steps": 4, "batch": 64},
                },
                "mine": {"method": "mine.py:Mine", "settings": {"size": 2.0}},
            },
        },
        "table2-time": {
            "scans": [0],
            "resolution": 32,
            "seconds": [1.0, 10.0],
            "methods": {
                "levelset": {
                    "method": "levelset",
                    "width": 8,
                    "depth": 2,
                    "training": {"steps": 6, "batch": 16},
                }
            },
        },
        "figure3": {
            "curves": ["closed_clean"],
            "fit": {
                "width": 64,
                "depth": 3,
                "training": {"steps": 250, "batch": 200, "learning_rate": 2.0e-3},
                "resolution": 48,
            },
        },
    },
}


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """A folder of a test's own with one scan of a ball, in FAUST's layout, and the curves."""
    return written(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def shared_suite(shared_folder, monkeypatch):
    """The same in a folder in which a run stays for the tests that come later."""
    return written(shared_folder, monkeypatch)


def written(folder, monkeypatch):
    monkeypatch.chdir(folder)
    loaded = load_suite(SUITE, "tiny.yaml")
    if Path("data").exists():
        return loaded
    build(Path("data"), "bodies", {}, ball_scan)
    build(Path("data"), "curves", {}, one_curve)
    Path("mine.py").write_text(
        "import trimesh\nclass Mine:\n    def __init__(self, size):\n        self.size = size\n"
        "    def __call__(self, points, seed, device):\n"
        "        return trimesh.creation.icosphere(4, radius=self.size)\n"
    )
    loaded.write_specs()
    return loaded


def ball_scan(folder, scratch):
    ball = trimesh.creation.icosphere(4, radius=0.5)
    for path in (scan_path(folder, 0), registration_path(folder, 0)):
        path.parent.mkdir(parents=True)
        ball.export(path)
    return {}


def one_curve(folder, scratch):
    curve = make_curve(True, "clean")
    np.savez(folder / "closed_clean.npz", points=curve.points, truth=curve.truth, closed=True)
    return {"curves": ["closed_clean"]}


def metrics(experiment, run):
    """Return a run's directory and metrics; carry it out if that has not been done."""
    directory = Path("results/tiny") / experiment / run
    if not (directory / "metrics.json").exists():
        run_spec(Path("results/tiny/specs") / experiment / f"{run}.yaml", directory)
    return directory, json.loads((directory / "metrics.json").read_text())


def test_runs_measure_against_the_registration(shared_suite):
    directory, found = metrics("table2", "mine-000")
    # Twice too large a ball of radius 0.5 m is 0.5 m away everywhere.
    assert found["chamfer_l2"] == pytest.approx(0.5, rel=0.01)
    assert found["watertight"] == 1
    assert trimesh.load(directory / "mesh.ply").extents[0] == pytest.approx(2, rel=0.01)
    assert found["points"] == 2562


def test_the_error_on_the_way_is_measured_in_metres_and_its_seconds_are_no_metric(shared_suite):
    directory, found = metrics("table2", "levelset-000")
    assert found["curve_steps"] == [1, 3, 4]
    assert found["curve_errors"][-1] == found["chamfer_l2"]
    # In the unit ball the surface would be half a metre away.
    assert max(found["curve_errors"]) < 0.2
    seconds = json.loads((directory / "provenance.json").read_text())["timings"]["curve_seconds"]
    assert len(seconds) == 3
    assert seconds == sorted(seconds)
    _, found = metrics("table2", "mine-000")
    assert (found["curve_steps"], found["curve_errors"]) == ([0], [found["chamfer_l2"]])


def test_error_against_time_is_the_same_recipe_with_more_looks(shared_suite):
    directory, found = metrics("table2-time", "levelset-000")
    assert found["curve_steps"] == sorted(set(found["curve_steps"]))
    assert len(found["curve_steps"]) == 5
    assert yaml.safe_load((directory / "spec.yaml").read_text())["seconds"] == [1.0, 10.0]


def test_equal_runs_give_equal_bytes(shared_suite):
    directory, _ = metrics("table2", "levelset-000")
    first = (directory / "metrics.json").read_bytes()
    for path in directory.iterdir():
        path.unlink()
    metrics("table2", "levelset-000")
    assert (directory / "metrics.json").read_bytes() == first


def test_a_curve_is_found_and_its_sheets_are_kept(shared_suite):
    directory, found = metrics("figure3", "closed_clean")
    assert found["polylines"] == 1
    assert found["hausdorff"] < 0.05
    with np.load(directory / "curve.npz") as file:
        again = curve_metrics([file["polylines"]], file["truth"])
    assert again["hausdorff"] == found["hausdorff"]
    for output in range(2):
        sheet = trimesh.load(directory / f"sheet{output}.ply")
        assert len(sheet.faces) > 100


def test_methods_are_told_apart_by_name():
    config = table2.Config(
        methods={
            "a": {"method": "levelset"},
            "b": {"method": "atlasnet", "patches": 1, "template": "sphere"},
            "c": {"method": "poisson"},
            "d": {"method": "x.py:Y"},
        }
    )
    kinds = [type(method) for method in config.methods.values()]
    assert kinds == [LevelSet, AtlasNetMethod, Poisson, UserMethod]
    common = Common(suite="s", device="cpu", data_root="data", checkpoint_minutes=5.0)
    specs = table2.expand(config, common)
    assert len(specs) == 40
    assert specs[-1].run == "d-009"
    assert "steps 2000" in specs[0].summary()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"methods": {"a": {"method": "nerf"}}}, "nerf"),
        ({"methods": {"a": {"method": "levelset", "widht": 5}}}, "widht"),
        ({"resolution": 2}, "resolution"),
        ({"data": "dogs"}, "dogs"),
    ],
)
def test_a_bad_setting_is_named(change, word):
    values = yaml.safe_load(yaml.safe_dump(SUITE))
    values["experiments"]["table2"] |= change
    with pytest.raises(UserError, match=word):
        load_suite(values, "tiny.yaml")


def pairs_suite(folder, rows, columns="scan,truth,name"):
    (folder / "pairs.csv").write_text("\n".join([columns, *rows]) + "\n")
    values = yaml.safe_load(yaml.safe_dump(SUITE))
    del values["experiments"]["figure3"], values["experiments"]["table2"]["scans"]
    values["experiments"]["table2"]["data"] = str(folder / "pairs.csv")
    return load_suite(values, "tiny.yaml")


def test_anyones_pairs_are_measured_against_a_mesh_points_or_nothing(suite, tmp_path):
    ball, mine = trimesh.creation.icosphere(4, radius=0.5), tmp_path / "mine"
    mine.mkdir()
    np.save(mine / "scan.npy", np.asarray(ball.vertices))
    ball.export(mine / "truth.stl")
    np.savetxt(mine / "truth.xyz", ball.vertices)
    rows = ["scan.npy,truth.stl,by-mesh", "scan.npy,truth.xyz,by-points", "scan.npy,,unknown"]
    loaded = pairs_suite(mine, rows)
    assert [spec.run for spec in loaded.specs["table2"]][3:] == [
        "mine-by-mesh",
        "mine-by-points",
        "mine-unknown",
    ]
    assert loaded.specs["table2"][0].datasets() == []
    loaded.write_specs()
    _, by_mesh = metrics("table2", "mine-by-mesh")
    _, by_points = metrics("table2", "mine-by-points")
    directory, unknown = metrics("table2", "mine-unknown")
    for found in (by_mesh, by_points):
        assert found["chamfer_l2"] == pytest.approx(0.5, rel=0.02)
    assert by_mesh["iou"] == pytest.approx(1 / 8, rel=0.02)
    assert "chamfer_l2" not in unknown
    # Twice too large a ball of radius 0.5.
    assert unknown["from_scan"] == pytest.approx(0.5, rel=0.02)
    assert unknown["watertight"] == 1
    assert not (directory / "truth.ply").exists()
    # A table and a figure come of them, though no cell is there for what is not known.
    frame, _ = reports.table(Evidence("tiny"))
    assert frame.set_index("method").loc["mine", "scans (here)"] == 3
    figure3.surfaces(Evidence("tiny"))


@pytest.mark.parametrize(
    ("rows", "columns", "word"),
    [
        (["scan.npy,,a"], "scan,name", "no column truth"),
        ([], "scan,truth,name", "no rows"),
        (["gone.npy,,a"], "scan,truth,name", r"row 2: .*gone\.npy: no such file"),
        (["scan.npy,,a", "scan.npy,,a"], "scan,truth,name", "two rows are named a"),
        (["scan.npy,,"], "scan,truth,name", "no name"),
        ([",,a"], "scan,truth,name", "names no scan"),
        (["scan.npy,,a,b"], "scan,truth,name", "row 2: has more fields than the first line"),
    ],
)
def test_a_bad_list_of_pairs_is_told_in_one_line(tmp_path, rows, columns, word):
    np.save(tmp_path / "scan.npy", np.eye(3))
    with pytest.raises(UserError, match=word) as caught:
        pairs_suite(tmp_path, rows, columns)
    assert "\n" not in str(caught.value)


def test_hard_inputs_are_scanned_anew_and_measured(suite):
    values = yaml.safe_load(yaml.safe_dump(SUITE))
    table = values["experiments"].pop("table2")
    del values["experiments"]["figure3"]
    conditions = ["points-3000", "points-10000"]
    methods = {"poisson": {"method": "poisson", "depth": 5}, "mine": table["methods"]["mine"]}
    values["experiments"]["hard_inputs"] = {"conditions": conditions, "methods": methods, "max_points": 5000}
    loaded = load_suite(values, "tiny.yaml")
    loaded.write_specs()
    found = {name: metrics("hard_inputs", f"poisson-000-{name}")[1] for name in conditions}
    assert found["points-3000"]["points"] == 3000
    assert found["points-10000"]["points"] == 5000
    frame, notes = hard_reports.table(Evidence("tiny"))
    assert list(frame["condition"]) == ["points-10000", "points-3000"]
    assert "missing: mine-000-points-10000, mine-000-points-3000 (not run)" in notes
    assert len(hard_reports.figure(Evidence("tiny")).axes) == 2 * 2
    values["experiments"]["hard_inputs"]["conditions"] = ["rain"]
    with pytest.raises(UserError, match="rain is no condition"):
        load_suite(values, "tiny.yaml")
