"""Table 2: distances to the ground truth, the paper's figures, the reference's and this machine's side by side."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from nls.reporting.claims import OURS, TABLE2, find_claim
from nls.reporting.differences import Compared, claim_notes, difference_line, how_to_read
from nls.reporting.runs import Evidence, RunRecord, missing_notes, scan_name
from nls.reporting.statistics import Spread, paired_difference, spread, with_whole_counts
from nls.reporting.surface_measures import mean_columns, values_of

# Chamfer L1 and L2, mean and standard deviation over ten scans of FAUST, ×10³.
PAPER: Mapping[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "atlasnet-sphere": ((23.56, 2.91), (17.69, 2.45)),
    "atlasnet-1": ((18.67, 3.45), (13.38, 2.66)),
    "atlasnet-25": ((11.54, 0.53), (7.89, 0.42)),
    "levelset-paper": ((10.71, 0.63), (7.32, 0.46)),
}

# The default of ``nls reconstruct``: the paper's loss, with grids of corrections beside its network.
DEFAULT = "levelset"

# A method whose error fell by more than this part over the last third of its training is marked.
STILL_FALLING = 0.05

# The column that says which runs the columns behind it are of.
SOURCE = "further figures of"

# Further columns of one source.
_FURTHER = (
    "from_scan",
    "hands",
    "face",
    "separate_fingers",
    "to_truth_l2",
    "from_truth_l2",
    "hausdorff_95",
    "hausdorff",
    "normal_consistency",
    "f_score",
    "iou",
    "watertight",
    "components",
    "euler",
    "boundary_edges",
    "nonmanifold_edges",
    "floor_l1",
    "floor_l2",
)


def table(evidence: Evidence) -> tuple[pd.DataFrame, list[str]]:
    """Return the table and its notes, one line each.

    Chamfer distances are mean ± standard deviation over scans, in metres × 10³; the further columns are means
    over the runs of this machine, or over the reference's where this machine has none of the method, as the column
    :data:`SOURCE` says. With several seeds a scan counts with its mean over them, and ``over seeds`` is the
    deviation of the mean over scans from seed to seed.
    """
    mine = _by_method(evidence.complete("table2"))
    kept = _by_method(evidence.reference("table2"))
    sources = {"reference": kept, "here": mine}
    several = any(len(_seeds(runs)) > 1 for methods in sources.values() for runs in methods.values())
    lines = []
    for name in dict.fromkeys((*PAPER, *mine, *kept)):
        line: dict[str, Any] = {"method": name}
        for column, norm in enumerate(("l1", "l2")):
            title = f"Chamfer {norm.upper()} ×10³"
            line[f"{title} (paper)"] = Spread(*PAPER[name][column]) if name in PAPER else None
            for source, runs in (("reference", kept.get(name)), ("here", mine.get(name))):
                line[f"{title} ({source})"] = _over_scans(runs, f"chamfer_{norm}") if runs else None
                if several:
                    line[f"{title} over seeds ({source})"] = (
                        _over_seeds(runs, f"chamfer_{norm}") if runs else None
                    )
        for source, runs in (("reference", kept.get(name)), ("here", mine.get(name))):
            line[f"scans ({source})"] = len({run.spec["scan"] for run in runs}) if runs else None
            if several:
                line[f"seeds ({source})"] = len(_seeds(runs)) if runs else None
        shown = mine.get(name) or kept.get(name)
        if shown:
            line[SOURCE] = "here" if mine.get(name) else "reference"
            line |= mean_columns(shown, _FURTHER)
            seconds = [time for run in shown if (time := _training_seconds(run)) is not None]
            line["seconds of training"] = (
                round(float(np.mean(seconds)), 1) if len(seconds) == len(shown) else None
            )
            line["training"] = _budget(shown[0])
            line["last third"] = _last_third(shown)
        lines.append(line)
    frame = pd.DataFrame(lines).dropna(axis="columns", how="all")
    frame = with_whole_counts(frame, "scans (", "seeds (")
    notes = _notes(mine, kept) + claim_notes("table2", _comparisons(sources))
    return frame, notes + missing_notes(evidence.missing("table2"))


def differences(evidence: Evidence) -> tuple[pd.DataFrame, list[str]]:
    """Return our Chamfer distances minus every other method's, ×10³, paired by scan."""
    compared = _comparisons(
        {
            "reference": _by_method(evidence.reference("table2")),
            "here": _by_method(evidence.complete("table2")),
        }
    )
    frame = pd.DataFrame([difference_line(one) for one in compared]).dropna(axis="columns", how="all")
    return with_whole_counts(frame, "pairs ("), [
        how_to_read("table2"),
        *missing_notes(evidence.missing("table2")),
    ]


