"""Table 1 and the black-box tables by Snakemake, on the digits."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ROBUST = ("madry", "trades", "ours", "mma")


def snakemake(folder, *targets, config, options=()):
    """Run Snakemake in an empty directory, as in a fresh checkout."""
    return subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "snakemake",
                "--cores",
                "2",
                "--snakefile",
                str(REPOSITORY / "Snakefile"),
            ),
            *(
                "--directory",
                str(folder),
                "--configfile",
                str(REPOSITORY / "config" / config),
                *options,
                "--",
                *targets,
            ),
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(folder)},
    )


@pytest.mark.workflow
def test_the_smoke_suite_trains_attacks_and_reports(tmp_path):
    done = snakemake(tmp_path, "table1", "blackbox", config="smoke.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
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
def test_the_paper_config_lists_its_18_trainings(tmp_path):
    done = snakemake(tmp_path, "table1", config="paper.yaml", options=["--dry-run"])
    assert done.returncode == 0, done.stdout + done.stderr
    listed = done.stdout + done.stderr
    assert listed.count("train and attack ") == 18
    assert "train and attack cifar10-resnet18-ours-0.045: eps_correct 0.045, eps_wrong 0.05" in listed
