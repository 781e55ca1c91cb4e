"""Runs kept in git as a reference: a CSV file for each suite and experiment, in which a figure is a line.

A line is ``run,key,value``. Keys are JSON pointers (RFC 6901) into ``{"spec_hash": …, "spec": …, "metrics": …,
"provenance": …}``; values are JSON, with strings left bare where that cannot be mistaken. A line with the run ``*``
holds for every run of the file that has no line of its own for that key. Histories, weights and meshes are not kept.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nls.errors import UserError

EVERY = "*"
# A value may be the list of a figure over thousands of seeds; the reader's own limit is 128 KiB.
csv.field_size_limit(2**31 - 1)
_FIELDS = ["run", "key", "value"]
_PARTS = ("spec", "metrics", "provenance")
# Told of each run itself, so that every run has a line.
_OWN = "/spec_hash"


def kept_file(results: Path, suite: str, experiment: str) -> Path:
    """Return the file that keeps an experiment of a suite."""
    return results / "reference" / suite / f"{experiment}.csv"


def kept_text(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the file's text for runs by name, each with ``spec_hash``, ``spec``, ``metrics`` and ``provenance``."""
    flat = {name: dict(_leaves(run)) for name, run in sorted(runs.items())}
    shared = _shared(flat)
    lines = [(EVERY, key, value) for key, value in shared.items()]
    lines += [
        (name, key, value)
        for name, leaves in flat.items()
        for key, value in leaves.items()
        if shared.get(key) != value
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_FIELDS)
    writer.writerows(lines)
    return text.getvalue()


def read_kept(path: Path) -> dict[str, dict[str, Any]]:
    """Return the runs of a file by name, in its order; none if there is no such file.

    Raises:
        UserError: it is damaged.
    """
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = [(line["run"], line["key"], line["value"]) for line in csv.DictReader(file)]
        shared = {key: value for run, key, value in lines if run == EVERY}
        own: dict[str, dict[str, str]] = {}
        for run, key, value in lines:
            if run != EVERY:
                own.setdefault(run, {})[key] = value
        runs = {run: _tree(shared | leaves) for run, leaves in own.items()}
        if any(not isinstance(run.get(part), dict) for run in runs.values() for part in _PARTS):
            raise ValueError("a run lacks a part")
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise UserError(f"{path}: is damaged; put it back with git checkout, or delete it") from error
    return runs


def _shared(flat: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the leaves that are equal in all runs."""
    if len(flat) < 2:
        return {}
    counts = Counter(leaf for leaves in flat.values() for leaf in leaves.items() if leaf[0] != _OWN)
    return {key: value for (key, value), count in counts.items() if count == len(flat)}


def _leaves(value: Any, pointer: str = "") -> Iterator[tuple[str, str]]:
    """Yield every pointer that does not end at a filled mapping, with its value as text."""
    if isinstance(value, Mapping) and value:
        for name, inner in sorted(value.items()):
            yield from _leaves(inner, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}")
    else:
        yield pointer, _text(value)


def _text(value: Any) -> str:
    # A carriage return would end the line of a CSV reader.
    if isinstance(value, str) and value.isprintable():
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value, allow_nan=False, sort_keys=True)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _tree(leaves: Mapping[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for pointer, text in leaves.items():
        *path, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[last] = _value(text)
    return tree
