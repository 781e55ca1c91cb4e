import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


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
