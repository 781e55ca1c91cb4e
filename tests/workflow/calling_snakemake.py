"""Snakemake as a person calls it, in processes forked from one that has imported it and nls already: a second each,
where a new interpreter takes five."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from nls.experiments import RECIPES

REPOSITORY = Path(__file__).parents[2]

_context = multiprocessing.get_context("forkserver")
_RECIPES = [f"nls.experiments.{name.replace('-', '_')}" for name in RECIPES]
_context.set_forkserver_preload(
    ["snakemake.cli", "snakemake_executor_plugin_slurm", "yte", *_RECIPES, "nls.reporting.products"]
)


def call_snakemake(folder, *words):
    """Run Snakemake in a folder, as in a fresh checkout, with the words that a person would type."""
    words = ["snakemake", "--snakefile", REPOSITORY / "Snakefile", "--directory", folder, *words]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "log"
        process = _context.Process(
            target=_carry_out, args=([str(word) for word in words], folder, os.environ | {"PATH": path}, log)
        )
        process.start()
        process.join()
        return subprocess.CompletedProcess(words, process.exitcode, log.read_text(encoding="utf-8"))


def _carry_out(words, folder, environment, log):
    from snakemake.cli import main

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = words
    main(words[1:])
