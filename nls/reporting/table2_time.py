"""Error against time: the Chamfer distance that every method of Table 2 reaches in given seconds."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from nls.reporting.runs import Evidence, RunRecord, is_of_people, missing_notes, scan_name
from nls.reporting.style import in_legend, missing_figure

_EXPERIMENT = "table2-time"


def table(evidence: Evidence) -> tuple[pd.DataFrame, list[str]]:
    """Return one row a method and scan, one column a time, and the notes.

    A cell is the Chamfer distance (L2), in metres × 10³ (of a user's files in their unit), of the last surface that
    was measured by then. A run whose truth is no mesh has no such curve; a note says how many these are.
    """
    rows = []
    for source, records in _sources(evidence).items():
        for run in records:
            row: dict[str, Any] = {
                "method": run.spec["name"],
                "scan": f"{run.spec['data']} {scan_name(run)}",
                "seed": run.spec["seed"],
                "runs": source,
            }
            curve = _curve(run)
            for seconds in run.spec["seconds"]:
                reached = [error for time, error in curve if time <= seconds and error is not None]
                row[f"after {seconds:g} s"] = round(1e3 * reached[-1], 2) if reached else None
            row["whole training, s"] = round(curve[-1][0], 1)
            row["at its end"] = round(1e3 * _last(run), 2)
            row["floor"] = round(1e3 * _metrics(run)["floor_l2"], 2)
            rows.append(row)
    return pd.DataFrame(rows), _notes(evidence) + missing_notes(evidence.missing(_EXPERIMENT))


def figure(evidence: Evidence) -> Figure:
    """Draw the Chamfer distance against the seconds of training, a panel a scan.

    Without runs of this machine it draws the reference.
    """
    records, source = evidence.drawn(_EXPERIMENT)
    runs = _with_curve(records)
    if not runs:
        return missing_figure("no complete run has the error against time")
    scans = sorted({run.spec["scan"] for run in runs})
    names = list(dict.fromkeys(run.spec["name"] for run in runs))
    panels = len(scans)
    picture, axes = plt.subplots(
        1, panels, figsize=(4.8 * panels, 3.8), squeeze=False, sharey=True, layout="constrained"
    )
    named: dict[str, Line2D] = {}
    for axis, scan in zip(axes[0], scans, strict=True):
        shown = [run for run in runs if run.spec["scan"] == scan]
        end = max(_curve(run)[-1][0] for run in shown)
        for run in shown:
            points = [(time, 1e3 * error) for time, error in _curve(run) if error is not None]
            colour = f"C{names.index(run.spec['name'])}"
            (line,) = axis.plot(*zip(*points, strict=True), ".-", color=colour)
            named.setdefault(in_legend(run.spec["name"]), line)
            # A method that has ended stays where it is.
            axis.plot([points[-1][0], end], [points[-1][1]] * 2, ":", color=colour)
        axis.axhline(1e3 * _metrics(shown[0])["floor_l2"], color="0.6", linewidth=0.8)
        axis.set(xscale="log", yscale="log", title=f"{shown[0].spec['data']} {scan_name(shown[0])}{source}")
        axis.set_xlabel("seconds of training")
        for scale, subs in ((axis.xaxis, (1, 3)), (axis.yaxis, (1, 2, 5))):
            scale.set_major_formatter("{x:g}")
            scale.set_major_locator(LogLocator(subs=subs))
            scale.set_minor_formatter("")
    axes[0, 0].set_ylabel(f"Chamfer distance (L2), ×10³{' m' if is_of_people(runs[0]) else ''}")
    picture.legend(named.values(), named, fontsize=8, loc="outside upper center", ncols=3)
    return picture


def _sources(evidence: Evidence) -> dict[str, Sequence[RunRecord]]:
    """Return the runs that have a curve, of this machine and of the reference."""
    found = {"here": evidence.complete(_EXPERIMENT), "reference": evidence.reference(_EXPERIMENT)}
    return {source: _with_curve(runs) for source, runs in found.items()}


def _with_curve(runs: Sequence[RunRecord]) -> list[RunRecord]:
    return [run for run in runs if "curve_errors" in _metrics(run)]


def _metrics(run: RunRecord) -> dict[str, Any]:
    assert run.metrics is not None
    return run.metrics


def _curve(run: RunRecord) -> list[tuple[float, float | None]]:
    """Return seconds and error of every surface that was measured, the last one included."""
    return list(zip(run.provenance["timings"]["curve_seconds"], _metrics(run)["curve_errors"], strict=True))


def _last(run: RunRecord) -> float:
    return float(_metrics(run)["curve_errors"][-1])


def _notes(evidence: Evidence) -> list[str]:
    notes = [
        "A cell is the Chamfer distance (L2), in metres × 10³ (of your own files in their unit), of the last surface "
        "measured by then. A row is one "
        "run: its training is planned for all of its steps, so a shorter plan may do better at an early time.",
        "The clock counts training and preparation; it stands still while a surface is extracted and measured.",
    ]
    if without := len(evidence.complete(_EXPERIMENT)) - len(_sources(evidence)["here"]):
        notes.append(f"runs without a curve, because their truth is no mesh: {without}")
    for source, runs in _sources(evidence).items():
        notes += [f"{source}: {machine}" for machine in sorted({_machine(run) for run in runs})]
        for name, training in {run.spec["name"]: run.spec["method"].get("training") for run in runs}.items():
            if training:
                notes.append(f"{source}, {name}: {training['steps']} steps of {training['batch']} points")
    return notes


def _machine(run: RunRecord) -> str:
    device = run.provenance["device"]
    return f"{device['name']} ({device['type']}), threads: {run.spec['threads']}"
