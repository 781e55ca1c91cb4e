"""The measures of a surface in tables: what they are called, in which unit, and their means over runs."""

from collections.abc import Mapping, Sequence

import numpy as np

from nls.reporting.runs import RunRecord

# Name in the metrics: name in a table, and factor.
_MEASURES: Mapping[str, tuple[str, float]] = {
    "chamfer_l2": ("Chamfer L2 ×10³", 1e3),
    "from_scan": ("from scan ×10³", 1e3),
    "hands": ("hands ×10³", 1e3),
    "face": ("face ×10³", 1e3),
    "separate_fingers": ("fingers apart", 1.0),
    "to_truth_l2": ("to truth ×10³", 1e3),
    "from_truth_l2": ("from truth ×10³", 1e3),
    "hausdorff_95": ("Hausdorff 95% ×10³", 1e3),
    "hausdorff": ("Hausdorff ×10³", 1e3),
    "normal_consistency": ("normals", 1.0),
    "f_score": ("F-score", 1.0),
    "iou": ("IoU", 1.0),
    "watertight": ("watertight", 1.0),
    "components": ("components", 1.0),
    "euler": ("Euler number", 1.0),
    "boundary_edges": ("boundary edges", 1.0),
    "nonmanifold_edges": ("non-manifold edges", 1.0),
    "floor_l1": ("floor L1 ×10³", 1e3),
    "floor_l2": ("floor L2 ×10³", 1e3),
}


def mean_columns(runs: Sequence[RunRecord], measures: Sequence[str]) -> dict[str, float | None]:
    """Return the mean over the runs of each measure, by its name in a table; lengths in metres × 10³.

    It is None where some run lacks the measure (the IoU of an open mesh): a mean over the runs in which it happens to
    be defined would flatter the method.
    """
    columns: dict[str, float | None] = {}
    for measure in measures:
        title, factor = _MEASURES[measure]
        values = values_of(runs, measure)
        columns[title] = round(factor * float(np.mean(values)), 3) if len(values) == len(runs) else None
    return columns


def values_of(runs: Sequence[RunRecord], measure: str) -> list[float]:
    """Return a measure of the runs that have it."""
    return [run.metrics[measure] for run in runs if run.metrics is not None and measure in run.metrics]
