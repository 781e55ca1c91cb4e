"""Table 1: the paper's figures, the reference's and this machine's side by side; its curves."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nls.reporting.runs import Evidence, missing_notes, read_run

# Dataset, network, method, ε_train.
Key = tuple[str, str, str, float | None]

# Test accuracy, robust accuracy under cross-entropy and margin attacks, percent.
# The paper's ConvNet-4a had a linear head (see docs/robustness.md).
PAPER: Mapping[Key, tuple[float, float, float]] = {
    ("mnist", "convnet4a-linear-head", "standard", None): (99.34, 13.59, 0.00),
    ("mnist", "convnet4a-linear-head", "madry", 0.3): (99.35, 96.04, 96.11),
    ("mnist", "convnet4a-linear-head", "madry", 0.4): (99.16, 96.54, 96.53),
    ("mnist", "convnet4a-linear-head", "trades", 0.3): (98.97, 96.75, 96.74),
    ("mnist", "convnet4a-linear-head", "trades", 0.4): (98.62, 96.78, 96.76),
    ("mnist", "convnet4a-linear-head", "ours", 0.4): (99.35, 99.23, 97.35),
    ("cifar10", "convnet4b", "standard", None): (83.67, 0.00, 0.00),
    ("cifar10", "convnet4b", "madry", 0.031): (71.86, 39.84, 38.18),
    ("cifar10", "convnet4b", "madry", 0.045): (63.66, 41.53, 39.13),
    ("cifar10", "convnet4b", "trades", 0.031): (71.24, 41.89, 38.40),
    ("cifar10", "convnet4b", "trades", 0.045): (68.24, 42.04, 38.18),
    ("cifar10", "convnet4b", "ours", 0.045): (71.96, 38.45, 38.54),
    ("cifar10", "resnet18", "standard", None): (93.18, 0.00, 0.00),
    ("cifar10", "resnet18", "madry", 0.031): (81.00, 47.29, 46.58),
    ("cifar10", "resnet18", "madry", 0.045): (74.97, 49.84, 48.02),
    ("cifar10", "resnet18", "trades", 0.031): (83.04, 53.31, 51.36),
    ("cifar10", "resnet18", "trades", 0.045): (79.52, 53.49, 51.22),
    ("cifar10", "resnet18", "ours", 0.045): (81.30, 79.74, 43.17),
}

# The paper's methods in its order.
METHODS = ("standard", "madry", "trades", "ours")

# Further attacks that a run may report; percent of the test images withstood.
OTHERS = ("apgd-ce", "apgd-t", "fab-t", "square", "autoattack", "min")

FLAG = (
    "†: gradient masking suspected: a black-box attack beats a white-box one, or the gradient of an attack's loss "
    "vanishes; read the minimum over attacks."
)


@dataclass(frozen=True)
class TrainedRow:
    """A run directory of Table 1."""

    directory: Path
    row: Mapping[str, Any]
    metrics: Mapping[str, Any]

    @classmethod
    def read(cls, directory: Path) -> "TrainedRow":
        """Read a complete run."""
        record = read_run(directory)
        assert record.metrics is not None
        return cls(directory, record.spec["row"], record.metrics)

    @property
    def key(self) -> Key:
        """What the table compares: dataset, network, method and ε_train."""
        return (self.row["dataset"], self.row["network"], self.row["method"], self.row["eps_train"])

    @property
    def label(self) -> str:
        """The method with its ε_train."""
        eps = self.row["eps_train"]
        return self.row["method"] if eps is None else f"{self.row['method']} {eps:g}"

    def history(self) -> dict[str, list[float]]:
        """Return the columns of the training history."""
        with (self.directory / "history.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return {name: [float(row[name]) for row in rows] for name in rows[0]} if rows else {}


def table(evidence: Evidence) -> tuple[pd.DataFrame, list[str]]:
    """Return the table and its notes, one line each.

    Robust accuracies under PGD are means over the random starts, as in the paper; the column ``min`` is the share
    that withstands every attack and every start. Paper rows of datasets that nothing was run on are left out.
    """
    mine = {row.key: row for row in map(TrainedRow.read, evidence.complete("table1"))}
    kept = {row.key: row for row in map(TrainedRow.read, evidence.reference("table1"))}
    ran = {key[:2] for key in (*mine, *kept)}
    asked = dict.fromkeys((*(key for key in PAPER if key[:2] in ran), *mine, *kept))
    keys = sorted(asked, key=_place)
    transfer = {
        "reference": _least_transfer(evidence.reference("blackbox")),
        "here": _least_transfer(evidence.complete("blackbox")),
    }
    lines, notes = [], []
    for key in keys:
        dataset, network, method, eps = key
        line: dict[str, Any] = {"dataset": dataset, "network": network, "method": method, "eps_train": eps}
        sources = {"reference": kept.get(key), "here": mine.get(key)}
        figures = {name: _percent(row) for name, row in sources.items() if row is not None}
        paper = PAPER.get(key)
        for column, name in enumerate(("clean", "pgd-xent", "pgd-margin")):
            line[f"{name} (paper)"] = paper[column] if paper is not None else None
            for source in ("reference", "here"):
                line[f"{name} ({source})"] = figures.get(source, {}).get(name)
        for name in OTHERS:
            for source in ("reference", "here"):
                line[f"{name} ({source})"] = figures.get(source, {}).get(name)
        for source, row in sources.items():
            reasons = [] if row is None else _reasons(row, transfer[source])
            line[f"masking ({source})"] = None if row is None else "†" if reasons else ""
            notes += [
                f"{dataset} {network} {row.label} ({source}): {reason}"
                for reason in reasons
                if row is not None
            ]
        lines.append(line)
    frame = pd.DataFrame(lines).dropna(axis="columns", how="all")
    return frame, ([FLAG, *notes] if notes else []) + missing_notes(evidence.missing("table1"))


def accuracy_against_eps(evidence: Evidence) -> Figure:
    """Draw the accuracy that PGD leaves against ε, a panel for each dataset and network."""
    return _curves(evidence, "eps_curve", "eps", "ε of the attack")


def accuracy_against_steps(evidence: Evidence) -> Figure:
    """Draw the accuracy that PGD leaves against its number of steps; it should have levelled off."""
    return _curves(evidence, "steps_curve", "steps", "steps of PGD")


def training_curves(evidence: Evidence) -> Figure:
    """Draw clean and robust accuracy on the last batch of each epoch, a panel for each dataset and network."""
    return _draw(evidence, _training_lines, "epoch", "accuracy on the last batch, % (dotted: clean)")


def _curves(evidence: Evidence, curve: str, x: str, label: str) -> Figure:
    def lines(axis: Axes, row: TrainedRow, color: str) -> None:
        values = row.metrics[curve]
        axis.plot(values[x], _hundredfold(values["pgd-margin"]), color=color, label=row.label)
        axis.plot(values[x], _hundredfold(values["pgd-xent"]), "--", color=color)

    return _draw(evidence, lines, label, "robust accuracy, % (dashed: cross-entropy)")


def _training_lines(axis: Axes, row: TrainedRow, color: str) -> None:
    history = row.history()
    axis.plot(history["epoch"], _hundredfold(history["train_accuracy"]), ":", color=color)
    axis.plot(history["epoch"], _hundredfold(history["train_robust_accuracy"]), color=color, label=row.label)


def _draw(evidence: Evidence, lines: Callable[[Axes, TrainedRow, str], None], x: str, y: str) -> Figure:
    """Draw the lines of every complete run, a panel for each dataset and network."""
    panels: dict[str, list[TrainedRow]] = {}
    for row in map(TrainedRow.read, evidence.complete("table1")):
        panels.setdefault(f"{row.row['dataset']}, {row.row['network']}", []).append(row)
    count = max(len(panels), 1)
    figure, axes = plt.subplots(1, count, figsize=(5.5 * count, 4), squeeze=False, layout="constrained")
    for axis, (name, rows) in zip(axes[0], panels.items(), strict=False):
        for number, row in enumerate(rows):
            lines(axis, row, f"C{number}")
        axis.set(title=name, xlabel=x, ylabel=y, ylim=(-2, 102))
        axis.legend(fontsize="small")
    if not panels:
        axes[0, 0].text(0.5, 0.5, "no run is complete", ha="center", transform=axes[0, 0].transAxes)
    return figure


def _place(key: Key) -> tuple[int, str, str, int]:
    """Return where a row stands: the paper's rows in its order, then the others by dataset, network and method."""
    dataset, network, method, _ = key
    paper = list(PAPER).index(key) if key in PAPER else len(PAPER)
    return paper, dataset, network, METHODS.index(method) if method in METHODS else len(METHODS)


