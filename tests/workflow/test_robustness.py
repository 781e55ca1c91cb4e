"""Table 1 and the black-box tables by Snakemake, on the digits."""

import csv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ROBUST = ("madry", "trades", "ours", "mma")


@pytest.mark.workflow
def test_the_smoke_suite_trains_attacks_and_reports(snakemake, tmp_path):
    done = snakemake(
        tmp_path, "table1", "blackbox", "--cores", "2", "--configfile", REPOSITORY / "config/smoke.yaml"
    )
    assert done.returncode == 0, done.stdout
    reports = tmp_path / "reports" / "smoke"
    for name in ("table1", "blackbox"):
        for ending in ("csv", "md", "tex"):
            assert (reports / f"{name}.{ending}").stat().st_size > 0
    for name in ("table1-eps", "table1-steps", "table1-training", "blackbox"):
        assert (reports / f"{name}.png").read_bytes().startswith(b"\x89PNG")

    rows = {row["method"]: row for row in csv.DictReader((reports / "table1.csv").open(encoding="utf-8"))}
    assert set(rows) == {"standard", "large-margin", *ROBUST}
    for method in ROBUST:
        assert float(rows[method]["clean (here)"]) > 95
        # The methods work: far more images withstand everything than after standard training.
        assert float(rows[method]["min (here)"]) > float(rows["standard"]["min (here)"]) + 25

    transfer = list(csv.DictReader((reports / "blackbox.csv").open(encoding="utf-8")))
    assert len(transfer) == 8
    for row in transfer:
        if row["points of"] == "standard":
            assert float(row["standard"]) < min(
                float(row[name]) for name in row if name.startswith(("madry", "ours"))
            )


@pytest.mark.workflow
def test_the_paper_config_lists_its_18_trainings(snakemake, tmp_path):
    done = snakemake(
        tmp_path, "table1", "--cores", "2", "--dry-run", "--configfile", REPOSITORY / "config/paper.yaml"
    )
    assert done.returncode == 0, done.stdout
    listed = done.stdout
    assert listed.count("train and attack ") == 18
    assert "train and attack cifar10-resnet18-ours-0.045: eps_correct 0.045, eps_wrong 0.05" in listed
