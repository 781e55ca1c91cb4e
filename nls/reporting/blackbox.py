"""Black-box tables: what every network withstands of every other one's adversarial points."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure

NOTE = (
    "Rows: the network that the points were made on. Columns: the network that they were tried on; its accuracy"
    " on the points, percent. The diagonal is the white-box attack."
)


def tables(runs: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """Return one table of percentages for each group of networks and loss, sources in rows, targets in columns."""
    groups: dict[tuple[str, str, tuple[str, ...]], list[dict[str, Any]]] = {}
    for directory in runs:
        group = yaml.safe_load((directory / "spec.yaml").read_text(encoding="utf-8"))["group"]
        metrics = json.loads((directory / "metrics.json").read_text(encoding="utf-8"))
        groups.setdefault((group["dataset"], group["network"], tuple(group["models"])), []).append(metrics)
    frames = {}
    for (dataset, network, models), members in groups.items():
        short = {model: model.removeprefix(f"{Path(dataset).stem}-{network}-") for model in models}
        for loss in ("xent", "margin"):
            rows = {
                short[metrics["source"]]: {
                    short[target]: round(100 * metrics["accuracy"][loss][target], 2) for target in models
                }
                for metrics in sorted(members, key=lambda metrics: models.index(metrics["source"]))
            }
            frame = pd.DataFrame.from_dict(rows, orient="index")
            frame.index.name = "points of"
            frames[f"{dataset}, {network}, {loss}"] = frame
    return frames


def heat_map(frames: dict[str, pd.DataFrame]) -> Figure:
    """Draw every table as a heat map with its numbers."""
    columns = 2
    rows = -(-len(frames) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(12, 5 * rows), squeeze=False)
    for axis in axes.flat[len(frames) :]:
        axis.set_axis_off()
    for axis, (title, frame) in zip(axes.flat, frames.items(), strict=False):
        values = frame.to_numpy(dtype=float)
        image = axis.imshow(values, vmin=0, vmax=100, cmap="viridis")
        axis.set_xticks(range(len(frame.columns)), frame.columns, rotation=30, ha="right")
        axis.set_yticks(range(len(frame.index)), frame.index)
        axis.set(title=title, xlabel="tried on", ylabel="points of")
        for (row, column), value in np.ndenumerate(values):
            shade = "black" if value > 60 else "white"
            axis.text(column, row, f"{value:.1f}", ha="center", va="center", color=shade, fontsize="small")
        figure.colorbar(image, ax=axis, label="accuracy, %")
    figure.tight_layout()
    return figure
