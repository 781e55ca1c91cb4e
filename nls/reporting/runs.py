"""Run directories as evidence: what a suite asked for, what is there, and why something is not."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nls.engine.finished import (
    FAILURE,
    LOG,
    METRICS,
    PROVENANCE,
    SPEC,
    DamagedRunError,
    changed_input,
    read_json,
    require_whole,
)
from nls.engine.settings import deciding, first_difference
from nls.engine.yaml_files import read_yaml
from nls.errors import UserError, did_you_mean
from nls.reporting.kept_runs import kept_file, read_kept

RESULTS, REPORTS = Path("results"), Path("reports")
_NOT_RUN = "not run"


@dataclass(frozen=True)
class RunRecord:
    """One run, complete or missing.

    Attributes:
        directory: the run directory, whether or not it exists; a run of the reference has none in git.
        spec: the spec that the suite asks for; empty if its file cannot be read.
        metrics: the numbers of a complete run; None for a missing one.
        missing_because: why there are no metrics; None for a complete run.
        provenance: where the numbers of a complete run come from.
    """

    directory: Path
    spec: dict[str, Any]
    metrics: dict[str, Any] | None
    missing_because: str | None
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """The run directories of one suite and of its reference in git.

    Each directory is read and its files are compared with their checksums once, at the first look.
    """

    suite: str
    results: Path = RESULTS
    _seen: dict[Path, RunRecord] = field(default_factory=dict, init=False, repr=False, compare=False)

    def here(self, experiment: str) -> list[RunRecord]:
        """Return every run that the suite asks for, missing ones included, in the order of their names.

        A run counts as missing if it was made with other settings than the suite's, or if one of its files is
        damaged.
        """
        specs = sorted((self.results / self.suite / "specs" / experiment).glob("[!.]*.yaml"))
        return [_asked_for(self.results / self.suite / experiment / path.stem, self._seen) for path in specs]

    def complete(self, experiment: str) -> list[RunRecord]:
        """Return this machine's complete runs."""
        return [record for record in self.here(experiment) if record.metrics is not None]

    def missing(self, experiment: str) -> list[RunRecord]:
        """Return the runs that the suite asks for and that are not there."""
        return [record for record in self.here(experiment) if record.metrics is None]

    def reference(self, experiment: str) -> list[RunRecord]:
        """Return the runs kept in git, in ``results/reference/<suite>/<experiment>.csv``."""
        file = kept_file(self.results, self.suite, experiment)
        return [
            RunRecord(file.with_suffix("") / name, kept["spec"], kept["metrics"], None, kept["provenance"])
            for name, kept in read_kept(file).items()
        ]

    def drawn(self, experiment: str) -> tuple[list[RunRecord], str]:
        """Return the runs of a figure that needs metrics alone, and what its titles add for them.

        They are this machine's complete runs, or the whole reference where there is none.
        """
        complete = self.complete(experiment)
        return (complete, "") if complete else (self.reference(experiment), ", reference")

    def outdated(self, experiment: str) -> list[str]:
        """Return a line that says how many runs of the reference were made with other settings than the suite's.

        They are shown all the same: figures of another setting are worth comparing, once that is known.
        """
        kept = {record.directory.name: record for record in self.reference(experiment)}
        pairs = [
            (one, kept[one.directory.name]) for one in self.here(experiment) if one.directory.name in kept
        ]
        differences = [
            f"{record.directory.name}: {difference}"
            for record, old in pairs
            if (difference := first_difference(deciding(old.spec), deciding(record.spec)))
        ]
        if not differences:
            return []
        return [
            f"reference: {len(differences)} of {len(kept)} runs of {experiment} were made with other settings than "
            f"this suite's ({differences[0]}); they are to be made again"
        ]

    def require_suite(self, *, or_reference: bool = False) -> None:
        """Raise UserError where the suite has no specs, so that a misspelt name is not an empty table.

        With ``or_reference`` runs kept in git will do, as in a fresh clone.
        """
        places = ["*/specs", *(["reference/*/*.csv"] if or_reference else [])]
        known = {path.parent.name for place in places for path in self.results.glob(place)}
        if self.suite not in known:
            found = f"; there is {', '.join(sorted(known))}" if known else ""
            raise UserError(f"{self.results / self.suite}: no such suite{found}; {self._next_step(known)}")

    def require_experiments(self, product: str, experiments: Sequence[str]) -> None:
        """Raise UserError where the suite has none of the experiments, here or in git, so that nothing is shown."""
        specs, kept = self.results / self.suite / "specs", self.results / "reference" / self.suite
        has = {path.parent.name for path in specs.glob("*/[!.]*.yaml")} | {
            path.stem for path in kept.glob("*.csv")
        }
        if has.isdisjoint(experiments):
            raise UserError(
                f"the suite {self.suite} has no {product}; it has {', '.join(sorted(has)) or 'no runs'}"
            )

    def _next_step(self, known: Collection[str]) -> str:
        """Return what to do where the suite is not known."""
        stem = Path(self.suite).stem if self.suite.endswith((".yaml", ".yml")) else ""
        if stem:
            return f"take the name that stands after suite: in the file, such as {stem}"
        if hint := did_you_mean(self.suite, known):
            return hint.strip()
        if (config := Path("config") / f"{self.suite}.yaml").exists():
            return f"run snakemake --configfile {config}"
        return "run snakemake --configfile FILE.yaml with the file that names it"


