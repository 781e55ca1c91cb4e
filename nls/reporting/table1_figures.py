"""The figures of Table 1: every seed under attack, accuracy against ε and steps of PGD, the course of training."""

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nls.reporting.runs import Evidence, RunRecord
from nls.reporting.style import SEQUENCE, in_legend, missing_figure
from nls.reporting.table1 import Seeds, TrainedRow, by_seed, doubts_about, least_transfer

# Rows beyond the colours of the house have the same colours again, with these marks.
MARKS = ("", "o", "s", "^", "v")
_MISSING = "no complete run of Table 1 has what this figure shows"


def every_seed(evidence: Evidence) -> Figure:
    """Draw what each seed keeps: clean, under PGD on the margin, and under all attacks, a line for each seed.

    The row with the highest mean minimum stands first. Without runs of this machine it draws the reference.
    """
    records, source = evidence.drawn("table1")
    # Doubts come from the black-box attacks on these very networks, never from those on the reference's.
    black_box = evidence.reference if source else evidence.complete
    transfer = least_transfer(black_box("blackbox"))
    panels = _panels([record for record in records if not TrainedRow.of(record).is_trial])
    if not panels:
        return missing_figure(_MISSING)
    sizes = [len(rows) for rows in panels.values()]
    figure, axes = plt.subplots(
        len(sizes),
        1,
        figsize=(8, 1.3 * len(sizes) + 0.4 * sum(sizes)),
        height_ratios=[size + 1 for size in sizes],
        squeeze=False,
        layout="constrained",
    )
    for axis, (name, rows) in zip(axes[:, 0], panels.items(), strict=True):
        rows = sorted(rows, key=_mean_minimum)
        for place, seeds in enumerate(rows):
            for height, row in zip(_spread_out(place, len(seeds)), seeds.values(), strict=True):
                _seed_line(axis, height, row)
        labels = [
            next(iter(seeds.values())).label
            + (" †" if any(doubts_about(row, transfer) for row in seeds.values()) else "")
            for seeds in rows
        ]
        axis.set_yticks(range(len(rows)), labels)
        axis.set(title=name + source, xlabel="accuracy, %", ylim=(-0.6, len(rows) - 0.4))
    handles, names = axes[0, 0].get_legend_handles_labels()
    named = dict(zip(names, handles, strict=True))
    figure.legend(named.values(), named, fontsize="small", loc="outside upper center", ncols=3)
    return figure


def accuracy_against_eps(evidence: Evidence) -> Figure:
    """Draw the accuracy that PGD leaves against ε, a panel for each dataset and network.

    Without runs of this machine it draws the reference.
    """
    return _curves(evidence, "eps_curve", "eps", "ε of the attack")


def accuracy_against_steps(evidence: Evidence) -> Figure:
    """Draw the accuracy that PGD leaves against its number of steps; it should have levelled off.

    Without runs of this machine it draws the reference.
    """
    return _curves(evidence, "steps_curve", "steps", "steps of PGD")


def training_curves(evidence: Evidence) -> Figure:
    """Draw clean and robust accuracy on the last batch of each epoch, a panel for each dataset and network."""
    return _draw(
        evidence.complete("table1"),
        "",
        _training_lines,
        "epoch",
        "accuracy on the last batch, % (dotted: clean)",
    )


def _curves(evidence: Evidence, curve: str, x: str, label: str) -> Figure:
    def lines(axis: Axes, seeds: Sequence[TrainedRow], color: str, mark: str) -> None:
        values = [row.metrics[curve] for row in seeds]
        margin, cross_entropy = ([one[loss] for one in values] for loss in ("pgd-margin", "pgd-xent"))
        _line(axis, values[0][x], margin, "-" + mark, color, in_legend(seeds[0].label))
        _line(axis, values[0][x], cross_entropy, "--" + mark, color)

    records, source = evidence.drawn("table1")
    # A suite that asks for no curve has one without a point, or of a single image.
    drawn = [
        record
        for record in records
        if record.metrics and record.metrics[curve][x] and record.spec["attacks"].get("curve_images") != 1
    ]
    return _draw(drawn, source, lines, label, "robust accuracy, % (dashed: cross-entropy)")


def _training_lines(axis: Axes, seeds: Sequence[TrainedRow], color: str, mark: str) -> None:
    histories = [row.history() for row in seeds]
    epochs = histories[0]["epoch"]
    _line(axis, epochs, [history["train_accuracy"] for history in histories], ":" + mark, color)
    robust = [history["train_robust_accuracy"] for history in histories]
    _line(axis, epochs, robust, "-" + mark, color, in_legend(seeds[0].label))


def _line(
    axis: Axes, x: Sequence[float], shares: Sequence[Sequence[float]], style: str, color: str, label: str = ""
) -> None:
    """Draw the mean over seeds in percent, and with several seeds a band of one standard deviation around it."""
    percents = 100 * np.array(shares)
    mean = percents.mean(axis=0)
    axis.plot(x, mean, style, color=color, markersize=3, label=label or None)
    if len(percents) > 1:
        deviation = percents.std(axis=0, ddof=1)
        axis.fill_between(x, mean - deviation, mean + deviation, color=color, alpha=0.15, linewidth=0)


def _draw(
    records: Sequence[RunRecord],
    source: str,
    lines: Callable[[Axes, Sequence[TrainedRow], str, str], None],
    x: str,
    y: str,
) -> Figure:
    """Draw the lines of every row, a panel for each dataset and network; ``source`` ends the titles."""
    panels = _panels(records)
    if not panels:
        return missing_figure(_MISSING)
    count = len(panels)
    figure, axes = plt.subplots(1, count, figsize=(6.5 * count, 4), squeeze=False, layout="constrained")
    for axis, (name, rows) in zip(axes[0], panels.items(), strict=True):
        for number, seeds in enumerate(rows):
            again, color = divmod(number, len(SEQUENCE))
            lines(axis, list(seeds.values()), SEQUENCE[color], MARKS[again % len(MARKS)])
        least = min(float(np.min(line.get_ydata())) for line in axis.lines)
        floor = 10 * min(least // 10, 9)
        room = (100 - floor) / 50
        axis.set(title=name + source, xlabel=x, ylabel=y, ylim=(floor - room, 100 + room))
        axis.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _panels(records: Sequence[RunRecord]) -> dict[str, list[Seeds]]:
    """Return the rows of each dataset and network."""
    panels: dict[str, list[Seeds]] = {}
    for (dataset, network, *_), seeds in by_seed(records).items():
        panels.setdefault(f"{dataset}, {network}", []).append(seeds)
    return panels


def _mean_minimum(seeds: Seeds) -> float:
    return float(np.mean([row.percents["min"] for row in seeds.values()]))


def _spread_out(place: int, count: int) -> Sequence[float]:
    """Return the heights of a row's seeds around its place, the first seed on top."""
    return [place] if count == 1 else list(place - np.linspace(-0.22, 0.22, count))


def _seed_line(axis: Axes, height: float, row: TrainedRow) -> None:
    percents = row.percents
    axis.plot([percents["min"], percents["clean"]], [height, height], color="0.85", linewidth=1, zorder=1)
    marks = (
        ("clean", "clean", ".", SEQUENCE[0]),
        ("pgd-margin", "under PGD, margin", "|", "black"),
        ("min", "under all attacks", "o", SEQUENCE[1]),
    )
    for name, label, mark, color in marks:
        if name in percents:
            axis.plot(percents[name], height, mark, color=color, markersize=5, label=label)
