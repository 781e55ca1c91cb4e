"""Figures 1 and 2 by Snakemake: what a suite promises about its run directories."""

import copy
import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.workflow

OWN_LOSS = """
from torch import nn


class Squared:
    def __init__(self, weight):
        self.weight = weight

    def __call__(self, network, points, labels):
        return self.weight * (network(points).flatten() - labels).square().mean()
"""

# A folder whose name a shell would carry out, if it were not quoted.
DATA = "my $(touch executed) data; touch executed"
CONFIG = {
    "suite": "small",
    "data_root": DATA,
    "experiments": {
        "figure1": {"training": {"steps": 400}},
        "figure2": {
            "seeds_per_job": 2,
            "training": {"steps": 8},
            "datasets": {
                "digits": {
                    "fractions": [0.05],
                    "seeds": 3,
                    "losses": {
                        "cross_entropy": {},
                        "geometric_svm": {"regularization": 0.05},
                        "own.py:Squared": {"weight": 2.0},
                    },
                }
            },
        },
    },
}


@pytest.fixture(scope="module")
def suite(tmp_path_factory, snakemake):
    """A folder in which the small suite has been run on two cores."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "own.py").write_text(OWN_LOSS)
    (folder / "small.yaml").write_text(yaml.safe_dump(CONFIG))
    done = snakemake(folder, "--cores", "2", "--configfile", "small.yaml")
    assert done.returncode == 0, done.stdout
    return folder


def written(folder):
    """Every file but Snakemake's own, with its time."""
    paths = [path for path in folder.rglob("*") if ".snakemake" not in path.parts and path.is_file()]
    return {path: path.stat().st_mtime_ns for path in paths}


def test_words_of_the_config_are_not_carried_out(suite):
    assert (suite / DATA / "digits/complete.json").exists()
    assert not list(suite.rglob("executed"))


def metrics(folder):
    return {path.parent.name: path.read_bytes() for path in folder.glob("results/small/*/*/metrics.json")}


def test_the_report_and_its_parts_are_there(suite):
    reports = suite / "reports/small"
    for name in ("figure1.png", "figure2.png"):
        assert (reports / name).read_bytes().startswith(b"\x89PNG")
    page = (reports / "report.html").read_text()
    assert page.count("data:image/png;base64") == 2
    assert "Squared" in page
    assert "{{" not in page
    assert re.search(r"figure2</td><td>6 of 6", page)


def test_panels_b_and_c_keep_the_boundary_farther_away_than_a(suite):
    margins = {
        panel: json.loads((suite / f"results/small/figure1/{panel}/metrics.json").read_text())
        for panel in ("cross_entropy", "linf", "l2")
    }
    for norm in ("linf", "l2"):
        key = f"smallest_margin_{norm}"
        assert margins[norm][key] > margins["cross_entropy"][key]
        assert margins[norm][key] > 0.8 * margins[norm]["eps"]


def test_the_table_counts_every_seed_and_pairs_the_differences(suite):
    rows = list(csv.DictReader((suite / "reports/small/figure2.csv").open()))
    assert [row["loss"] for row in rows] == ["Squared", "cross-entropy", "geometric SVM"]
    by_loss = {row["loss"]: row for row in rows}
    assert {row["seeds"] for row in rows} == {"3"}
    accuracy = {
        name: [
            value
            for block in ("000-001", "002-002")
            for value in json.loads(
                (suite / f"results/small/figure2/digits-0.05-{name}-seeds{block}/metrics.json").read_text()
            )["accuracy"]
        ]
        for name in ("cross_entropy", "Squared")
    }
    mean = sum(a - b for a, b in zip(accuracy["Squared"], accuracy["cross_entropy"], strict=True)) / 3
    assert float(by_loss["Squared"]["minus cross-entropy"]) == pytest.approx(100 * mean, abs=0.006)
    assert by_loss["cross-entropy"]["minus cross-entropy"] == ""


def test_snakemake_makes_its_own_report(suite, snakemake, tmp_path):
    done = snakemake(suite, "--configfile", "small.yaml", "--report", tmp_path / "snakemake.html")
    assert done.returncode == 0, done.stdout
    page = (tmp_path / "snakemake.html").read_text()
    for words in ("figure1.png", "figure2.csv", "Decision boundaries", "Tables"):
        assert words in page


def test_run_again_it_does_nothing(suite, snakemake):
    done = snakemake(suite, "--cores", "2", "--configfile", "small.yaml")
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout


