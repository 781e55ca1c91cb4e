"""Snakemake as a person calls it, and the results of the small suite, made once."""

import os
from pathlib import Path

import pytest
from filelock import FileLock

SMOKE = Path(__file__).parents[1] / "config/smoke.yaml"


@pytest.fixture(scope="session")
def snakemake():
    """Run Snakemake in a folder, as in a fresh checkout, with the words that a person would type."""
    # It imports nls, and that torch, which this process does not need if workers run the tests.
    from calling_snakemake import call_snakemake

    return call_snakemake


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
            done = snakemake(folder, "--cores", "2", "--configfile", SMOKE)
            assert done.returncode == 0, done.stdout
            made.touch()
    return folder
