"""Every command of the pages is carried out in smoke size: the same words, and behind them some that make it quick.

``nls`` and Snakemake run in this process. Snakemake plans its jobs for real and stops there (a dry run), once where
several pages have the same words; ``test_examples.py`` runs what the pages' own configs plan.
"""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from glob import glob
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from pages import PAGES, ROOT, carry_out, commands, worked_example, write_files
from snakemake.cli import main as snakemake_main
from torch import nn

from nls.cli import main
from nls.data import images
from nls.data.ply import write_ply
from nls.engine.yaml_files import read_yaml
from nls.experiments import doctor, load_suite

pytestmark = pytest.mark.workflow

# Of two equal options the last counts.
SMALLER = {
    "nls attack": "--limit 20 --steps 2 --restarts 1 --apgd-steps 2 --fab-steps 2 --queries 2 --out attack.json",
    "nls reconstruct": "--max-points 1000 --steps 20 --resolution 16",
    "nls mesh": "--resolution 24",
    "nls compare": "--points 500",
    "nls chamfer": "--points 500",
    "nls data scan": "--points 500",
    "snakemake": "--dry-run --quiet",
    "python -m benchmarks.table1_cost": "--config config/smoke.yaml --dataset digits",
    "python -m benchmarks.resolution": "--resolutions 16",
    "python tests/attacks/test_plain_pgd.py": "--examples 20 --steps 2",
}
# Runs of the small suite for those that take a night.
HERE = {
    "results/paper/table1/mnist-*": "results/smoke/table1/digits-convnet-small-standard",
    "results/bodies/table2/levelset-000 results/bodies/table2/igr-000 results/bodies/table2/poisson-000": (
        "results/smoke/table2/levelset-000"
    ),
}
# What `.ci/run` does as a whole, in a clone; the container is built by hand (CONTRIBUTING.md says when).
ELSEWHERE = ("git clone", "cd", "make", "pytest", "podman", "tests/container/build.sh")
MODEL = "from torch import nn\n\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
PREPARED = (
    "nls data fetch mnist --root data",
    "nls data fetch cifar10 --root data",
    "nls attack --model model.py:net --weights weights.pt --dataset mnist --eps 0.1 --attacks pgd-xent "
    "--save-adversarial points.npz",
    "nls reconstruct scan.ply -o any.ply --save-network network.safetensors",
)


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """Images that are named like the official sets."""
    folder = tmp_path_factory.mktemp("mirror")
    draws = np.random.default_rng(0)
    for name, shape in (("mnist", (28, 28)), ("fashion_mnist", (28, 28)), ("cifar10", (32, 32, 3))):
        pixels, labels = draws.integers(0, 256, (40, *shape), dtype=np.uint8), np.arange(40) % 10
        np.savez(folder / f"{name}.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    return folder


@pytest.fixture(scope="module")
def clone(tmp_path_factory, mirror, smoke):
    """A folder like a clone after ``make smoke``, with the files that the pages take for a person's own."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("results", "data", "gpu0/results", "gpu1/results"):
        (folder / name).mkdir(parents=True)
    for name in ("config", "workflow", "profiles", "Snakefile", "results/reference"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    for name in ("results/smoke", "data/digits", "data/bodies", "data/curves"):
        shutil.copytree(smoke / name, folder / name)
    with pytest.MonkeyPatch.context() as patch:
        _enter(folder, mirror, patch)
        _write_own_files()
        for command in PREPARED:
            assert carried_out(command) == 0
        _write_specs(*(Path(f"config/{suite}.yaml") for suite in ("paper", "mini", "lambda")))
    return folder


def _enter(folder, mirror, patch):
    patch.chdir(folder)
    patch.syspath_prepend(folder)
    patch.setenv("NLS_MIRROR", str(mirror))
    patch.setattr(images, "KNOWN_FINGERPRINTS", {})
    patch.setattr(sys, "argv", sys.argv)
    # A minute of real training steps, and a cluster that may be there: tests/experiments/test_doctor.py.
    patch.setattr(doctor, "_print_costs", lambda left: [])
    patch.setattr(doctor, "_slurm", lambda: iter(()))


def _write_own_files():
    torch.manual_seed(0)
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).state_dict(), "weights.pt")
    for name in ("model.py", "my_model.py"):
        Path(name).write_text(MODEL)
    ball = trimesh.creation.icosphere(4)
    ball.export("truth.ply")
    trimesh.PointCloud(ball.vertices).export("scan.ply")
    for name in ("mesh.ply", "bunny.ply"):
        trimesh.creation.icosphere(1).export(name)
    for part in ("scans/tr_scan_000.ply", "registrations/tr_reg_000.ply"):
        write_ply(Path("MPI-FAUST/training") / part, np.asarray(ball.vertices))
    shutil.make_archive("MPI-FAUST", "zip", ".", "MPI-FAUST")


def _write_specs(*configs):
    for config in configs:
        load_suite(read_yaml(config), str(config)).write_specs()


@pytest.fixture(scope="module")
def planned():
    """Snakemake's commands of the pages so far."""
    return set()


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_every_command_runs(clone, mirror, page, planned, monkeypatch):
    _enter(clone, mirror, monkeypatch)
    _write_own_files()
    write_files(page, clone)
    if page.name.startswith("add_"):
        carry_out(ROOT / "docs/add_scan.md", clone)
        carry_out(page, clone)
        worked_example(clone)
        _write_specs(*(config for config in Path().glob("my_*.yaml") if config.stem != "my_suite"))
    for block, command in commands(page):
        if not command.startswith(ELSEWHERE) and command not in planned:
            assert carried_out(command) == 0, f"{block}: {command}"
            if command.startswith("snakemake"):
                planned.add(command)


def carried_out(command):
    """Carry a command out, in this process where it is the project's, and return its exit code."""
    for there, here in HERE.items():
        command = command.replace(there, here)
    command = re.sub(r"^(\w+=\S+ )+|\s*&$", "", os.path.expandvars(command))
    smaller = next((words for start, words in SMALLER.items() if command.startswith(start)), "")
    words = [name for word in shlex.split(f"{command} {smaller}") for name in sorted(glob(word)) or [word]]
    match words:
        case ["nls", *rest]:
            return exit_code(main, rest)
        case ["snakemake", *rest]:
            return exit_code(snakemake_main, rest)
        case ["python", "-m", module, *rest]:
            sys.argv = [module, *rest]
            return exit_code(runpy.run_module, module, run_name="__main__")
        case ["python", script, *rest]:
            sys.argv = [script, *rest]
            return exit_code(runpy.run_path, str(ROOT / script), run_name="__main__")
    return subprocess.run(["bash", "-c", command]).returncode


def exit_code(call, *words, **options):
    try:
        result = call(*words, **options)
    except SystemExit as stop:
        return stop.code or 0
    return result if isinstance(result, int) else 0
