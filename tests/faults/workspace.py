"""A folder with a small suite in which verbs and Snakemake run, and what runs leave there."""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
FAULTS = Path(__file__).with_name("faults.yaml")
UNREPEATABLE = {"provenance.json", "run.log", "benchmark.tsv", ".lock", ".finished.json"}


@dataclass(frozen=True)
class Workspace:
    """A folder in which the suite of ``faults.yaml`` can be run, by verbs or by Snakemake."""

    folder: Path

    suite: str

    @property
    def results(self) -> Path:
        return self.folder / "results" / self.suite

    def spec(self, run: str) -> Path:
        return self.results / "specs" / f"{run}.yaml"

    def runs(self) -> list[str]:
        specs = self.results / "specs"
        return sorted(str(path.relative_to(specs).with_suffix("")) for path in specs.glob("*/*.yaml"))

    def verb(self, run: str, out: Path) -> list[str]:
        return ["run", str(self.spec(run)), "--out", str(out)]

    def snakemake(
        self, *words: str, output: int | IO[str] = subprocess.PIPE, program: Path | None = None
    ) -> subprocess.Popen[str]:
        """Start Snakemake, or a program of Python's that is it."""
        command = ["snakemake"] if program is None else [sys.executable, str(program)]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
        return subprocess.Popen(
            [*command, *words, "--configfile", "config.yaml"],
            cwd=self.folder,
            env=environment,
            text=True,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def make_workspace(
    folder: Path, experiments: tuple[str, ...] | None = None, config: Path = FAULTS
) -> Workspace:
    """Copy what Snakemake needs into ``folder``, and the config; only some experiments, if they are named."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(REPOSITORY / "Snakefile", folder)
    for name in ("workflow", "config"):
        shutil.copytree(REPOSITORY / name, folder / name, dirs_exist_ok=True)
    (folder / "profiles").symlink_to("workflow/profiles")
    settings = yaml.safe_load(config.read_text())
    if experiments is not None:
        settings["experiments"] = {name: settings["experiments"][name] for name in experiments}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    return Workspace(folder, settings["suite"])


def results_of(directory: Path) -> dict[str, str]:
    """Return a fingerprint of every file of a run that must not depend on what happened on the way.

    Files that no finished run should have, such as a checkpoint, count too.
    """
    return {
        str(path.relative_to(directory)): _fingerprint(path)
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in UNREPEATABLE
    }


def _fingerprint(path: Path) -> str:
    if path.suffix != ".npz":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    with np.load(path) as arrays:  # the archive's own time stamps differ
        parts = [(name, arrays[name].dtype.str, arrays[name].tobytes()) for name in sorted(arrays.files)]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def read(file: Path) -> str:
    """Return the text of a file that may not be there yet, such as a log that Snakemake begins anew."""
    return file.read_text() if file.exists() else ""
