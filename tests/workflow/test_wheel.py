"""The built wheel works in an environment of its own, outside the checkout."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from pages import commands, worked_example

from nls.networks.classifiers import build_classifier

pytestmark = pytest.mark.workflow

ROOT = Path(__file__).parents[2]
FACTORY = """
from nls.networks.classifiers import build_classifier


def network():
    return build_classifier("convnet-small", 1, 8, 10)
"""


@pytest.fixture(scope="module")
def nls(tmp_path_factory):
    """Return a function that runs the wheel's ``nls``, or another program of its environment, in a folder."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "nls", source / "nls", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    # The packages that nls needs come from here; the .pth files beside them, and with them this checkout, do not.
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = folder / "venv/bin/python"
    # From a folder, pip builds the wheel and installs that.
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", python, "install"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--no-compile", source], check=True)

    def run(place, *words, program=("nls",)):
        words = [folder / "venv/bin" / program[0], *program[1:], *words]
        path = f"{folder / 'venv/bin'}{os.pathsep}{os.environ['PATH']}"
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
            "PATH": path
        }
        return subprocess.run(words, cwd=place, capture_output=True, text=True, env=environment)

    run.packages = packages
    return run


@pytest.fixture
def model(tmp_path):
    """Write a model of one's own and a dataset; return the words of a quick attack on it."""
    (tmp_path / "model.py").write_text(FACTORY)
    torch.save(build_classifier("convnet-small", 1, 8, 10).state_dict(), tmp_path / "weights.pt")
    draws = np.random.default_rng(0)
    images, labels = draws.integers(0, 256, (20, 8, 8, 1), dtype=np.uint8), np.arange(20) % 10
    np.savez(tmp_path / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    words = (
        "attack --model model.py:network --weights weights.pt --dataset data.npz --eps 0.1 --out attack.json"
    )
    return [*words.split(), "--apgd-steps", "2", "--fab-steps", "2", "--queries", "2", "--steps", "2"]


def test_attack_runs(nls, tmp_path, model):
    done = nls(tmp_path, *model)
    assert done.returncode == 0, done.stderr
    assert set(json.loads((tmp_path / "attack.json").read_text())["robust_accuracy"]) >= {"autoattack", "min"}


def test_without_torchattacks_one_line_says_what_is_missing(nls, tmp_path, model):
    missing = nls.packages / "torchattacks.py"
    missing.write_text("raise ImportError\n")
    try:
        done = nls(tmp_path, *model)
    finally:
        missing.unlink()
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("nls: ")
    assert "pip install --no-deps torchattacks" in done.stderr
    assert "Traceback" not in done.stderr


def test_reconstruct_runs(nls, tmp_path):
    points = np.random.default_rng(0).normal(size=(500, 3))
    np.save(tmp_path / "sphere.npy", points / np.linalg.norm(points, axis=1, keepdims=True))
    done = nls(
        tmp_path, "reconstruct", "sphere.npy", "-o", "sphere.ply", "--steps", "5", "--resolution", "16"
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sphere.ply").exists()


def test_type_checkers_may_read_it(nls):
    assert (nls.packages / "nls/py.typed").exists()


def test_the_report_has_its_captions(nls, smoke, tmp_path):
    shutil.copytree(smoke / "results/smoke/specs/figure1", tmp_path / "results/smoke/specs/figure1")
    (tmp_path / "reports/smoke").mkdir(parents=True)
    (tmp_path / "reports/smoke/figure1.svg").write_text("<svg/>")
    done = nls(tmp_path, "report", "--suite", "smoke")
    assert done.returncode == 0, done.stderr
    assert "Figure 1: decision boundaries" in (tmp_path / "reports/smoke/report.html").read_text()


def test_the_worked_example_is_one_more_row_of_the_table(nls, smoke, tmp_path):
    """As docs/add_method.md says, in a folder with the small suite's data; one epoch, and few images attacked."""
    page = ROOT / "docs/add_method.md"
    worked_example(tmp_path)
    config = tmp_path / "my_suite.yaml"
    text = config.read_text()
    shorter = {
        "&table1-training {epochs: 8,": "&table1-training {epochs: 1,",
        "milestones: [6, 7]": "milestones: []",
        "        test_images: 200\n": "        test_images: 10\n",
        "curve_images: 100": "curve_images: 10",
    }
    for part, short in shorter.items():
        assert text.count(part) == 1, part
        text = text.replace(part, short)
    config.write_text(text)
    shutil.copytree(smoke / "data/digits", tmp_path / "data/digits")
    words = next(
        words for _, words in commands(page) if words.startswith("snakemake") and "my_suite.yaml" in words
    )
    # Of the target's files the table alone, which needs all of its runs.
    words = words.replace(" table1 ", " reports/my_suite/table1.csv ").split()
    snakemake = ("python", "-m", words[0])
    done = nls(tmp_path, *words[1:], "--snakefile", ROOT / "Snakefile", program=snakemake)
    assert done.returncode == 0, done.stdout + done.stderr
    table = (tmp_path / "reports/my_suite/table1.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| digits | convnet-small |")]
    assert len(rows) == len(list((smoke / "results/smoke/table1").iterdir())) + 1
    (mine,) = [row for row in rows if "my_method" in row]
    assert len(re.findall(r"\d+\.\d", mine)) > 5
