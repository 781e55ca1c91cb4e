"""The verb that files a suite's complete runs as the reference in git (``results/reference``)."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from nls.engine.files import write_text
from nls.engine.settings import deciding, first_difference
from nls.errors import UserError
from nls.reporting.kept_runs import kept_file, kept_text, read_kept
from nls.reporting.runs import Evidence, RunRecord

# Checksums of files that are not kept.
_LEFT_OUT = ("files", "checksum")


def keep(suite: str) -> list[str]:
    """File the complete runs of a suite, a file an experiment; return what was done, one line each.

    Runs that an earlier call kept stay, if the suite still asks for them with the same settings. Histories, weights
    and meshes are left out.

    Raises:
        UserError: the suite has no complete run, or one of them was not made from a commit; nothing is written.
    """
    evidence = Evidence(suite)
    evidence.require_suite()
    specs = evidence.results / suite / "specs"
    asked = {path.name: evidence.here(path.name) for path in sorted(specs.iterdir()) if path.is_dir()}
    for records in asked.values():
        _require_commits(records)
    found = {
        experiment: [record for record in records if record.metrics is not None]
        for experiment, records in asked.items()
    }
    if not any(found.values()):
        raise UserError(f"suite {suite} has no complete run to keep: see nls status --suite {suite}")
    told = []
    for experiment, records in found.items():
        if records:
            told += _keep_experiment(evidence, experiment, asked[experiment], records)
    return told


def _keep_experiment(
    evidence: Evidence, experiment: str, asked: list[RunRecord], complete: list[RunRecord]
) -> list[str]:
    file = kept_file(evidence.results, evidence.suite, experiment)
    settings = {record.directory.name: deciding(record.spec) for record in asked}
    before = read_kept(file)
    current = {
        name: run
        for name, run in before.items()
        if name in settings and first_difference(deciding(run["spec"]), settings[name]) is None
    }
    runs = current | {record.directory.name: _entry(record) for record in complete}
    write_text(file, kept_text(runs))
    told = [f"{file}: {len(runs)} of {len(asked)} runs of {experiment}"]
    if dropped := sorted(before.keys() - runs.keys()):
        told.append(f"{file}: {len(dropped)} of other settings left out, first {dropped[0]}")
    if lacking := sorted(settings.keys() - runs.keys()):
        told.append(f"{file}: {len(lacking)} not there yet, first {lacking[0]}")
    return told


def _require_commits(records: list[RunRecord]) -> None:
    """Raise UserError where a run's figures cannot be traced to a commit."""
    for record in records:
        commit = record.provenance.get("commit")
        if record.metrics is not None and (commit is None or commit.endswith("+changes")):
            made = "outside of a git checkout" if commit is None else f"from changed files ({commit})"
            raise UserError(f"{record.directory} was made {made}: commit, delete it and run it again")


def _entry(record: RunRecord) -> dict[str, Any]:
    provenance = {name: value for name, value in record.provenance.items() if name not in _LEFT_OUT}
    return {
        "spec_hash": _spec_hash(record.spec),
        "spec": record.spec,
        "metrics": record.metrics,
        "provenance": provenance,
    }


def _spec_hash(spec: Mapping[str, Any]) -> str:
    """Return a short fingerprint of the settings that decide a run's results."""
    return hashlib.sha256(json.dumps(deciding(spec), sort_keys=True).encode()).hexdigest()[:12]
