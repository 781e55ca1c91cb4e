"""Table 1: the paper's figures, the reference's and this machine's side by side; differences."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nls.engine.finished import HISTORY
from nls.reporting import independent
from nls.reporting.claims import OURS, TABLE1, find_claim
from nls.reporting.differences import Compared, claim_notes, difference_line, how_to_read
from nls.reporting.runs import Evidence, RunRecord, missing_notes
from nls.reporting.statistics import Spread, paired_difference, spread, with_whole_counts

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

# ε of the paper's attacks, in L∞.
PAPER_EPS: Mapping[str, float] = {"mnist": 0.3, "cifar10": 0.031}

# The paper's methods in its order.
METHODS = ("standard", "madry", "trades", "ours")

# Columns that the paper has, in its order.
PAPER_COLUMNS = ("clean", "pgd-xent", "pgd-margin")

# Further attacks that a run may report; percent of the test images withstood.
OTHERS = ("apgd-ce", "apgd-t", "fab-t", "square", "autoattack", "min")

# Settings are chosen by it.
HELD_OUT = "held-out"

# Figures in which methods are compared.
COMPARED = (*PAPER_COLUMNS, "autoattack", "min")

FLAG = (
    "†: gradient masking suspected: a black-box attack beats a white-box one, or the gradient of an attack's loss "
    "vanishes; read the minimum over attacks."
)

HOW_HELD_OUT = (
    f"{HELD_OUT}: what ten steps of PGD leave of the training images held out, after the epoch that is kept; "
    "settings are chosen by it, never by test images."
)


@dataclass(frozen=True)
class TrainedRow:
    """A run directory of Table 1: one row, trained and attacked with one seed."""

    directory: Path
    row: Mapping[str, Any]
    seed: int
    eps: float
    metrics: Mapping[str, Any]

    @classmethod
    def of(cls, record: RunRecord) -> "TrainedRow":
        """Take what the table needs from a complete run."""
        assert record.metrics is not None
        spec = record.spec
        return cls(record.directory, spec["row"], spec["seed"], spec["attacks"]["eps"], record.metrics)

    @property
    def key(self) -> Key:
        """What the table compares: dataset, network, method with its variant, and ε_train."""
        variant = self.row.get("variant")
        method = self.row["method"] if variant is None else f"{self.row['method']}-{variant}"
        return (self.row["dataset"], self.row["network"], method, self.row["eps_train"])

    @property
    def label(self) -> str:
        """The method, a user's without its file, with its ε_train."""
        return row_label(self.key).rsplit(":", 1)[-1]

    @property
    def is_trial(self) -> bool:
        """Tell whether held-out images judge the network, and one test image is attacked for the run to end."""
        return self.metrics["n"] == 1 and "held_out" in self.metrics

    @property
    def percents(self) -> dict[str, float]:
        """Accuracies in percent by column; under PGD the mean over its starts, as in the paper.

        A trial has the accuracy on held-out images only.
        """
        metrics = self.metrics
        shares: dict[str, float] = {}
        if not self.is_trial:
            shares |= {"clean": metrics["clean_accuracy"]}
            shares |= metrics["robust_accuracy"] | metrics["mean_over_starts"]
        if "held_out" in metrics:
            shares |= {HELD_OUT: metrics["held_out"]["robust_accuracy"]}
        return {name: round(100 * share, 2) for name, share in shares.items()}

    def history(self) -> dict[str, list[float]]:
        """Return the columns of the training history."""
        with (self.directory / HISTORY).open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return {name: [float(row[name]) for row in rows] for name in rows[0]} if rows else {}


# The seeds of a row that were trained and attacked.
Seeds = Mapping[int, TrainedRow]


