"""Black-box tables: what every network withstands of every other one's adversarial points."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nls.engine.settings import run_name, without_seed
from nls.engine.user_code import short_name
from nls.reporting.runs import Evidence, RunRecord, missing_notes
from nls.reporting.statistics import Spread, spread
from nls.reporting.style import missing_figure

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
        for group, frame in transfer_tables(runs).items():
            front: dict[str, Any] = {
                "dataset": group.dataset,
                "network": group.network,
                "eps": group.eps,
                "images": group.images,
                "attack on": group.loss,
                "source": source,
            }
            parts.append(frame.reset_index().assign(**front)[[*front, *frame.reset_index().columns]])
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return frame, [NOTE, *missing_notes(evidence.missing("blackbox"))]


def figure(evidence: Evidence) -> Figure:
    """Draw every table as a heat map with its numbers; of several seeds the means.

    They are the tables of this machine, or without any those of the reference.
    """
    records, source = evidence.drawn("blackbox")
    frames = transfer_tables(records)
    if not frames:
        return missing_figure("no complete run of the black-box attacks")
    rows = -(-len(frames) // 2)
    picture, axes = plt.subplots(rows, 2, figsize=(12, 5 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(frames) :]:
        axis.set_axis_off()
    for axis, (group, frame) in zip(axes.flat, frames.items(), strict=False):
        values = frame.map(lambda cell: cell.mean if isinstance(cell, Spread) else cell).to_numpy(dtype=float)
        image = axis.imshow(values, vmin=0, vmax=100, cmap="viridis")
        axis.set_xticks(range(len(frame.columns)), frame.columns, rotation=30, ha="right")
        axis.set_yticks(range(len(frame.index)), frame.index)
        axis.set(title=group.title + source, xlabel="tried on", ylabel="points of")
        for (row, column), value in np.ndenumerate(values):
            shade = "black" if value > 60 else "white"
            axis.text(column, row, f"{value:.1f}", ha="center", va="center", color=shade, fontsize="small")
        picture.colorbar(image, ax=axis, label="accuracy, %")
    return picture


@dataclass(frozen=True)
class Group:
    """What the cells of one table have in common: the networks, how their points were made, and the loss."""

    dataset: str
    network: str
    models: tuple[str, ...]
    eps: float
    steps: int
    step_size: float
    images: int
    loss: str

    @classmethod
    def of(cls, record: RunRecord, loss: str) -> "Group":
        """Return the group of a complete run."""
        assert record.metrics is not None
        group, transfer = record.spec["group"], record.spec["group"]["transfer"]
        models = tuple(map(without_seed, group["models"]))
        made = (transfer["eps"], transfer["steps"], transfer["step_size"], record.metrics["n"])
        return cls(group["dataset"], group["network"], models, *made, loss)

    @property
    def title(self) -> str:
        """The group in a line."""
        return f"{self.dataset}, {self.network}, ε {self.eps:g}, {self.loss}"

    @property
    def names(self) -> dict[str, str]:
        """The models' short names, by name of their run without its seed."""
        front = run_name(Path(self.dataset).stem, short_name(self.network), "")
        return {model: model.removeprefix(front) for model in self.models}


def transfer_tables(runs: Sequence[RunRecord]) -> dict[Group, pd.DataFrame]:
    """Return a table of percentages for each group and loss: sources in rows, targets in columns.

    With several seeds of the networks a cell is the mean over them with its deviation.
    """
    # Group → source → target → accuracy of each seed.
    found: dict[Group, dict[str, dict[str, list[float]]]] = {}
    for record in runs:
        assert record.metrics is not None
        for loss in ("xent", "margin"):
            group = Group.of(record, loss)
            # Rows in the order of the group, whatever that of the runs.
            table = found.setdefault(group, {name: {} for name in group.names.values()})
            row = table[group.names[without_seed(record.metrics["source"])]]
            for model in record.spec["group"]["models"]:
                name = group.names[without_seed(model)]
                row.setdefault(name, []).append(100 * record.metrics["accuracy"][loss][model])
    return {
        group: pd.DataFrame.from_dict(
            {
                source: {target: spread(values) for target, values in row.items()}
                for source, row in table.items()
                if row
            },
            orient="index",
        ).rename_axis("points of")
        for group, table in found.items()
    }
