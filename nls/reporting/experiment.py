"""How an experiment of a suite was made: its runs, their settings, time and devices."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nls.reporting.runs import RunRecord

# The name of a run and of its suite are not settings.
_NAMES = ("suite", "experiment", "run")
_MOST_VALUES = 8


@dataclass(frozen=True)
class Experiment:
    """An experiment: the runs that the suite asks for, complete or missing."""

    name: str
    runs: Sequence[RunRecord]

    @cached_property
    def complete(self) -> list[RunRecord]:
        """The runs that are there."""
        return [run for run in self.runs if run.metrics is not None]

    @property
    def missing(self) -> list[RunRecord]:
        """The runs that are not."""
        return [run for run in self.runs if run.metrics is None]

    @property
    def seconds(self) -> float:
        """The time of all runs together."""
        return float(sum(run.provenance["wall_seconds"] for run in self.complete))

    @property
    def devices(self) -> list[str]:
        """What the runs ran on."""
        found = [run.provenance["device"] for run in self.complete]
        return list(dict.fromkeys(f"{device['name']} ({device['type']})" for device in found))

    def settings(self) -> dict[str, str]:
        """Return each setting of the complete runs, nested keys joined by dots, with the values that it takes."""
        values: dict[str, dict[str, None]] = {}
        for run in self.complete:
            for key, value in _flat(run.spec, ""):
                values.setdefault(key, {})[value] = None
        return {
            key: " · ".join(found) if len(found) <= _MOST_VALUES else f"{len(found)} values"
            for key, found in values.items()
            if key not in _NAMES
        }


def _flat(settings: Mapping[str, Any], start: str) -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{start}{key}.")
        elif value is not None:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"{start}{key}", text if len(text) <= 80 else text[:77] + "..."
