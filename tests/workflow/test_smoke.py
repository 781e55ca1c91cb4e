"""The smoke suite: what it promises about its run directories, and what its tables must show."""

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

REPOSITORY = Path(__file__).parents[2]
SMOKE = REPOSITORY / "config/smoke.yaml"
ROBUST = ("madry", "trades", "ours", "mma", "ours-linf")


def rows(folder, table):
    with (folder / f"reports/smoke/{table}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def metrics(folder):
    return {path.parent.name: path.read_bytes() for path in folder.glob("results/smoke/*/*/metrics.json")}


def written(folder):
    """Every file of the suite's results and report, with its time."""
    paths = [path for path in folder.glob("re*/smoke/**/*") if path.is_file()]
    return {path: path.stat().st_mtime_ns for path in paths}


def test_every_table_and_figure_is_there(smoke):
    reports = smoke / "reports/smoke"
    for name in (
        *("figure2", "table1", "table1-differences", "blackbox"),
        *("table2", "table2-differences", "table2-scans", "universality"),
    ):
        for ending in ("csv", "md", "tex"):
            assert (reports / f"{name}.{ending}").stat().st_size > 0
    for name in (
        *("figure1", "figure2", "table1-seeds", "table1-eps", "table1-steps", "table1-training", "blackbox"),
        *("figure3", "figure3-bodies", "figure3-curves", "universality"),
    ):
        for ending, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
            assert (reports / f"{name}.{ending}").read_bytes().startswith(start)
    assert "//" not in (reports / "figure3.html").read_text(encoding="utf-8").split("<script")[0]


def test_the_report_shows_every_picture_and_counts_the_runs(smoke):
    page = (smoke / "reports/smoke/report.html").read_text()
    pictures = list((smoke / "reports/smoke").glob("*.svg"))
    assert page.count('src="data:image/svg+xml,') == len(pictures) >= 10
    assert "{{" not in page
    assert len(page) < 8e6
    links = re.findall(r'href="([^"#][^"]*)"', page)
    assert len(links) > 100
    for link in links:
        assert link.startswith("data:") or (smoke / "reports/smoke" / link).exists(), link
    for experiment, runs in (("figure1", 4), ("figure2", 6), ("table1", 7), ("table2", 8), ("figure3", 2)):
        assert re.search(rf"{experiment}</td><td>{runs} of {runs}\b", page)


def test_panels_b_and_c_keep_the_boundary_farther_away_than_a(smoke):
    margins = {
        panel: json.loads((smoke / f"results/smoke/figure1/{panel}/metrics.json").read_text())
        for panel in ("cross_entropy", "linf", "l2")
    }
    for norm in ("linf", "l2"):
        key = f"smallest_margin_{norm}"
        assert margins[norm][key] > margins["cross_entropy"][key]
        assert margins[norm][key] > 0.8 * margins[norm]["eps"]


def test_robust_training_makes_robust(smoke):
    found = {row["method"]: row for row in rows(smoke, "table1")}
    assert set(found) == {"standard", "large-margin", *ROBUST}
    for method in ROBUST:
        assert float(found[method]["clean (here)"]) > 95
        # The methods work: far more images withstand everything than after standard training.
        assert float(found[method]["min (here)"]) > float(found["standard"]["min (here)"]) + 25


def test_points_made_on_a_standard_network_fool_it_more_than_robust_ones(smoke):
    transfer = rows(smoke, "blackbox")
    assert len(transfer) == 8
    for row in transfer:
        if row["points of"] == "standard":
            assert float(row["standard"]) < min(
                float(row[name]) for name in row if name.startswith(("madry", "ours"))
            )


def test_level_sets_are_closer_to_the_truth_than_atlasnet(smoke):
    found = {row["method"]: row for row in rows(smoke, "table2")}
    for norm in ("L1", "L2"):
        column = f"Chamfer {norm} ×10³ (here)"
        mean = {
            name: float(found[name][column].split()[0])
            for name in ("levelset", "levelset-paper", "atlasnet-25", "poisson")
        }
        assert mean["levelset"] < mean["levelset-paper"] < mean["atlasnet-25"]
        assert mean["levelset"] < 3 * float(found["levelset"][f"floor {norm} ×10³"])
    assert found["levelset"]["scans (here)"] == "2"


def test_snakemake_makes_its_own_report(smoke, snakemake, tmp_path):
    done = snakemake(smoke, "--configfile", SMOKE, "--report", tmp_path / "snakemake.html")
    assert done.returncode == 0, done.stdout
    page = (tmp_path / "snakemake.html").read_text()
    for words in ("figure1.png", "figure2.csv", "Blue and red dots are training points", "Tables"):
        assert words in page


def test_run_again_it_does_nothing(smoke, snakemake):
    done = snakemake(smoke, "--cores", "2", "--configfile", SMOKE)
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout


def test_a_deleted_run_comes_back_alone_with_the_same_bytes_on_one_core(smoke, snakemake, tmp_path):
    gone = "digits-0.02-hinge-seeds000-004"
    for name in (".snakemake/metadata", "results/smoke"):
        shutil.copytree(smoke / name, tmp_path / name)
    (tmp_path / "data").symlink_to(smoke / "data")
    shutil.rmtree(tmp_path / "results/smoke/figure2" / gone)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("results/smoke/*/*/metrics.json")}
    done = snakemake(
        tmp_path, f"results/smoke/figure2/{gone}/metrics.json", "--cores", "1", "--configfile", SMOKE
    )
    assert done.returncode == 0, done.stdout
    assert metrics(tmp_path) == metrics(smoke)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_a_printed_command_works_outside_snakemake(smoke, snakemake, tmp_path):
    done = snakemake(smoke, "--cores", "1", "--configfile", SMOKE, "--dry-run", "-p", "--forceall")
    run = "digits-0.02-cross_entropy-seeds000-004"
    command = next(line for line in done.stdout.splitlines() if "nls run" in line and run in line)
    words = shlex.split(command.split("command: ")[-1].split(" > ")[0])
    words[words.index("--out") + 1] = str(tmp_path / "out")
    subprocess.run(
        words,
        cwd=smoke,
        check=True,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
    )
    assert (tmp_path / "out/metrics.json").read_bytes() == metrics(smoke)[run]


def test_a_changed_setting_runs_only_what_depends_on_it(smoke, snakemake, tmp_path):
    config = yaml.safe_load(SMOKE.read_text())
    losses = config["experiments"]["figure2"]["datasets"]["digits"]["losses"]
    losses["geometric_svm"]["regularization"] = 0.1
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(config))
    before = written(smoke)
    done = snakemake(smoke, "figure2", "--cores", "2", "--configfile", tmp_path / "changed.yaml", "--dry-run")
    assert re.search(r"figure2_run +2\n", done.stdout), done.stdout
    assert written(smoke) == before
