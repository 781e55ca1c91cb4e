"""Table 1: the paper's figures, the reference's and this machine's side by side; its curves."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import yaml
from matplotlib.figure import Figure

from nls.attacks.masking import masking_reasons

# Dataset, network, method, ε_train; test accuracy, robust accuracy under cross-entropy and margin attacks, percent.
# The paper's ConvNet-4a had a linear head (see docs/robustness.md).
PAPER: Mapping[tuple[str, str, str, float | None], tuple[float, float, float]] = {
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
        spec = yaml.safe_load((directory / "spec.yaml").read_text(encoding="utf-8"))
        return cls(
            directory, spec["row"], json.loads((directory / "metrics.json").read_text(encoding="utf-8"))
        )

    @property
    def key(self) -> tuple[str, str, str, float | None]:
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


def table(
    here: Sequence[Path], reference: Sequence[Path] = (), black_box: Sequence[Path] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """Return the table and its notes, one line each.

    Args:
        here: run directories of this machine.
        reference: run directories kept with the code.
        black_box: run directories of the black-box experiment of this machine; they may flag rows.

    Robust accuracies under PGD are means over the random starts, as in the paper; the column ``min`` is the share
    that withstands every attack and every start. Paper rows of datasets that nothing was run on are left out.
    """
    mine = {row.key: row for row in map(TrainedRow.read, here)}
    kept = {row.key: row for row in map(TrainedRow.read, reference)}
    ran = {key[:2] for key in (*mine, *kept)}
    keys = list(dict.fromkeys((*(key for key in PAPER if key[:2] in ran), *mine, *kept)))
    transfer = _least_transfer(black_box)
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
            reasons = [] if row is None else _reasons(row, transfer if source == "here" else {})
            line[f"masking ({source})"] = "†" if reasons else ""
            notes += [
                f"{dataset} {network} {row.label} ({source}): {reason}"
                for reason in reasons
                if row is not None
            ]
        lines.append(line)
    frame = pd.DataFrame(lines).dropna(axis="columns", how="all")
    return frame, ([FLAG, *notes] if notes else [])


def accuracy_against_eps(runs: Sequence[Path]) -> Figure:
    """Draw the accuracy that PGD leaves against ε, a panel for each dataset and network."""
    return _curves(map(TrainedRow.read, runs), "eps_curve", "eps", "ε of the attack")


def accuracy_against_steps(runs: Sequence[Path]) -> Figure:
    """Draw the accuracy that PGD leaves against its number of steps; it should have levelled off."""
    return _curves(map(TrainedRow.read, runs), "steps_curve", "steps", "steps of PGD")


def training_curves(runs: Sequence[Path]) -> Figure:
    """Draw clean and robust accuracy on the last batch of each epoch, a panel for each dataset and network."""
    panels = _panels(map(TrainedRow.read, runs))
    figure, axes = plt.subplots(1, len(panels), figsize=(5.5 * len(panels), 4), squeeze=False)
    for axis, (name, rows) in zip(axes[0], panels.items(), strict=True):
        for color, row in enumerate(rows):
            history = row.history()
            axis.plot(history["epoch"], _hundredfold(history["train_accuracy"]), f"C{color}:")
            axis.plot(
                history["epoch"], _hundredfold(history["train_robust_accuracy"]), f"C{color}", label=row.label
            )
        _finish(axis, name, "epoch", "accuracy on the last batch, % (dotted: clean)")
    figure.tight_layout()
    return figure


def _curves(rows: Iterable[TrainedRow], curve: str, x: str, label: str) -> Figure:
    panels = _panels(rows)
    figure, axes = plt.subplots(1, len(panels), figsize=(5.5 * len(panels), 4), squeeze=False)
    for axis, (name, members) in zip(axes[0], panels.items(), strict=True):
        for color, row in enumerate(members):
            values = row.metrics[curve]
            axis.plot(values[x], _hundredfold(values["pgd-margin"]), f"C{color}", label=row.label)
            axis.plot(values[x], _hundredfold(values["pgd-xent"]), f"C{color}--")
        _finish(axis, name, label, "robust accuracy, % (dashed: cross-entropy)")
    figure.tight_layout()
    return figure


def _panels(rows: Iterable[TrainedRow]) -> dict[str, list[TrainedRow]]:
    panels: dict[str, list[TrainedRow]] = {}
    for row in rows:
        panels.setdefault(f"{row.row['dataset']}, {row.row['network']}", []).append(row)
    return panels


def _finish(axis: plt.Axes, title: str, x: str, y: str) -> None:
    axis.set(title=title, xlabel=x, ylabel=y, ylim=(-2, 102))
    axis.legend(fontsize="small")
    axis.grid(alpha=0.3)


def _percent(row: TrainedRow) -> dict[str, float]:
    metrics = row.metrics
    shares = {"clean": metrics["clean_accuracy"]} | metrics["robust_accuracy"] | metrics["mean_over_starts"]
    return {name: round(100 * share, 2) for name, share in shares.items()}


def _reasons(row: TrainedRow, transfer: Mapping[str, tuple[int, float]]) -> list[str]:
    accuracy = dict(row.metrics["robust_accuracy"])
    n, least = transfer.get(row.directory.name, (0, 1.0))
    if n == row.metrics["n"]:
        accuracy["transfer"] = least
    return masking_reasons(accuracy, row.metrics["vanishing_gradient_share"])


def _least_transfer(black_box: Sequence[Path]) -> dict[str, tuple[int, float]]:
    """Return the number of images and the least accuracy under another network's points, by target."""
    least: dict[str, tuple[int, float]] = {}
    for directory in black_box:
        metrics = json.loads((directory / "metrics.json").read_text(encoding="utf-8"))
        for accuracies in metrics["accuracy"].values():
            for target, accuracy in accuracies.items():
                if target != metrics["source"]:
                    least[target] = (metrics["n"], min(accuracy, least.get(target, (0, 1.0))[1]))
    return least


def _hundredfold(shares: Sequence[float]) -> list[float]:
    return [100 * share for share in shares]