def test_a_deleted_run_comes_back_alone_with_the_same_bytes_on_one_core(suite, snakemake):
    before = metrics(suite)
    gone = "digits-0.05-geometric_svm-seeds000-001"
    shutil.rmtree(suite / "results/small/figure2" / gone)
    times = {path: path.stat().st_mtime_ns for path in suite.glob("results/small/*/*/metrics.json")}
    done = snakemake(suite, "figure2", "--cores", "1", "--configfile", "small.yaml")
    assert done.returncode == 0, done.stdout
    assert metrics(suite) == before
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_a_printed_command_works_outside_snakemake(suite, snakemake, tmp_path):
    done = snakemake(suite, "--cores", "1", "--configfile", "small.yaml", "--dry-run", "-p", "--forceall")
    run = "digits-0.05-cross_entropy-seeds002-002"
    command = next(line for line in done.stdout.splitlines() if "nls run" in line and run in line)
    words = shlex.split(command.split("command: ")[-1].split(" > ")[0])
    words[words.index("--out") + 1] = str(tmp_path / "out")
    subprocess.run(
        words,
        cwd=suite,
        check=True,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
    )
    assert (tmp_path / "out/metrics.json").read_bytes() == metrics(suite)[run]


def test_a_changed_setting_runs_only_what_depends_on_it(suite, snakemake, tmp_path):
    config = yaml.safe_load((suite / "small.yaml").read_text())
    config["experiments"]["figure2"]["datasets"]["digits"]["losses"]["own.py:Squared"]["weight"] = 3.0
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(config))
    before = written(suite)
    done = snakemake(suite, "figure2", "--cores", "2", "--configfile", tmp_path / "changed.yaml", "--dry-run")
    assert re.search(r"figure2_run +2\n", done.stdout), done.stdout
    assert written(suite) == before


def test_a_failing_run_fails_alone_and_its_cell_says_why(snakemake, tmp_path):
    (tmp_path / "own.py").write_text(OWN_LOSS)
    config = copy.deepcopy({"suite": "small", "experiments": {"figure2": CONFIG["experiments"]["figure2"]}})
    config["experiments"]["figure2"]["datasets"]["digits"]["losses"]["own.py:Squared"] = {"weight": 1e39}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(tmp_path, "--cores", "2", "--configfile", "small.yaml")
    assert done.returncode == 1
    assert "the loss is" in done.stdout
    failed = tmp_path / "results/small/figure2/digits-0.05-Squared-seeds000-001"
    assert not (failed / "metrics.json").exists()
    assert len(metrics(tmp_path)) == 4

    text = (tmp_path / "reports/small/figure2.md").read_text()
    assert re.search(
        r"missing: digits-0.05-Squared-seeds000-001 \(RunError: the loss is .* seed 0.*log: ", text
    )
    assert "Squared |" not in text
    assert (
        "digits-0.05-Squared-seeds000-001: RunError" in (tmp_path / "reports/small/report.html").read_text()
    )


def test_a_wrong_config_stops_before_any_job(snakemake, tmp_path):
    (tmp_path / "wrong.yaml").write_text("suite: wrong\nexperiments:\n  figure3d: {}\n")
    done = snakemake(tmp_path, "--cores", "1", "--configfile", "wrong.yaml")
    assert done.returncode == 1
    message = next(line for line in done.stdout.splitlines() if line.startswith("nls: "))
    assert "wrong.yaml" in message
    assert "unknown key 'experiments.figure3d'" in message
    assert "figure3" in message
    assert not (tmp_path / "results").exists()


def test_a_config_without_a_suite_is_not_the_papers(snakemake, tmp_path):
    (tmp_path / "nameless.yaml").write_text("experiments: {}\n")
    done = snakemake(tmp_path, "--cores", "1", "--configfile", "nameless.yaml")
    assert done.returncode == 1
    assert "nameless.yaml: key 'suite' is missing" in done.stdout
    assert not (tmp_path / "results").exists()


def test_the_paper_is_the_default(snakemake, tmp_path):
    done = snakemake(tmp_path, "--cores", "1", "--dry-run", "figure2")
    assert done.returncode == 0, done.stdout
    assert "results/paper/figure2/mnist-0.005-geometric_svm-seeds090-099" in done.stdout


def test_a_repeated_job_asks_for_more_up_to_what_partitions_allow(snakemake, tmp_path):
    words = ["figure1", "--cores", "1", "--dry-run", "--config", "max_runtime=50"]
    for attempt, asked in ((1, "runtime=30, gpu=0, mem_mb=2000"), (3, "runtime=50, gpu=0, mem_mb=6000")):
        done = snakemake(tmp_path, *words, "--attempt", str(attempt))
        assert done.stdout.count(asked) == 4, done.stdout
