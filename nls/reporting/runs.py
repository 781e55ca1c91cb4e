"""Run directories as evidence: what a suite asked for, what is there, and why something is not."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nls.engine.runs import FAILURE, METRICS, PROVENANCE
from nls.engine.settings import read_yaml
from nls.errors import UserError

RESULTS, REPORTS = Path("results"), Path("reports")


@dataclass(frozen=True)
class RunRecord:
    """One run, complete or missing.

    Attributes:
        directory: the run directory, whether or not it exists.
        spec: the resolved spec.
        metrics: the numbers of a complete run; None for a missing one.
        missing_because: why there are no metrics; None for a complete run.
    """

    directory: Path
    spec: dict[str, Any]
    metrics: dict[str, Any] | None
    missing_because: str | None

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the numbers of a complete run come from."""
        return json.loads((self.directory / PROVENANCE).read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Evidence:
    """The run directories of one suite and of its reference in git."""

    suite: str
    results: Path = RESULTS

    def here(self, experiment: str) -> list[RunRecord]:
        """Return every run that the suite asks for, missing ones included, in the order of their names."""
        specs = sorted((self.results / self.suite / "specs" / experiment).glob("*.yaml"))
        return [_record(self.results / self.suite / experiment / path.stem, path) for path in specs]

    def complete(self, experiment: str) -> list[Path]:
        """Return the directories of this machine's complete runs."""
        return [record.directory for record in self.here(experiment) if record.metrics is not None]

    def missing(self, experiment: str) -> list[RunRecord]:
        """Return the runs that the suite asks for and that are not there."""
        return [record for record in self.here(experiment) if record.metrics is None]

    def reference(self, experiment: str) -> list[Path]:
        """Return the complete runs kept in git under ``results/reference/<suite>``."""
        folder = self.results / "reference" / self.suite / experiment
        return [path.parent for path in sorted(folder.glob(f"*/{METRICS}"))]

    def require_suite(self) -> None:
        """Raise UserError where the suite has no specs, so that a misspelt name is not an empty table."""
        if not (self.results / self.suite / "specs").is_dir():
            known = sorted(path.parent.name for path in self.results.glob("*/specs"))
            found = f"; there is {', '.join(known)}" if known else ""
            raise UserError(
                f"{self.results / self.suite}: no such suite{found}; "
                f"run snakemake --configfile config/{self.suite}.yaml"
            )


def read_run(directory: Path) -> RunRecord:
    """Read a complete run directory."""
    return _record(directory, directory / "spec.yaml")


def missing_notes(records: Sequence[RunRecord]) -> list[str]:
    """Return one line for each missing run: its name, the reason, and where its log is."""
    return [
        f"missing: {record.directory.name} ({record.missing_because}; log: {record.directory / 'run.log'})"
        for record in records
    ]


def _record(directory: Path, spec: Path) -> RunRecord:
    metrics, failure = directory / METRICS, directory / FAILURE
    if metrics.exists():
        return RunRecord(directory, read_yaml(spec), json.loads(metrics.read_text(encoding="utf-8")), None)
    reason = "not run"
    if failure.exists():
        reason = json.loads(failure.read_text(encoding="utf-8"))["reason"]
    elif (directory / "run.log").exists():
        reason = "stopped before its end"
    return RunRecord(directory, read_yaml(spec), None, reason)
