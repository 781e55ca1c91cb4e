"""Statistics of repeated runs: mean and deviation, paired differences with their intervals, and verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
from scipy.special import stdtrit

CONFIDENCE = 0.95

Key = TypeVar("Key")

Relation = Literal["above", "below", "comparable to"]
Verdict = Literal["reproduced", "not reproduced", "undecided"]


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (of a sample, ``n − 1``) of two values or more: a cell of a table."""

    mean: float
    deviation: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.deviation:.2f}"


def with_whole_counts(frame: pd.DataFrame, *beginnings: str) -> pd.DataFrame:
    """Return the table with whole numbers in the columns that begin so: empty cells would make them fractions."""
    return frame.astype({name: "Int64" for name in frame if str(name).startswith(beginnings)})


def spread(values: Sequence[float]) -> Spread | float:
    """Return the mean of the values with their deviation; one value stays a number, to the places of a spread."""
    if len(values) == 1:
        return round(values[0], 2)
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)))


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences, and the interval of Student's t that holds it with 95% confidence.

    Attributes:
        mean: over the pairs.
        low: lower end; None with fewer than two pairs, which say nothing of chance.
        high: upper end.
        pairs: how many.
    """

    mean: float
    low: float | None
    high: float | None
    pairs: int

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends, or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)


def paired_difference(
    ours: Mapping[Key, float], other: Mapping[Key, float], factor: float = 1.0
) -> Difference | None:
    """Return ``factor · (ours − other)`` over the keys (seeds, scans) that both have; None if there are none.

    Pairing takes away what both share with a key: the part of the training set, the images, the scan.
    """
    keys = [key for key in ours if key in other]
    if not keys:
        return None
    differences = factor * np.array([ours[key] - other[key] for key in keys])
    mean = float(differences.mean())
    if len(keys) == 1:
        return Difference(mean, None, None, 1)
    error = float(differences.std(ddof=1)) / len(keys) ** 0.5
    reach = float(stdtrit(len(keys) - 1, (1 + CONFIDENCE) / 2)) * error
    return Difference(mean, mean - reach, mean + reach, len(keys))


def verdict(relation: Relation, difference: Difference | None, tolerance: float = 0.0) -> Verdict:
    """Judge a claim by the interval of the difference ours − other.

    ``above`` and ``below``: reproduced if the whole interval lies on that side of 0, not reproduced if it lies on
    the other. ``comparable to``: reproduced if it lies within ``tolerance`` of 0, not reproduced if it lies outside.
    Otherwise, and without an interval, undecided.
    """
    if difference is None or difference.interval is None:
        return "undecided"
    low, high = difference.interval
    if relation == "below":
        low, high = -high, -low
    if relation == "comparable to":
        holds, fails = -tolerance <= low and high <= tolerance, low > tolerance or high < -tolerance
    else:
        holds, fails = low > 0, high < 0
    return "reproduced" if holds else "not reproduced" if fails else "undecided"