def read_run(directory: Path) -> RunRecord:
    """Read a run directory that is complete."""
    metrics, provenance = read_json(directory / METRICS), read_json(directory / PROVENANCE)
    return RunRecord(directory, read_yaml(directory / SPEC), metrics, None, provenance)


def scan_name(run: RunRecord) -> str:
    """Return the name of a run's scan: its number, or what the user's CSV file calls it."""
    return str(run.spec["scan_name"])


def is_of_people(run: RunRecord) -> bool:
    """Tell whether a run's scan is of a body, in metres; that of a user's CSV file may be of anything."""
    return not str(run.spec["data"]).endswith(".csv")


def missing_notes(records: Sequence[RunRecord]) -> list[str]:
    """Return a line for each missing run: its name, the reason, and where its log is. Those not begun share one."""
    begun = [record for record in records if record.missing_because != _NOT_RUN]
    others = [record.directory.name for record in records if record.missing_because == _NOT_RUN]
    lines = [
        f"missing: {record.directory.name} ({record.missing_because}; log: {record.directory / LOG})"
        for record in begun
    ]
    if others:
        more = f" and {len(others) - 2} more" if len(others) > 2 else ""
        lines.append(f"missing: {', '.join(others[:2])}{more} ({_NOT_RUN})")
    return lines


def _asked_for(directory: Path, seen: dict[Path, RunRecord]) -> RunRecord:
    """Return the run that a suite asks for, as it was ``seen`` before if it was."""
    if directory not in seen:
        seen[directory] = _looked_at(directory, seen)
    return seen[directory]


def _spec_file(directory: Path) -> Path:
    return directory.parent.parent / "specs" / directory.parent.name / f"{directory.name}.yaml"


def _looked_at(directory: Path, seen: dict[Path, RunRecord]) -> RunRecord:
    try:
        spec = read_yaml(_spec_file(directory))
    except UserError as error:
        return RunRecord(directory, {}, None, f"{error}; run snakemake again")
    if not (directory / METRICS).exists():
        return RunRecord(directory, spec, None, _why_unfinished(directory))
    try:
        require_whole(directory)
        made = read_run(directory)
    except (DamagedRunError, UserError) as problem:
        return RunRecord(directory, spec, None, f"{problem}; delete the directory and run it again")
    if difference := first_difference(deciding(made.spec), deciding(spec)):
        return RunRecord(
            directory, spec, None, f"made with other settings: {difference}; run snakemake again"
        )
    if reason := _why_outdated(made, seen):
        return RunRecord(directory, spec, None, f"{reason}; run snakemake again")
    return made


def _why_outdated(made: RunRecord, seen: dict[Path, RunRecord]) -> str | None:
    """Return why what a run read is no longer what its suite asks for: a file of the user's, or another run."""
    if path := changed_input(made.provenance):
        return f"made from another {path}"
    for directory in (Path(path).parent for path in made.provenance.get("files_read", {})):
        if (directory / METRICS).exists() and _spec_file(directory).exists():
            source = _asked_for(directory, seen)
            if source.missing_because is not None:
                return f"made from {directory}, which is missing ({source.missing_because})"
    return None


def _why_unfinished(directory: Path) -> str:
    if (directory / FAILURE).exists():
        try:
            return str(read_json(directory / FAILURE).get("reason"))
        except DamagedRunError as problem:
            return f"failed; {problem}"
    log = directory / LOG
    # Snakemake leaves an empty log where a cluster refused the job.
    return "stopped before its end" if log.exists() and log.stat().st_size else _NOT_RUN