def table(evidence: Evidence) -> tuple[pd.DataFrame, list[str]]:
    """Return the table and its notes, one line each.

    Robust accuracies under PGD are means over the random starts, as in the paper; the column ``min`` is the share
    that withstands every attack and every start; ``images`` is how many test images were attacked, and ``eps`` by how
    much in L∞. With several seeds a cell is the mean over them ± standard deviation. ``independent`` is what others
    measured on the very network of the paper's row. Paper rows of datasets that nothing was run on are left out.
    Under the table stands a verdict on each claim of the paper about rows that were attacked as the paper's were.
    """
    sources = _sources(evidence)
    transfer = {
        "reference": least_transfer(evidence.reference("blackbox")),
        "here": least_transfer(evidence.complete("blackbox")),
    }
    ran = {key[:2] for rows in sources.values() for key in rows}
    asked = dict.fromkeys(
        (*(key for key in PAPER if key[:2] in ran), *sources["here"], *sources["reference"])
    )
    keys = sorted(asked, key=_place)
    several = any(len(seeds) > 1 for rows in sources.values() for seeds in rows.values())
    lines, doubts = [], []
    for key in keys:
        found = {source: rows.get(key, {}) for source, rows in sources.items()}
        reasons = {
            source: {seed: doubts_about(row, transfer[source]) for seed, row in seeds.items()}
            for source, seeds in found.items()
        }
        lines.append(_row(key, found, reasons, several))
        doubts += [
            f"{key[0]} {key[1]} {row_label(key)} ({source}, seed {seed}): {'; '.join(told)}"
            for source in sources
            for seed, told in reasons[source].items()
            if told
        ]
    frame = pd.DataFrame(lines).dropna(axis="columns", how="all")
    frame = with_whole_counts(frame, "images (", "seeds (")
    notes = [FLAG, *doubts] if doubts else []
    notes += [HOW_HELD_OUT] if len(frame.filter(like=HELD_OUT).columns) else []
    notes += claim_notes("table1", _comparisons(sources))
    notes += [
        note for dataset in dict.fromkeys(key[0] for key in keys) for note in independent.notes(dataset)
    ]
    return frame, notes + missing_notes(evidence.missing("table1"))


def _row(
    key: Key,
    found: Mapping[str, Seeds],
    reasons: Mapping[str, Mapping[int, Sequence[str]]],
    several: bool,
) -> dict[str, Any]:
    """Return a row of the table: each figure as the paper has it, and each source, where it has such runs.

    Args:
        key: the row.
        found: source to its seeds of the row.
        reasons: source to the reasons to doubt each of them.
        several: whether the table counts seeds.
    """
    dataset, network, method, eps = key
    row: dict[str, Any] = {"dataset": dataset, "network": network, "method": method, "eps_train": eps}
    cells = {source: _cells(seeds) if seeds else {} for source, seeds in found.items()}
    for source, seeds in found.items():
        row[f"images ({source})"] = _images(seeds)
    row["eps (paper)"] = PAPER_EPS[dataset] if key in PAPER else None
    for source, seeds in found.items():
        row[f"eps ({source})"] = _eps(seeds)
    for column, name in enumerate(PAPER_COLUMNS):
        row[f"{name} (paper)"] = PAPER[key][column] if key in PAPER else None
        for source in found:
            row[f"{name} ({source})"] = cells[source].get(name)
    for name in (*OTHERS, HELD_OUT):
        if name == "autoattack":
            row[f"{name} (independent)"] = (
                independent.ROWS[key].autoattack if key in independent.ROWS else None
            )
        for source in found:
            row[f"{name} ({source})"] = cells[source].get(name)
    for source, seeds in found.items():
        row[f"masking ({source})"] = ("†" if any(reasons[source].values()) else "") if seeds else None
    if several:
        for source, seeds in found.items():
            row[f"seeds ({source})"] = len(seeds) or None
    return row


def differences(evidence: Evidence) -> tuple[pd.DataFrame, list[str]]:
    """Return ours minus every other row of the same dataset and network, in points, paired by seed."""
    compared = _comparisons(_sources(evidence))
    frame = pd.DataFrame([difference_line(one) for one in compared]).dropna(axis="columns", how="all")
    return with_whole_counts(frame, "pairs ("), [
        how_to_read("table1"),
        *missing_notes(evidence.missing("table1")),
    ]


def _sources(evidence: Evidence) -> dict[str, dict[Key, Seeds]]:
    """Return the rows of the reference and of this machine, each with its seeds."""
    return {
        "reference": by_seed(evidence.reference("table1")),
        "here": by_seed(evidence.complete("table1")),
    }


def by_seed(records: Sequence[RunRecord]) -> dict[Key, Seeds]:
    """Return the rows, each with its seeds in order."""
    rows: dict[Key, dict[int, TrainedRow]] = {}
    for row in map(TrainedRow.of, records):
        rows.setdefault(row.key, {})[row.seed] = row
    return {key: dict(sorted(seeds.items())) for key, seeds in rows.items()}


