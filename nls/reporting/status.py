"""``nls status``: how far a suite's runs are, from their directories alone, so that any machine can tell."""

import statistics
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from nls.engine.finished import FAILURE, HEARTBEAT, LOG, METRICS, DamagedRunError, read_json
from nls.reporting.runs import Evidence, RunRecord

State = Literal["done", "running", "failed", "stopped", "waiting"]
STATES: tuple[State, ...] = ("done", "running", "failed", "stopped", "waiting")
# A heart beats every five seconds; clocks of two machines may differ by less than the rest.
STALE_SECONDS = 60.0


@dataclass(frozen=True)
class RunStatus:
    """One run: its state, and what is known of its time.

    Attributes:
        record: the run.
        state: ``stopped`` means that it began, and that nobody has been at work in it for a minute.
        detail: the phase and step of a running one, the reason of a failed one.
        left: seconds until the end of its present phase; None if unknown.
    """

    record: RunRecord
    state: State
    detail: str = ""
    left: float | None = None


@dataclass(frozen=True)
class SuiteStatus:
    """A suite's runs by experiment."""

    experiments: dict[str, list[RunStatus]]

    @property
    def runs(self) -> list[RunStatus]:
        """All of them."""
        return [run for runs in self.experiments.values() for run in runs]

    @property
    def left(self) -> float | None:
        """Seconds until all runs are done; None if unknown."""
        parts = [_left(runs) for runs in self.experiments.values()]
        known = [seconds for seconds in parts if seconds is not None]
        return sum(known) if len(known) == len(parts) else None

    def text(self) -> str:
        """Return a table of the runs by experiment and state, the rate, the time left, and what needs care."""
        lines = [
            f"{'experiment':<16}" + "".join(f"{state:>9}" for state in STATES) + f"{'runs':>9}  time left"
        ]
        lines += [_line(name, runs, _left(runs)) for name, runs in self.experiments.items()]
        lines += [_line("all", self.runs, self.left), _rate(self.runs)]
        for run in self._with_care:
            log = f"; log: {run.record.directory / LOG}" if run.state == "failed" else ""
            lines.append(f"{run.state}: {run.record.directory}: {run.detail}{log}")
        return "\n".join(lines)

    def figures(self) -> dict[str, Any]:
        """Return the same for JSON; a time that is not known is None."""
        return {
            "experiments": {name: _counts(runs, _left(runs)) for name, runs in self.experiments.items()},
            "all": _counts(self.runs, self.left),
            "runs": [
                {"directory": str(run.record.directory), "state": run.state, "detail": run.detail}
                for run in self._with_care
            ],
        }

    @property
    def _with_care(self) -> list[RunStatus]:
        return [run for run in self.runs if run.state in ("running", "failed", "stopped")]


def suite_status(suite: str) -> SuiteStatus:
    """Return how far a suite's runs are.

    Raises:
        UserError: there is no such suite.
    """
    evidence = Evidence(suite)
    evidence.require_suite()
    experiments = sorted(path.name for path in (evidence.results / suite / "specs").iterdir())
    return SuiteStatus({name: [_status(record) for record in evidence.here(name)] for name in experiments})


def _counts(runs: list[RunStatus], left: float | None) -> dict[str, int | float | None]:
    counts = Counter(run.state for run in runs)
    return {state: counts[state] for state in STATES} | {"runs": len(runs), "seconds_left": left}


def _status(record: RunRecord) -> RunStatus:
    if record.metrics is not None:
        return RunStatus(record, "done")
    if (record.directory / FAILURE).exists():
        return RunStatus(record, "failed", record.missing_because or "")
    heartbeat = record.directory / HEARTBEAT
    try:
        age = time.time() - heartbeat.stat().st_mtime
        beat = read_json(heartbeat)
        steps = f", step {beat['step']} of {beat['total']}" if beat["total"] else ""
        detail = f"{beat['phase']}{steps}, {_duration(beat['seconds'])} in this job"
        left = _left_in_phase(beat)
    except FileNotFoundError:  # it has not come to its first step, or ended just now
        return RunStatus(record, "waiting")
    except (DamagedRunError, KeyError, TypeError):
        return RunStatus(record, "stopped", f"{HEARTBEAT} is damaged; the next attempt writes it anew")
    if age > STALE_SECONDS:
        detail += f"; last sign of life {_duration(age)} ago; the next attempt goes on from its checkpoint"
        return RunStatus(record, "stopped", detail)
    return RunStatus(record, "running", detail, left)


def _left_in_phase(beat: dict[str, Any]) -> float | None:
    done = beat["step"] - beat["start"]
    return beat["phase_seconds"] / done * (beat["total"] - beat["step"]) if done > 0 else None


def _left(runs: list[RunStatus]) -> float | None:
    """Return the seconds until an experiment's runs are done, at as many runs at once as there are now.

    A run that has not begun takes as long as the median of the complete ones. None if nothing tells.
    """
    unfinished = [run for run in runs if run.state in ("running", "stopped", "waiting")]
    if not unfinished:
        return 0.0
    times = [run.record.provenance["wall_seconds"] for run in runs if run.state == "done"]
    typical = statistics.median(times) if times else None
    left = [typical if run.left is None else run.left for run in unfinished]
    known = [seconds for seconds in left if seconds is not None]
    if len(known) < len(left):
        return None
    at_once = max(1, sum(run.state == "running" for run in runs))
    return max(sum(known) / at_once, max(run.left or 0.0 for run in unfinished))


def _rate(runs: list[RunStatus]) -> str:
    """Say how many runs were completed a minute, over the last ten minutes in which any was."""
    ends = sorted((run.record.directory / METRICS).stat().st_mtime for run in runs if run.state == "done")
    recent = [end for end in ends if end > ends[-1] - 600]
    if len(recent) < 2 or recent[-1] == recent[0]:
        return "rate: unknown until two runs are done"
    rate = (len(recent) - 1) / (recent[-1] - recent[0]) * 60
    return f"rate: {rate:.2g} runs a minute; the last one ended {_duration(time.time() - recent[-1])} ago"


def _line(name: str, runs: list[RunStatus], left: float | None) -> str:
    counts = Counter(run.state for run in runs)
    numbers = "".join(f"{counts[state]:>9}" for state in STATES)
    return f"{name:<16}{numbers}{len(runs):>9}  {'unknown' if left is None else _duration(left)}"


def _duration(seconds: float) -> str:
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
