"""The examples of the pages, copied out of them and run."""

import json
import sys
from pathlib import Path

import pytest
from pages import ROOT, carry_out, commands

from nls.cli import main
from nls.engine.yaml_files import read_yaml
from nls.experiments import load_suite, run_spec
from nls.experiments.common import run_directory, spec_file
from nls.reporting.products import make_table

DOCS = ROOT / "docs"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder of one's own, from which Python imports as from a person's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [
        name for name, module in sys.modules.items() if str(tmp_path) in str(getattr(module, "__file__", ""))
    ]:
        del sys.modules[name]


def run_of(config, *names):
    """Check a suite, run some of its runs as Snakemake does, and return their metrics."""
    suite = load_suite(read_yaml(Path(config)), config)
    suite.write_specs()
    specs = {spec.run: spec for experiment in suite.specs.values() for spec in experiment}
    for name in names:
        run_spec(spec_file(specs[name]), run_directory(specs[name]))
    return [json.loads((run_directory(specs[name]) / "metrics.json").read_text()) for name in names]


def test_the_mathematics(folder):
    carry_out(DOCS / "mathematics.md", folder)
    carry_out(DOCS / "theorem1.md", folder)


def test_a_loss(folder):
    carry_out(DOCS / "add_method.md", folder)
    (metrics,) = run_of("my_losses.yaml", "digits-0.1-squared_twice-seeds000-002")
    assert min(metrics["accuracy"]) > 0.6


def test_a_scan_and_a_surface_method(folder):
    carry_out(DOCS / "add_scan.md", folder)
    carry_out(DOCS / "add_method.md", folder)
    (levelset,) = run_of("my_scans.yaml", "levelset-torus")
    (hull,) = run_of("my_surfaces.yaml", "hull-torus")
    assert levelset["watertight"]
    assert levelset["iou"] > 0.5
    assert hull["euler"] == 2  # that of a ball: the torus has lost its hole
    assert 0.5 < hull["iou"] < 0.8
    assert "hull" in make_table("table2", "my_surfaces").text(200)


def test_a_model(folder):
    page = DOCS / "add_model.md"
    carry_out(page, folder)
    (attack,) = [command for _, command in commands(page) if command.startswith("nls attack")]
    assert main(attack.split()[1:]) == 0
    report = json.loads(Path("attack.json").read_text())
    assert report["clean_accuracy"] > 0.8 > report["robust_accuracy"]["min"]
    (metrics,) = run_of("my_networks.yaml", "digits-my_network.Net-ours-0.2")
    assert metrics["clean_accuracy"] > 0.5


def test_a_dataset(folder):
    carry_out(DOCS / "data.md", folder)
    carry_out(DOCS / "add_dataset.md", folder)
    few, all_images = run_of(
        "my_data.yaml", "bars-0.1-geometric_svm-seeds000-001", "bars-convnet-small-standard"
    )
    assert few["training_images"] == 40
    assert all_images["clean_accuracy"] > 0.9
