"""Table 2 and Figure 3 by Snakemake, on two virtual bodies."""

import csv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.workflow
def test_the_smoke_suite_reconstructs_measures_and_draws(snakemake, tmp_path):
    done = snakemake(
        tmp_path, "table2", "figure3", "--cores", "2", "--configfile", str(REPOSITORY / "config/smoke.yaml")
    )
    assert done.returncode == 0, done.stdout
    reports = tmp_path / "reports" / "smoke"
    for name in ("figure3", "figure3-bodies", "figure3-curves"):
        assert (reports / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "https://" not in (reports / "figure3.html").read_text(encoding="utf-8").split("<script")[0]

    rows = {row["method"]: row for row in csv.DictReader((reports / "table2.csv").open(encoding="utf-8"))}
    for norm in ("L1", "L2"):
        column = f"Chamfer {norm} ×10³ (here)"
        mean = {name: float(rows[name][column].split()[0]) for name in ("levelset", "atlasnet-25", "poisson")}
        assert mean["levelset"] < mean["atlasnet-25"]
        assert mean["levelset"] < 3 * float(rows["levelset"][f"floor {norm} ×10³"])
    assert rows["levelset"]["scans (here)"] == "2"


@pytest.mark.workflow
def test_the_paper_config_lists_ten_scans_of_every_method_with_the_papers_settings(snakemake, tmp_path):
    done = snakemake(
        tmp_path, "table2", "--cores", "2", "--dry-run", "--configfile", str(REPOSITORY / "config/paper.yaml")
    )
    assert done.returncode == 0, done.stdout
    listed = done.stdout
    assert listed.count("reconstruct and measure ") == 60
    settings = "width 512, depth 8, steps 50000, batch 10000, optimizer adam, learning_rate 0.0001"
    assert listed.count(settings) == 10
