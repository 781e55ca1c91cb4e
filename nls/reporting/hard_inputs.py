"""Hard inputs: each condition of the scan, and what the methods make of it."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import trimesh
from matplotlib.figure import Figure

from nls.reporting.render import View, render
from nls.reporting.runs import Evidence, RunRecord, missing_notes
from nls.reporting.style import missing_figure
from nls.reporting.surface_measures import mean_columns

_MEASURES = (
    "chamfer_l2",
    "hausdorff_95",
    "f_score",
    "iou",
    "hands",
    "separate_fingers",
    "watertight",
    "components",
    "euler",
)
_SIZE = (300, 560)


def table(evidence: Evidence) -> tuple[pd.DataFrame, list[str]]:
    """Return one row a condition and method: means over bodies and seeds, lengths in metres × 10³.

    A measure that some run of the row lacks (the IoU of an open mesh) is left empty. Where this machine has no run of
    a row the reference's runs are shown.
    """
    mine, kept = (
        _by_row(found) for found in (evidence.complete("hard_inputs"), evidence.reference("hard_inputs"))
    )
    lines = []
    for condition, name in dict.fromkeys((*_in_order(mine), *_in_order(kept))):
        runs = mine.get((condition, name)) or kept[condition, name]
        line: dict[str, Any] = {
            "condition": condition,
            "method": name,
            "from": "here" if (condition, name) in mine else "reference",
            "runs": len(runs),
        }
        lines.append(line | mean_columns(runs, _MEASURES))
    notes = [
        "Conditions are those of nls.data.scanner.CONDITIONS; only methods that use normals are given wrong ones."
    ]
    return pd.DataFrame(lines), notes + missing_notes(evidence.missing("hard_inputs"))


def figure(evidence: Evidence) -> Figure:
    """Draw the first body's points and reconstructions, one column a condition."""
    runs = evidence.complete("hard_inputs")
    first = [run for run in runs if (run.spec["scan"], run.spec["seed"]) == _first(runs)]
    if not first:
        return missing_figure("no complete run of the hard inputs")
    rows = _by_row(first)
    conditions = list(dict.fromkeys(condition for condition, _ in rows))
    names = list(dict.fromkeys(name for _, name in rows))
    truth = trimesh.load_mesh(first[0].directory / "truth.ply", process=False)
    view = View.of(np.asarray(truth.vertices), size=_SIZE)
    shape = (len(names) + 1, len(conditions))
    picture, axes = plt.subplots(
        *shape, figsize=(1.6 * shape[1], 3.1 * shape[0]), squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.axis("off")
    for column, condition in enumerate(conditions):
        for row, name in enumerate(names, 1):
            if (condition, name) not in rows:
                continue
            run = rows[condition, name][0]
            with np.load(run.directory / "scan.npz", allow_pickle=False) as file:
                axes[0, column].imshow(render(view, _SIZE, points=file["points"]))
            axes[0, column].set_title(condition, fontsize="small")
            mesh = trimesh.load_mesh(run.directory / "mesh.ply", process=False)
            axes[row, column].imshow(render(view, _SIZE, mesh=mesh))
            assert run.metrics is not None
            axes[row, column].set_title(
                f"{name}: {1e3 * run.metrics['chamfer_l2']:.1f} mm", fontsize="x-small"
            )
    return picture


def _first(runs: Sequence[RunRecord]) -> tuple[int, int] | None:
    return min(((run.spec["scan"], run.spec["seed"]) for run in runs), default=None)


def _by_row(runs: Sequence[RunRecord]) -> dict[tuple[str, str], list[RunRecord]]:
    rows: dict[tuple[str, str], list[RunRecord]] = {}
    for run in runs:
        rows.setdefault((run.spec["condition"], run.spec["name"]), []).append(run)
    return {key: rows[key] for key in _in_order(rows)}


def _in_order(rows: dict[tuple[str, str], list[RunRecord]]) -> list[tuple[str, str]]:
    """Return the rows with the usual scan first."""
    return sorted(rows, key=lambda row: (row[0] != "usual", row))
