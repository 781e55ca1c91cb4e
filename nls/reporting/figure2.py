"""Figure 2: accuracy against the size of the training set, and paired differences between the losses."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nls.reporting.runs import Evidence, RunRecord, missing_notes
from nls.reporting.statistics import paired_difference
from nls.reporting.style import in_legend, missing_figure

BASELINES = ("cross_entropy", "hinge")
NAMES = {"cross_entropy": "cross-entropy", "hinge": "hinge", "geometric_svm": "geometric SVM"}

# The paper's order.
_DATASETS = ("mnist", "fashion_mnist", "cifar10")

# Dataset, fraction, loss: a row of the table.
Key = tuple[str, float, str]

# dataset → fraction → loss → seed → accuracy
Accuracies = dict[str, dict[float, dict[str, dict[int, float]]]]


def table(evidence: Evidence) -> tuple[pd.DataFrame, list[str]]:
    """Return one row a dataset, fraction, loss and source: mean, deviation, worst and collapsed seeds, differences.

    Accuracies are percent of what the notes name. A paired difference is the mean over the common seeds of this loss
    minus the baseline, with a 95% interval of Student's t.
    """
    rows = []
    sources = {"here": evidence.complete("figure2"), "reference": evidence.reference("figure2")}
    for source, records in sources.items():
        details = _details(records)
        trained = {_key(record): record.spec["training"] for record in records}
        for dataset, fractions in _accuracies(records).items():
            for fraction, losses in sorted(fractions.items()):
                for loss in losses:
                    key = (dataset, fraction, loss)
                    rows.append(_row(key, source, losses, details[key], trained[key]))
    measured_on = _measured_on([*sources["here"], *sources["reference"]])
    notes = [
        f"Accuracies, deviations and differences are percent of {measured_on}; every seed counts.",
        "worst: the seed with the lowest accuracy. collapsed: seeds less than 5 points above the share of the larger "
        "class. fallback: percent of the samples that took the output-space hinge because their level set samples "
        "were not to be believed.",
    ]
    # A baseline that the suite does not have has no columns.
    frame = pd.DataFrame(rows).dropna(axis="columns", how="all")
    percents = frame.columns.difference(["fraction", "learning rate"])
    return frame.round(dict.fromkeys(percents, 2)), notes + missing_notes(evidence.missing("figure2"))


def _row(
    key: Key,
    source: str,
    losses: Mapping[str, Mapping[int, float]],
    details: tuple[int, int, float],
    training: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the row of a loss beside the other ``losses`` of its dataset and fraction, each with its seeds."""
    dataset, fraction, loss = key
    images, collapsed, fallback = details
    values = np.array(list(losses[loss].values()))
    row = {
        "dataset": dataset,
        "fraction": fraction,
        "images": images,
        "loss": NAMES.get(loss, loss),
        "steps": training["steps"],
        "learning rate": training["learning_rate"],
        "source": source,
        "seeds": len(values),
        "mean": 100 * values.mean(),
        "std": 100 * values.std(ddof=1) if len(values) > 1 else None,
        "worst": 100 * values.min(),
        "collapsed": collapsed,
        "fallback": 100 * fallback,
    }
    for baseline in BASELINES:
        other = {} if loss == baseline else losses.get(baseline, {})
        difference = paired_difference(losses[loss], other, factor=100)
        shown = difference if difference is not None and difference.pairs > 1 else None
        row[f"minus {NAMES[baseline]}"] = shown and shown.mean
        row[f"95% low ({NAMES[baseline]})"] = shown and shown.low
        row[f"95% high ({NAMES[baseline]})"] = shown and shown.high
    return row


def figure(evidence: Evidence) -> Figure:
    """Draw mean and standard deviation against the number of training images, a panel a dataset.

    Without runs of this machine it draws the reference.
    """
    records, source = evidence.drawn("figure2")
    accuracies, details = _accuracies(records), _details(records)
    if not accuracies:
        return missing_figure("no complete run of Figure 2")
    panels = len(accuracies)
    picture, axes = plt.subplots(1, panels, figsize=(4.6 * panels, 3.6), squeeze=False, layout="constrained")
    for axis, (dataset, fractions) in zip(axes[0], accuracies.items(), strict=True):
        losses = list(dict.fromkeys(loss for found in fractions.values() for loss in found))
        for loss in losses:
            points = [
                (details[dataset, fraction, loss][0], 100 * np.array(list(found[loss].values())))
                for fraction, found in sorted(fractions.items())
                if loss in found
            ]
            sizes = [size for size, _ in points]
            means = np.array([values.mean() for _, values in points])
            spread = np.array([values.std(ddof=1) if len(values) > 1 else 0.0 for _, values in points])
            label = in_legend(NAMES.get(loss, loss))
            (line,) = axis.plot(sizes, means, marker="o", markersize=4, label=label)
            axis.fill_between(
                sizes, means - spread, means + spread, alpha=0.15, color=line.get_color(), linewidth=0
            )
        seeds = {len(found) for fraction in fractions.values() for found in fraction.values()}
        axis.set_xscale("log")
        ticks = sorted({images for (name, _, _), (images, _, _) in details.items() if name == dataset})
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
        counted = f", {min(seeds)} seeds" if len(seeds) == 1 else ""
        axis.set_title(f"{dataset}{counted}{source}")
        axis.set_xlabel("training images")
        axis.set_ylabel(f"accuracy on {_measured_on(records)} (%)")
        axis.legend()
    return picture


def _measured_on(records: Iterable[RunRecord]) -> str:
    """Return what the runs were measured on, in words."""
    named = {"test": "the test set", "validation": "a tenth of the training set, held out"}
    return " or ".join(sorted({named[record.spec["evaluate_on"]] for record in records}) or ["the test set"])


def _key(record: RunRecord) -> Key:
    """Return the row of the table that a run belongs to."""
    return Path(record.spec["dataset"]).stem, record.spec["fraction"], record.spec["name"]


def _accuracies(records: Iterable[RunRecord]) -> Accuracies:
    """Return the accuracies of the runs: the paper's datasets first, in its order."""
    found: Accuracies = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    for record in records:
        metrics = record.metrics
        assert metrics is not None
        accuracies = dict(zip(metrics["seeds"], metrics["accuracy"], strict=True))
        dataset, fraction, name = _key(record)
        found[dataset][fraction][name].update(accuracies)
    known = [dataset for dataset in _DATASETS if dataset in found]
    return {dataset: found[dataset] for dataset in [*known, *sorted(found.keys() - set(known))]}


def _details(records: Iterable[RunRecord]) -> dict[Key, tuple[int, int, float]]:
    """Return training images, collapsed seeds and the mean fallback share of each dataset, fraction and loss."""
    collapsed: dict[Key, int] = defaultdict(int)
    shares: dict[Key, list[float]] = defaultdict(list)
    images: dict[Key, int] = {}
    for record in records:
        metrics = record.metrics
        assert metrics is not None
        key = _key(record)
        images[key] = metrics["training_images"]
        collapsed[key] += sum(metrics["collapsed"])
        shares[key] += metrics["fallback_share"]
    return {key: (images[key], collapsed[key], float(np.mean(shares[key]))) for key in images}
