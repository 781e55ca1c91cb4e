"""Black-box tables: what every network withstands of every other one's adversarial points."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nls.engine.settings import run_name, without_seed
from nls.engine.user_code import short_name
from nls.reporting.runs import Evidence, RunRecord, missing_notes
from nls.reporting.statistics import Spread, spread

NOTE = (
    "Rows: the network that the points were made on. Columns: the network that they were tried on; its accuracy"
    " on the points, percent. The diagonal is the white-box attack."
)


def table(evidence: Evidence) -> tuple[pd.DataFrame, list[str]]:
    """Return all tables below one another, those of this machine and of the reference, and the notes."""
    parts = []
    for source, runs in (
        ("here", evidence.complete("blackbox")),
        ("reference", evidence.reference("blackbox")),
    ):
        for (dataset, network, loss), frame in transfer_tables(runs).items():
            front = {"dataset": dataset, "network": network, "attack on": loss, "source": source}
            parts.append(frame.reset_index().assign(**front)[[*front, *frame.reset_index().columns]])
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return frame, [NOTE, *missing_notes(evidence.missing("blackbox"))]


def figure(evidence: Evidence) -> Figure:
    """Draw every table of this machine as a heat map with its numbers; of several seeds the means."""
    frames = transfer_tables(evidence.complete("blackbox"))
    rows = max(-(-len(frames) // 2), 1)
    picture, axes = plt.subplots(rows, 2, figsize=(12, 5 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(frames) :]:
        axis.set_axis_off()
    for axis, (title, frame) in zip(axes.flat, frames.items(), strict=False):
        values = frame.map(lambda cell: cell.mean if isinstance(cell, Spread) else cell).to_numpy(dtype=float)
        image = axis.imshow(values, vmin=0, vmax=100, cmap="viridis")
        axis.set_xticks(range(len(frame.columns)), frame.columns, rotation=30, ha="right")
        axis.set_yticks(range(len(frame.index)), frame.index)
        axis.set(title=", ".join(title), xlabel="tried on", ylabel="points of")
        for (row, column), value in np.ndenumerate(values):
            shade = "black" if value > 60 else "white"
            axis.text(column, row, f"{value:.1f}", ha="center", va="center", color=shade, fontsize="small")
        picture.colorbar(image, ax=axis, label="accuracy, %")
    return picture


def transfer_tables(runs: Sequence[RunRecord]) -> dict[tuple[str, str, str], pd.DataFrame]:
    """Return a table of percentages for each dataset, network and loss: sources in rows, targets in columns.

    With several seeds of the networks a cell is the mean over them with its deviation.
    """
    # Dataset, network, loss → source → target → accuracy of each seed.
    found: dict[tuple[str, str, str], dict[str, dict[str, list[float]]]] = {}
    for record in runs:
        assert record.metrics is not None
        group = record.spec["group"]
        front = run_name(Path(group["dataset"]).stem, short_name(group["network"]), "")
        names = {model: without_seed(model).removeprefix(front) for model in group["models"]}
        for loss in ("xent", "margin"):
            table = found.setdefault((group["dataset"], group["network"], loss), {})
            for name in names.values():  # rows in the order of the group, whatever that of the runs
                table.setdefault(name, {})
            row = table[names[record.metrics["source"]]]
            for model, name in names.items():
                row.setdefault(name, []).append(100 * record.metrics["accuracy"][loss][model])
    return {
        key: pd.DataFrame.from_dict(
            {
                source: {target: _rounded(values) for target, values in row.items()}
                for source, row in table.items()
                if row
            },
            orient="index",
        ).rename_axis("points of")
        for key, table in found.items()
    }


def _rounded(values: Sequence[float]) -> Spread | float:
    cell = spread(values)
    return cell if isinstance(cell, Spread) else round(cell, 2)
