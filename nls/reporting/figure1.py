"""Figure 1: the four panels, with the level sets and the measured smallest margin."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from nls.reporting.runs import Evidence, RunRecord
from nls.reporting.style import BLUE, LIGHT_BLUE, LIGHT_RED, RED, say_missing

PANELS = {
    "cross_entropy": "(a) cross-entropy",
    "linf": "(b) boundary {eps:g} away, L∞",
    "l2": "(c) boundary {eps:g} away, L2",
    "geometric_svm": "(d) geometric SVM",
}


def figure(evidence: Evidence) -> Figure:
    """Draw the four panels; a panel whose run is missing stays empty and says so."""
    picture, axes = plt.subplots(2, 2, figsize=(8.2, 9.2), layout="constrained")
    records = {record.spec.get("panel"): record for record in evidence.here("figure1")}
    for axis, (panel, title) in zip(axes.flat, PANELS.items(), strict=True):
        axis.set_aspect("equal")
        axis.set_xticks([])
        axis.set_yticks([])
        record = records.get(panel)
        if record is None or record.metrics is None:
            axis.set_title(title.split(" {")[0])
            reason = "not in this suite" if record is None else record.missing_because
            say_missing(axis, str(reason))
        else:
            _draw(axis, record, title)
    return picture


def _draw(axis: Axes, record: RunRecord, title: str) -> None:
    metrics = record.metrics
    assert metrics is not None
    field, points, labels, half = _panel(record.directory)
    extent = np.linspace(-half, half, len(field))
    classes = ListedColormap([LIGHT_RED, LIGHT_BLUE])
    axis.pcolormesh(extent, extent, field.T > 0, cmap=classes, vmin=0, vmax=1, rasterized=True)
    eps = metrics["eps"]
    if eps is not None:
        _draw_margins(axis, points, eps, record.spec["panel"])
    axis.contour(extent, extent, field.T, levels=[0], colors="black", linewidths=1.6)
    if record.spec["panel"] == "geometric_svm":
        axis.contour(
            extent, extent, field.T, levels=[-1, 1], colors=[RED, BLUE], linewidths=1.3, linestyles="--"
        )
    for label, colour in ((-1, RED), (1, BLUE)):
        x, y = points[labels == label].T
        axis.scatter(x, y, s=16, color=colour, edgecolors="white", linewidths=0.5, zorder=3)
    axis.set_title(title.format(eps=eps))
    figures = [f"{metrics[key]:.3f} {name}" for key, name in _MARGINS if metrics[key] is not None]
    axis.set_xlabel("smallest margin: " + (", ".join(figures) or "no boundary in the square"))


_MARGINS = (("smallest_margin_linf", "(L∞)"), ("smallest_margin_l2", "(L2)"))


def _draw_margins(axis: Axes, points: np.ndarray, eps: float, norm: str) -> None:
    """Outline the ball of radius ε around every training point."""
    for x, y in points:
        style: dict[str, Any] = {"fill": False, "edgecolor": "0.35", "linewidth": 0.5}
        if norm == "linf":
            axis.add_patch(plt.Rectangle((x - eps, y - eps), 2 * eps, 2 * eps, **style))
        else:
            axis.add_patch(plt.Circle((x, y), eps, **style))


def _panel(directory: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    with np.load(directory / "panel.npz") as panel:
        return panel["field"], panel["points"], panel["labels"], float(panel["half_width"])