def _percent(row: TrainedRow) -> dict[str, float]:
    metrics = row.metrics
    shares = {"clean": metrics["clean_accuracy"]} | metrics["robust_accuracy"] | metrics["mean_over_starts"]
    return {name: round(100 * share, 2) for name, share in shares.items()}


def _reasons(row: TrainedRow, transfer: Mapping[str, tuple[int, float]]) -> list[str]:
    accuracy = dict(row.metrics["robust_accuracy"])
    n, least = transfer.get(row.directory.name, (0, 1.0))
    if n == row.metrics["n"]:
        accuracy["transfer"] = least
    from nls.attacks.masking import masking_reasons  # with torch, which no figure needs

    return masking_reasons(accuracy, row.metrics["vanishing_gradient_share"])


def _least_transfer(black_box: Sequence[Path]) -> dict[str, tuple[int, float]]:
    """Return the number of images and the least accuracy under another network's points, by target."""
    least: dict[str, tuple[int, float]] = {}
    for directory in black_box:
        metrics = read_run(directory).metrics
        assert metrics is not None
        for accuracies in metrics["accuracy"].values():
            for target, accuracy in accuracies.items():
                if target != metrics["source"]:
                    least[target] = (metrics["n"], min(accuracy, least.get(target, (0, 1.0))[1]))
    return least


def _hundredfold(shares: Sequence[float]) -> list[float]:
    return [100 * share for share in shares]
