"""Ours against the others: lines of the tables of differences, and a verdict on each claim of the paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nls.reporting.cells import signed
from nls.reporting.claims import Claim
from nls.reporting.statistics import Difference

# What a pair is, and the unit of a difference.
_PAIRED = {"table1": "seed", "table2": "scan"}
_UNITS = {"table1": " points", "table2": " ×10³"}
_HEAD = {
    "table1": "Differences are ours minus the other, in points, paired by seed",
    "table2": "Differences are ours minus the other, ×10³, paired by scan, each scan's mean over its seeds",
}


@dataclass(frozen=True)
class Compared:
    """Our row and another, in one measure.

    Attributes:
        place: what both have in common, as columns of the table.
        ours: our row.
        other: the other row.
        measure: what is compared.
        paper: the paper's difference; None where it has none.
        found: source (``reference``, ``here``) to the difference found there.
        claim: what the paper claims of it, if anything.
    """

    place: Mapping[str, str]
    ours: str
    other: str
    measure: str
    paper: float | None
    found: Mapping[str, Difference]
    claim: Claim | None


def difference_line(compared: Compared) -> dict[str, Any]:
    """Return the line of a table of differences."""
    claim = compared.claim
    line: dict[str, Any] = dict(compared.place) | {
        "ours": compared.ours,
        "other": compared.other,
        "measure": compared.measure,
        "difference (paper)": compared.paper,
    }
    for source in ("reference", "here"):
        found = compared.found.get(source)
        line[f"difference ({source})"] = None if found is None else round(found.mean, 2)
        for end, name in enumerate(("95% low", "95% high")):
            interval = None if found is None else found.interval
            line[f"{name} ({source})"] = None if interval is None else round(interval[end], 2)
        line[f"pairs ({source})"] = None if found is None else found.pairs
    line["claim"] = None if claim is None else f"ours {claim.relation}"
    for source in ("reference", "here"):
        found = compared.found.get(source)
        line[f"verdict ({source})"] = None if claim is None or found is None else claim.verdict(found)
    return line


def how_to_read(table: Literal["table1", "table2"]) -> str:
    """Return what the differences, intervals and verdicts mean."""
    return (
        f"{_HEAD[table]}, with the 95% interval of Student's t. A claim is reproduced if the whole interval agrees "
        f"with it, not reproduced if the whole interval contradicts it, otherwise undecided; one {_PAIRED[table]} "
        "decides nothing."
    )


def claim_notes(table: Literal["table1", "table2"], compared: Sequence[Compared]) -> list[str]:
    """Return how to read the verdicts, and one line for each claim: its verdict, the figures, and its source."""
    claimed = [one for one in compared if one.claim is not None]
    if not claimed:
        return []
    return [how_to_read(table), *(_claim_note(table, one) for one in claimed)]


def _claim_note(table: str, compared: Compared) -> str:
    claim = compared.claim
    assert claim is not None
    verdicts = [
        f"{claim.verdict(found)} ({source}: {_told(table, found)})"
        for source in ("here", "reference")
        if (found := compared.found.get(source)) is not None
    ]
    paper = "" if compared.paper is None else f"; the paper has {signed(compared.paper)}"
    place = "".join(f"{part}, " for part in compared.place.values())
    return (
        f"claim: {place}{compared.ours} {claim.relation} {compared.other}, {compared.measure}: "
        f"{', '.join(verdicts)}{paper}. {claim.source}"
    )


def _told(table: str, found: Difference) -> str:
    counted = f"{found.pairs} {_PAIRED[table]}" + ("s" if found.pairs > 1 else "")
    if found.interval is None:
        return f"{signed(found.mean)}{_UNITS[table]}, {counted}"
    low, high = found.interval
    return f"{signed(found.mean)}{_UNITS[table]}, {signed(low)} to {signed(high)}, {counted}"
