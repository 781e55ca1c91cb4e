import matplotlib
import numpy as np
import pytest
import trimesh
import yaml
from made_up import finish

from nls.errors import UserError
from nls.reporting import figure3, table2
from nls.reporting.render import View, render
from nls.reporting.runs import Evidence

matplotlib.use("Agg")

METRICS = {
    **dict.fromkeys(
        ("to_truth_l2", "from_truth_l2", "hausdorff_95", "hausdorff", "floor_l1", "floor_l2"), 0.004
    ),
    **dict.fromkeys(("normal_consistency", "f_score"), 0.5),
    **dict.fromkeys(("watertight", "components", "euler"), 1),
}


def put(folder, where, name, scan, l2, data="bodies", seed=0):
    """A complete run of Table 2 with a body of two balls, and its spec where the suite keeps it."""
    run = f"{name}-{scan:03d}" + (f"-seed{seed}" if seed else "")
    directory = folder / where / "table2" / run
    directory.mkdir(parents=True)
    training = {"steps": 7, "batch": 5, "optimizer": "adam", "learning_rate": 0.1, "schedule": "cosine"}
    spec = {"name": name, "scan": scan, "data": data, "seed": seed, "method": {"training": training}}
    asked = folder / "tiny" / "specs" / "table2" / f"{run}.yaml"
    asked.parent.mkdir(parents=True, exist_ok=True)
    asked.write_text(yaml.safe_dump(spec))
    mesh = trimesh.creation.icosphere(3)
    for file in ("mesh.ply", "truth.ply"):
        mesh.export(directory / file)
    np.savez(directory / "scan.npz", points=mesh.vertices)
    finish(directory, spec, METRICS | {"chamfer_l1": 2 * l2, "chamfer_l2": l2})
    return directory


def test_means_and_spreads_beside_the_papers(tmp_path):
    for scan, l2 in enumerate((0.004, 0.006)):
        put(tmp_path, "tiny", "levelset", scan, l2)
    put(tmp_path, "reference/tiny", "levelset", 0, 0.003)
    put(tmp_path, "tiny", "mine", 0, 0.001)
    frame, notes = table2.table(Evidence("tiny", tmp_path))
    rows = frame.set_index("method")
    assert rows.loc["levelset", "Chamfer L2 ×10³ (paper)"] == "7.32 ± 0.46"
    assert rows.loc["levelset", "Chamfer L2 ×10³ (here)"] == "5.00 ± 1.41"
    assert rows.loc["levelset", "Chamfer L1 ×10³ (here)"] == "10.00 ± 2.83"
    assert rows.loc["levelset", "Chamfer L2 ×10³ (reference)"] == "3.00"
    assert rows.loc["levelset", "scans (here)"] == 2
    assert rows.loc["mine", "Chamfer L2 ×10³ (here)"] == "1.00"
    assert rows.loc["levelset", "floor L2 ×10³"] == 4
    assert any("7 steps of 5 points, adam" in note for note in notes)
    assert any("the paper's figures are for FAUST" in note for note in notes)
    every, _ = table2.scans(Evidence("tiny", tmp_path))
    assert len(every) == 3


def test_a_missing_run_is_named(tmp_path):
    directory = put(tmp_path, "tiny", "levelset", 0, 0.004)
    (directory / "metrics.json").unlink()
    _, notes = table2.table(Evidence("tiny", tmp_path))
    assert any("levelset-000" in note for note in notes)
    with pytest.raises(UserError, match="no complete run"):
        figure3.view(Evidence("tiny", tmp_path))
    figure3.surfaces(Evidence("tiny", tmp_path))


def test_pictures_and_the_page_that_needs_no_network(tmp_path):
    for name in ("levelset", "atlasnet-25"):
        put(tmp_path, "tiny", name, 3, 0.004)
    evidence = Evidence("tiny", tmp_path)
    assert len(figure3.surfaces(evidence).axes) == 4 + 3 + 3
    assert "4.00 mm" in figure3.bodies(evidence).axes[0].get_title()
    page = figure3.view(evidence)
    assert "levelset, scan 003" in page
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_renders_the_mesh_where_the_camera_looks():
    mesh = trimesh.creation.icosphere(3)
    image = render(View((0.0, 0.0, 0.0), 4.0, (0.0, 0.0, 1.0)), (100, 100), mesh=mesh)
    drawn = (image < 250).any(axis=2)
    assert drawn[50, 50]
    assert not drawn[5, 5]
    # A ball of diameter 2 in a picture of height 4.
    assert drawn.any(axis=1).sum() == pytest.approx(50, abs=4)
