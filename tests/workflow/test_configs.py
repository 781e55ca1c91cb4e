"""Configs by Snakemake: the paper's own, a user's loss, words that a shell would carry out, mistakes."""

import csv
import re

import pytest
import yaml

pytestmark = pytest.mark.workflow

OWN_LOSSES = """
class Squared:
    def __init__(self, weight):
        self.weight = weight

    def __call__(self, network, points, labels):
        return self.weight * (network(points).flatten() - labels).square().mean()


class Overflowing(Squared):
    pass
"""

# A folder whose name a shell would carry out, if it were not quoted.
DATA = "my $(touch executed) data; touch executed"
CONFIG = {
    "suite": "small",
    "data_root": DATA,
    "mirror": "x'; touch executed; $(touch executed) `touch executed`",
    "experiments": {
        "figure2": {
            "seeds_per_job": 2,
            "training": {"steps": 8},
            "datasets": {
                "digits": {
                    "fractions": [0.05],
                    "seeds": 2,
                    "losses": {
                        "cross_entropy": {},
                        "own.py:Squared": {"weight": 2.0},
                        "own.py:Overflowing": {"weight": 1e39},
                    },
                }
            },
        },
    },
}


@pytest.fixture(scope="module")
def suite(tmp_path_factory, snakemake):
    """A folder in which a small suite of losses, one of which fails, has been run, and what Snakemake printed."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "own.py").write_text(OWN_LOSSES)
    (folder / "small.yaml").write_text(yaml.safe_dump(CONFIG))
    done = snakemake(folder, "--cores", "2", "--configfile", "small.yaml")
    assert done.returncode == 1, done.stdout
    return folder, done.stdout


def test_words_of_the_config_are_not_carried_out(suite):
    folder, _ = suite
    assert (folder / DATA / "digits/complete.json").exists()
    assert not list(folder.rglob("executed"))


def test_a_failing_run_fails_alone_and_its_cell_says_why(suite):
    folder, printed = suite
    assert "the loss is" in printed
    runs = folder / "results/small/figure2"
    complete = {path.parent.name for path in runs.glob("*/metrics.json")}
    assert complete == {f"digits-0.05-{loss}-seeds000-001" for loss in ("cross_entropy", "Squared")}
    text = (folder / "reports/small/figure2.md").read_text()
    assert re.search(
        r"missing: digits-0.05-Overflowing-seeds000-001 \(RunError: the loss is .* seed 0.*log: ", text
    )
    assert "Overflowing |" not in text
    rows = csv.DictReader((folder / "reports/small/figure2.csv").open())
    assert [(row["loss"], row["seeds"]) for row in rows] == [("Squared", "2"), ("cross-entropy", "2")]


def test_the_report_is_made_of_what_is_there(suite):
    folder, _ = suite
    page = (folder / "reports/small/report.html").read_text()
    assert "digits-0.05-Overflowing-seeds000-001: RunError" in page
    assert "Squared" in page
    assert re.search(r"figure2</td><td>2 of 3", page)


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


@pytest.fixture(scope="module")
def plan(tmp_path_factory, snakemake):
    """What Snakemake would do without a word about the config."""
    done = snakemake(tmp_path_factory.mktemp("paper"), "--cores", "1", "--dry-run")
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_paper_is_the_default(plan):
    assert "results/paper/figure2/mnist-0.005-geometric_svm-seeds000-099" in plan


def test_the_paper_lists_its_18_trainings(plan):
    assert len(re.findall(r"^Job \d+: table1 ", plan, re.MULTILINE)) == 18
    assert "table1 cifar10-resnet18-ours-0.045: eps_correct 0.045, eps_wrong 0.05" in plan


def test_the_paper_lists_ten_scans_of_every_method_with_the_papers_settings(plan):
    assert len(re.findall(r"^Job \d+: table2 ", plan, re.MULTILINE)) == 80
    settings = "width 512, depth 8, steps 50000, batch 10000, optimizer adam, learning_rate 0.0001"
    assert plan.count(settings) == 10
