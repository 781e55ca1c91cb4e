"""Curves in R³: closed and open splines, sampled clean, noisy and in part."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from nls.data import store
from nls.errors import UserError

SAMPLES = 100
_KNOTS = 7
_TRUTH = 2000  # segments of the true polyline
_SEED = 0

# Variant: standard deviation of the noise in each coordinate, and the part of the length that is left out.
_VARIANTS = {"clean": (0.0, 0.0), "noise": (0.01, 0.0), "large_noise": (0.05, 0.0), "partial": (0.01, 0.25)}
CURVES = tuple(f"{kind}_{variant}" for kind in ("closed", "open") for variant in _VARIANTS)


@dataclass(frozen=True)
class Curve:
    """Samples (n, 3) of a curve and the curve itself, a fine polyline (m, 3), inside the cube [-1, 1]³.

    A closed curve's polyline ends with the point it starts with.
    """

    name: str
    points: Float64[np.ndarray, "n 3"]
    truth: Float64[np.ndarray, "m 3"]
    closed: bool


def make_curve(closed: bool, variant: str) -> Curve:
    """Make one curve: a cubic spline through seven seeded points, sampled evenly along its length.

    Variants: ``clean``; ``noise`` (0.01 in each coordinate); ``large_noise`` (0.05); ``partial`` (noise 0.01, a
    quarter of the length missing in one piece).
    """
    from nls.engine.seeds import numpy_stream  # brings torch, which reading curves can do without

    kind = "closed" if closed else "open"
    truth = _spline(closed, numpy_stream(_SEED, "knots", kind))
    noise, gap = _VARIANTS[variant]
    steps = np.linalg.norm(np.diff(truth, axis=0), axis=1)
    length = np.concatenate([[0.0], np.cumsum(steps)])

    stream = numpy_stream(_SEED, "curve", kind, variant)
    if closed:
        place = stream.random() + (1 - gap) * np.arange(SAMPLES) / (SAMPLES if gap == 0 else SAMPLES - 1)
        place %= 1.0
    else:
        place = np.linspace(0, 1 - gap, SAMPLES)
        start = 0.2 + 0.4 * stream.random()  # an open curve keeps both ends: the gap lies inside
        place = np.where(place < start, place, place + gap)
    points = np.stack([np.interp(place * length[-1], length, truth[:, axis]) for axis in range(3)], axis=1)
    points += noise * stream.standard_normal(points.shape)
    return Curve(f"{kind}_{variant}", points, truth, closed)


def make_curves(folder: Path) -> dict[str, Any]:
    """Write the eight curves into ``folder`` and return the receipt's facts."""
    names = []
    for closed in (True, False):
        for variant in _VARIANTS:
            curve = make_curve(closed, variant)
            np.savez(folder / f"{curve.name}.npz", points=curve.points, truth=curve.truth, closed=closed)
            names.append(curve.name)
    return {"name": "curves", "source": f"seed {_SEED}", "curves": names}


def load_curves(root: Path) -> list[Curve]:
    """Return the curves that were fetched under ``root``.

    Raises:
        UserError: they were not fetched, or are damaged.
    """
    folder = root / "curves"
    receipt = store.require_receipt(folder)
    store.require_intact(folder, receipt)
    curves = []
    for name in receipt["curves"]:
        try:
            with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
                curves.append(Curve(name, file["points"], file["truth"], bool(file["closed"])))
        except (ValueError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{folder / name}.npz is damaged: run `nls data fetch curves --root {root}`"
            ) from error
    return curves


def _spline(closed: bool, stream: np.random.Generator) -> np.ndarray:
    """Return a fine polyline along the spline through the seeded knots."""
    from scipy.interpolate import CubicSpline

    if closed:  # a ring whose radius and height vary
        angle = 2 * np.pi * np.arange(_KNOTS) / _KNOTS
        radius = 0.65 + 0.2 * stream.uniform(-1, 1, _KNOTS)
    else:  # a turn and a quarter of a helix, perturbed
        angle = 2.5 * np.pi * np.arange(_KNOTS) / (_KNOTS - 1)
        radius = 0.6 + 0.1 * stream.uniform(-1, 1, _KNOTS)
    height = 0.5 * stream.uniform(-1, 1, _KNOTS) if closed else np.linspace(-0.7, 0.7, _KNOTS)
    knots = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
    if closed:
        knots = np.concatenate([knots, knots[:1]])
    spline = CubicSpline(np.arange(len(knots)), knots, bc_type="periodic" if closed else "natural")
    return np.asarray(spline(np.linspace(0, len(knots) - 1, _TRUTH + 1)))