def _cells(seeds: Seeds) -> dict[str, Spread | float]:
    """Return the cell of each column that every seed has."""
    rows = [row.percents for row in seeds.values()]
    return {name: spread([row[name] for row in rows]) for name in rows[0] if all(name in row for row in rows)}


def _images(seeds: Seeds) -> int | None:
    """Return how many images a row's networks were attacked on, the least over its seeds; None for trials."""
    return min((row.metrics["n"] for row in seeds.values() if not row.is_trial), default=None)


def _eps(seeds: Seeds) -> float | None:
    """Return the radius of the attacks, which all seeds of a suite share; None for trials."""
    return next((row.eps for row in seeds.values() if not row.is_trial), None)


def _comparisons(sources: Mapping[str, Mapping[Key, Seeds]]) -> list[Compared]:
    """Compare our rows with all others of their dataset and network, in every figure that some source has.

    The paper's claims are about its own rows under its own attacks, not about the later methods of this suite
    (``ours-…``).
    """
    keys = sorted(dict.fromkeys(key for rows in sources.values() for key in rows), key=_place)
    compared = []
    later = [key for key in keys if key[2].startswith(f"{OURS['table1']}-")]
    for ours in [*(key for key in keys if key[2] == OURS["table1"]), *later]:
        for other in [key for key in keys if key[:2] == ours[:2] and key[2] != ours[2] and key not in later]:
            is_the_papers = (
                ours in PAPER
                and other in PAPER
                and {_eps(rows[key]) for rows in sources.values() for key in (ours, other) if key in rows}
                == {PAPER_EPS[ours[0]]}
            )
            for column, name in enumerate(COMPARED):
                found = {
                    source: paired_difference(
                        _values(rows.get(ours, {}), name), _values(rows.get(other, {}), name)
                    )
                    for source, rows in sources.items()
                }
                if not any(found.values()):
                    continue
                known = is_the_papers and name in PAPER_COLUMNS
                compared.append(
                    Compared(
                        place={"dataset": ours[0], "network": ours[1]},
                        ours=row_label(ours),
                        other=row_label(other),
                        measure=name,
                        paper=round(PAPER[ours][column] - PAPER[other][column], 2) if known else None,
                        found={source: difference for source, difference in found.items() if difference},
                        claim=find_claim(TABLE1[ours[:2]], name, other[2]) if known else None,
                    )
                )
    return compared


def _values(seeds: Seeds, name: str) -> dict[int, float]:
    found = {seed: row.percents.get(name) for seed, row in seeds.items()}
    return {seed: value for seed, value in found.items() if value is not None}


def row_label(key: Key) -> str:
    """Return the method with its ε_train."""
    _, _, method, eps = key
    return method if eps is None else f"{method} {eps:g}"


def _place(key: Key) -> tuple[int, str, str, int]:
    """Return where a row stands: the paper's rows in its order, then the others by dataset, network and method."""
    dataset, network, method, _ = key
    paper = list(PAPER).index(key) if key in PAPER else len(PAPER)
    return paper, dataset, network, METHODS.index(method) if method in METHODS else len(METHODS)


def doubts_about(row: TrainedRow, transfer: Mapping[tuple[str, int, float], float]) -> list[str]:
    """Return the reasons to suspect gradient masking, with what :func:`least_transfer` found; none of a trial."""
    if row.is_trial:
        return []
    accuracy = dict(row.metrics["robust_accuracy"])
    least = transfer.get((row.directory.name, row.metrics["n"], row.eps))
    if least is not None:
        accuracy["transfer"] = least
    from nls.attacks.masking import masking_reasons  # with torch, which the curves do without

    return masking_reasons(accuracy, row.metrics["vanishing_gradient_share"])


def least_transfer(black_box: Sequence[RunRecord]) -> dict[tuple[str, int, float], float]:
    """Return the least accuracy under another network's points, by target, number of images and ε."""
    least: dict[tuple[str, int, float], float] = {}
    for record in black_box:
        metrics, eps = record.metrics, record.spec["group"]["transfer"]["eps"]
        assert metrics is not None
        for accuracies in metrics["accuracy"].values():
            for target, accuracy in accuracies.items():
                if target != metrics["source"]:
                    key = (target, metrics["n"], eps)
                    least[key] = min(accuracy, least.get(key, 1.0))
    return least
