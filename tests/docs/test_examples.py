"""The examples of the pages, copied out of them and run."""

import json
import sys
from pathlib import Path

import pytest
from pages import ROOT, carry_out, commands

from nls.cli import main
from nls.engine.settings import read_yaml
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


def run_suite(config, only=None):
    """Run a suite, or one of its runs, as Snakemake does, and return the metrics of all that is there by name."""
    suite = load_suite(read_yaml(Path(config)), config)
    suite.write_specs()
    for specs in suite.specs.values():
        for spec in specs:
            if only in (None, spec.run):
                run_spec(spec_file(spec), run_directory(spec))
    found = Path("results", suite.config.suite).glob("*/*/metrics.json")
    return {path.parent.name: json.loads(path.read_text()) for path in found}


def test_the_mathematics(folder):
    carry_out(DOCS / "mathematics.md", folder)
    carry_out(DOCS / "theorem1.md", folder)


def test_a_loss(folder):
    carry_out(DOCS / "add_method.md", folder)
    metrics = run_suite("my_losses.yaml")
    assert {name.split("-")[2] for name in metrics} == {"cross_entropy", "squared", "squared_twice"}
    assert all(min(one["accuracy"]) > 0.5 for one in metrics.values())


def test_a_scan_and_a_surface_method(folder):
    carry_out(DOCS / "add_scan.md", folder)
    carry_out(DOCS / "add_method.md", folder)
    metrics = run_suite("my_scans.yaml")
    assert metrics["levelset-torus"]["watertight"]
    assert metrics["levelset-torus"]["iou"] > 0.5
    # What the scan's page has run is not run again.
    Path("results/my_scans").rename("results/my_surfaces")
    metrics = run_suite("my_surfaces.yaml", only="hull-torus")
    assert metrics["hull-torus"]["iou"] < metrics["poisson-torus"]["iou"]
    assert "hull" in make_table("table2", "my_surfaces").text(200)


def test_a_model(folder):
    carry_out(DOCS / "add_model.md", folder)
    (attack,) = [
        command for _, command in commands(DOCS / "add_model.md") if command.startswith("nls attack")
    ]
    assert main(attack.split()[1:]) == 0
    report = json.loads(Path("attack.json").read_text())
    assert report["clean_accuracy"] > 0.8 > report["robust_accuracy"]["min"]
    assert set(run_suite("my_networks.yaml")) == {
        "digits-my_network.Net-standard",
        "digits-my_network.Net-ours-0.2",
    }


def test_a_dataset(folder):
    carry_out(DOCS / "data.md", folder)
    carry_out(DOCS / "add_dataset.md", folder)
    metrics = run_suite("my_data.yaml")
    assert metrics["bars-convnet-small-standard"]["clean_accuracy"] > 0.9