def scans(evidence: Evidence) -> tuple[pd.DataFrame, list[str]]:
    """Return one row a run: every metric of every scan and method, in metres.

    The runs are this machine's, or without any the reference's, and the column ``source`` says so.
    """
    runs, source = evidence.drawn("table2")
    rows = [
        {
            "method": run.spec["name"],
            "data": run.spec["data"],
            "scan": scan_name(run),
            "seed": run.spec["seed"],
            "source": "reference" if source else "here",
        }
        | {name: value for name, value in (run.metrics or {}).items() if not isinstance(value, list)}
        | {"wall_seconds": run.provenance["wall_seconds"]}
        for run in runs
    ]
    return pd.DataFrame(rows), missing_notes(evidence.missing("table2"))


def _by_method(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    runs: dict[str, list[RunRecord]] = {}
    for run in records:
        runs.setdefault(run.spec["name"], []).append(run)
    return runs


def _comparisons(sources: Mapping[str, Mapping[str, Sequence[RunRecord]]]) -> list[Compared]:
    """Compare the paper's method and the suite's default with every other one, in both Chamfer distances.

    The claims are about the paper's method.
    """
    names = dict.fromkeys(name for methods in sources.values() for name in methods)
    order = sorted(names, key=lambda name: list(PAPER).index(name) if name in PAPER else len(PAPER))
    compared = []
    for ours in (OURS["table2"], DEFAULT):
        for other, (column, norm) in product(
            [name for name in order if name not in (ours, DEFAULT)], enumerate(("l1", "l2"))
        ):
            found = {
                source: paired_difference(
                    _by_scan(methods.get(ours, []), f"chamfer_{norm}"),
                    _by_scan(methods.get(other, []), f"chamfer_{norm}"),
                    factor=1e3,
                )
                for source, methods in sources.items()
            }
            if not any(found.values()):
                continue
            known = ours in PAPER and other in PAPER
            measure = f"Chamfer {norm.upper()}"
            compared.append(
                Compared(
                    place={},
                    ours=ours,
                    other=other,
                    measure=measure,
                    paper=round(PAPER[ours][column][0] - PAPER[other][column][0], 2) if known else None,
                    found={source: difference for source, difference in found.items() if difference},
                    claim=find_claim(TABLE2, measure, other) if known else None,
                )
            )
    return compared


def _seeds(runs: Sequence[RunRecord]) -> list[int]:
    return sorted({run.spec["seed"] for run in runs})


def _by_scan(runs: Sequence[RunRecord], key: str) -> dict[str, float]:
    """Return each scan's mean over its seeds."""
    scans: dict[str, list[float]] = {}
    for run in runs:
        if run.metrics is not None and key in run.metrics:
            scans.setdefault(f"{run.spec['data']} {run.spec['scan']:03d}", []).append(run.metrics[key])
    return {scan: float(np.mean(values)) for scan, values in scans.items()}


def _over_scans(runs: Sequence[RunRecord], key: str) -> Spread | float | None:
    """Return the mean over scans and its deviation, ×10³; None where the truth of no scan is known."""
    values = [1e3 * value for value in _by_scan(runs, key).values()]
    return spread(values) if values else None


def _over_seeds(runs: Sequence[RunRecord], key: str) -> Spread | float | None:
    """Return the mean over the scans that every seed has, and its deviation from seed to seed; None for one seed."""
    by_seed = [_by_scan([run for run in runs if run.spec["seed"] == seed], key) for seed in _seeds(runs)]
    common = set.intersection(*(set(found) for found in by_seed))
    if len(by_seed) < 2 or not common:
        return None
    return spread([1e3 * float(np.mean([found[scan] for scan in common])) for found in by_seed])


def _notes(mine: Mapping[str, Sequence[RunRecord]], kept: Mapping[str, Sequence[RunRecord]]) -> list[str]:
    notes = [
        "The floor is the distance of two samplings of the ground truth: no reconstruction can expect to beat it.",
        "Last third: the change of the Chamfer distance (L2) over the last third of the training. ↓ marks a method "
        f"whose error was still falling by more than {STILL_FALLING:.0%}: with more steps it would reach less.",
    ]
    if DEFAULT in (*kept, *mine):
        notes.append(
            f"{DEFAULT} has grids of corrections beside the paper's network; {OURS['table2']} is the network alone, "
            "and the paper's claims are judged by it."
        )
    for source, methods in (("reference", kept), ("here", mine)):
        sets = {run.spec["data"] for runs in methods.values() for run in runs}
        if any(name.endswith(".csv") for name in sets):
            notes.append(
                f"{source}: means are over the scans whose truth is known, in the unit of their files."
            )
        if sets and sets != {"faust"}:
            notes.append(f"{source}: {', '.join(sorted(sets))}; the paper's figures are for FAUST.")
        notes += [f"{source}, {name}: {settings}" for name, settings in _settings(methods).items()]
        notes += _dropped(source, methods)
    return notes


def _dropped(source: str, methods: Mapping[str, Sequence[RunRecord]]) -> list[str]:
    """Say what every method dropped of its surfaces before they were measured."""
    notes = []
    for name, runs in methods.items():
        counts = [int(count) for count in values_of(runs, "dropped_pieces")]
        if sum(counts):
            notes.append(
                f"{source}, {name}: before measuring, {sum(counts)} pieces with less than a thousandth of their "
                f"surface's area were dropped, in {np.count_nonzero(counts)} of {len(counts)} runs."
            )
    return notes


def _training_seconds(run: RunRecord) -> float | None:
    """Return what the training took, without meshing and measuring; None where its clock was not read."""
    seconds = run.provenance["timings"].get("curve_seconds")
    return seconds[-1] if seconds else None


def _budget(run: RunRecord) -> str | None:
    """Return the steps and the points of a step."""
    training = run.spec["method"].get("training")
    return f"{training['steps']} × {training['batch']} points" if training else None


def _last_third(runs: Sequence[RunRecord]) -> str | None:
    """Return by how much the mean error fell over the last third of the training; None where nobody looked."""
    curves = [run.metrics.get("curve_errors", []) for run in runs if run.metrics is not None]
    ends = [(curve[-2], curve[-1]) for curve in curves if len(curve) > 1 and curve[-2] is not None]
    if len(ends) < len(runs):
        return None
    before, after = np.mean(ends, axis=0)
    change = after / before - 1
    return f"{100 * change:+.0f}%" + (" ↓" if change < -STILL_FALLING else "")


def _settings(methods: Mapping[str, Sequence[RunRecord]]) -> dict[str, str]:
    """Return what each method's training was, in words."""
    told = {}
    for name, runs in methods.items():
        training = runs[0].spec["method"].get("training")
        if training is not None:
            told[name] = (
                f"{training['steps']} steps of {training['batch']} points, {training['optimizer']} at "
                f"{training['learning_rate']:g}, {training['schedule']}"
            )
    return told
