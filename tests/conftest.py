"""Snakemake as a person calls it, and the results of the small suite, made once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def snakemake():
    """Run Snakemake in a folder, as in a fresh checkout, with the words that a person would type."""

    def run(folder, *words):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["snakemake", "--snakefile", REPOSITORY / "Snakefile", "--directory", folder, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env=os.environ | {"PATH": path},
        )

    return run


@pytest.fixture(scope="session")
def smoke(tmp_path_factory, snakemake):
    """The folder in which ``config/smoke.yaml`` has been run, once for all tests; they only look at it.

    It is the one that ``NLS_TEST_SMOKE`` names, where Snakemake runs what is missing or has changed, or else one of
    this session.
    """
    session = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session = session.parent
    folder = Path(os.environ.get("NLS_TEST_SMOKE") or session / "smoke").resolve()
    folder.mkdir(exist_ok=True)
    made = session / "smoke.made"
    with FileLock(session / "smoke.lock"):
        if not made.exists():
            done = snakemake(folder, "--cores", "2", "--configfile", REPOSITORY / "config/smoke.yaml")
            assert done.returncode == 0, done.stdout
            made.touch()
    return folder
