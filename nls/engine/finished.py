"""Finished runs: what shows that a run is whole, and its results kept where Snakemake does not delete them.

The provenance of a run holds the checksum of every other file of it, so damage shows before a figure is used.

Before Snakemake tries a job again it deletes what the job declares as its output, also that of a run which had
finished: in a group of runs of which another one was cancelled, or while no Snakemake was alive to see it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nls.engine.files import json_text, write_json, write_text

SPEC, METRICS, HISTORY, PROVENANCE = "spec.yaml", "metrics.json", "history.csv", "provenance.json"
FAILURE, HEARTBEAT, KEPT = "failure.json", "progress.json", ".finished.json"
LOG, BENCHMARK = "run.log", "benchmark.tsv"
# The log of a run and what Snakemake measures: whoever starts a run may put them into its directory before.
BESIDE_A_RUN = (LOG, BENCHMARK)
# What is none of a run's results: where they are told, and what only an unfinished run needs.
_NO_RESULTS = (PROVENANCE, *BESIDE_A_RUN, HEARTBEAT, "checkpoint*.pt", ".*")


@dataclass(frozen=True)
class MadeFrom:
    """What decides the results of a run, beside its inputs; empty for one that nobody will read again.

    Attributes:
        identity: digits and letters that name the settings, of :meth:`nls.engine.settings.RunSpec.identity`.
        source: the SHA-256 of this package's source files.
        packages: versions by name.
    """

    identity: str = ""
    source: str = ""
    packages: dict[str, str] = field(default_factory=dict)


class DamagedRunError(Exception):
    """A file of a run that cannot be read, told in a few words that name it."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a run.

    Raises:
        DamagedRunError: the file is missing, or holds no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refused)
    except FileNotFoundError as error:
        raise DamagedRunError(f"{path.name} is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedRunError(f"{path.name} is damaged") from error
    if not isinstance(value, dict):
        raise DamagedRunError(f"{path.name} is damaged")
    return value


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def checksums(directory: Path, texts: Mapping[str, str]) -> dict[str, str]:
    """Return the SHA-256 of every result in a run directory, and of the texts still to be written, by name."""
    names = [
        path.name
        for path in directory.iterdir()
        if path.is_file() and not any(path.match(pattern) for pattern in _NO_RESULTS)
    ]
    found = {name: _checksum((directory / name).read_bytes()) for name in names}
    found |= {name: _checksum(text) for name, text in texts.items()}
    return dict(sorted(found.items()))


def require_whole(directory: Path) -> None:
    """Compare every file of a complete run with its checksum.

    Raises:
        DamagedRunError: a file is missing or is not what the run wrote.
    """
    provenance = read_json(directory / PROVENANCE)
    provenance.pop("checksum", None)
    if (directory / PROVENANCE).read_text(encoding="utf-8") != sealed(provenance):
        raise DamagedRunError(f"{PROVENANCE} is damaged")
    _compare(directory, provenance["files"])


def checksums_of_inputs(paths: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of each file that a run reads, as far as it is there."""
    return {path: _checksum(Path(path).read_bytes()) for path in paths if Path(path).is_file()}


def changed_input(provenance: Mapping[str, Any]) -> str | None:
    """Return a file that a run read and that holds something else by now; None if there is none."""
    read: Mapping[str, str] = provenance.get("files_read", {})
    now = checksums_of_inputs(read)
    return next((path for path, checksum in now.items() if checksum != read[path]), None)


def sealed(provenance: Mapping[str, Any]) -> str:
    """Return the text of a provenance with its own checksum in it."""
    return json_text({**provenance, "checksum": _checksum(json_text(provenance))})


def _checksum(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def _compare(directory: Path, files: Mapping[str, str]) -> None:
    for name, checksum in files.items():
        path = directory / Path(name).name
        if not path.is_file():
            raise DamagedRunError(f"{name} is missing")
        if _checksum(path.read_bytes()) != checksum:
            raise DamagedRunError(f"{name} is damaged")


def write_finished(directory: Path, made_from: MadeFrom, texts: Mapping[str, str]) -> None:
    """Keep the texts of a run's files, by name, with what they were made from; then write the files in this order."""
    write_json(directory / KEPT, {"made_from": asdict(made_from), "files": list(texts.items())})
    for name, text in texts.items():
        write_text(directory / name, text)


def put_back_finished(directory: Path, made_from: MadeFrom) -> bool:
    """Write the kept files again; return False, and say why, if they or the run's other files are not all there."""
    if not (directory / KEPT).exists():
        return False
    try:
        kept = read_json(directory / KEPT)
        if kept.get("made_from") != asdict(made_from):
            raise DamagedRunError("settings, inputs, code or packages have changed since")
        try:
            texts = {str(name): str(text) for name, text in kept["files"]}
            files = dict(json.loads(texts[PROVENANCE])["files"])
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedRunError(f"{KEPT} is damaged") from error
        for name, text in texts.items():
            if name in files and files.pop(name) != _checksum(text):
                raise DamagedRunError(f"{KEPT} is damaged")
        _compare(directory, files)
    except DamagedRunError as problem:
        print(f"{directory}: the run had finished, but {problem}")
        return False
    for name, text in texts.items():
        write_text(directory / name, text)
    return True
