"""The report's first table: every figure that the paper has too, beside the reference's and this machine's."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from nls.reporting.cells import signed
from nls.reporting.products import deviations_joined
from nls.reporting.runs import Evidence

# Tables whose columns carry their source in brackets, and how far a figure may be from the paper's without differing:
# half a point of accuracy, or one standard deviation, the paper's or ours.
_TABLES = {"table1": 0.5, "table2": 0.0}
_SOURCED = re.compile(r"^(?P<measure>.+) \((?P<source>paper|reference|here)\)$")
# Columns that say which row it is.
_NAMES = ("dataset", "network", "method", "eps_train")


def overview(evidence: Evidence, tables: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, list[str]]:
    """Return one line for every figure that the paper has too, and for every claim that its text makes.

    Args:
        evidence: the suite.
        tables: those that were made, by name, as text.

    Returns:
        Columns ``figure, paper, reference, here, agrees``; and how to read them.
    """
    lines = [line for name in _TABLES for line in _figures(evidence, tables.get(name), name)]
    lines += [line for name in _TABLES for line in _claims(tables.get(f"{name}-differences"), name)]
    frame = pd.DataFrame(lines, columns=["figure", "paper", "reference", "here", "agrees"]).fillna("")
    return frame, [
        "A figure agrees if it is within one standard deviation (the paper's or ours) of the paper's, or within 0.5 "
        "points of an accuracy. A claim is judged by the 95% interval of paired differences, and undecided "
        "without one. Other data means that this suite has other scans than the paper: the order of the methods "
        "compares, the figures do not. Other attack means another ε. An empty cell was not run.",
    ]


def _figures(evidence: Evidence, frame: pd.DataFrame | None, name: str) -> Iterator[dict[str, Any]]:
    if frame is None:
        return
    frame = deviations_joined(frame)
    found = [match for column in frame.columns if (match := _SOURCED.match(column))]
    measures = dict.fromkeys(match["measure"] for match in found if match["source"] == "paper")
    measures.pop("eps", None)  # of the attack: no figure
    elsewhere = [
        source for source in ("reference", "here") if name == "table2" and not _is_faust(evidence, source)
    ]
    for row in frame.to_dict("records"):
        label = " ".join(row[column] for column in _NAMES if row.get(column))
        for measure in measures:
            cells = {
                source: _two_places(row.get(f"{measure} ({source})", ""))
                for source in ("paper", "reference", "here")
            }
            source = "here" if cells["here"] else "reference"
            if cells["paper"] and cells[source]:
                if source in elsewhere:
                    agrees = "other data"
                elif row.get(f"eps ({source})") != row.get("eps (paper)"):
                    agrees = "other attack"
                else:
                    agrees = _agrees(cells["paper"], cells[source], _TABLES[name])
                yield {"figure": f"{_title(name)}: {label}, {measure}"} | cells | {"agrees": agrees}


def _claims(frame: pd.DataFrame | None, name: str) -> Iterator[dict[str, Any]]:
    for row in [] if frame is None else frame.to_dict("records"):
        if row.get("claim"):
            place = "".join(f"{row[column]} " for column in ("dataset", "network") if row.get(column))
            relation = row["claim"].removeprefix("ours ")
            verdict = row.get("verdict (here)") or row.get("verdict (reference)")
            yield {
                "figure": f"{_title(name)}: {place}{row['ours']} {relation} {row['other']}, {row['measure']}",
                "paper": _difference(row.get("difference (paper)", "")),
                "reference": _told(row, "reference"),
                "here": _told(row, "here"),
                "agrees": verdict,
            }


def _two_places(text: str) -> str:
    """Return a figure with the places that one with a deviation has."""
    return f"{float(text):.2f}" if text and "±" not in text else text


def _told(row: Mapping[Any, str], source: str) -> str:
    """Return a difference, with its interval where there is one."""
    low, high = (row.get(f"95% {end} ({source})", "") for end in ("low", "high"))
    mean = _difference(row.get(f"difference ({source})", ""))
    return f"{mean} ({_difference(low)} to {_difference(high)})" if low and high else mean


def _difference(text: str) -> str:
    return signed(float(text)) if text else ""


def _agrees(paper: str, ours: str, room: float) -> str:
    (expected, spread), (value, own) = (_mean_and_deviation(text) for text in (paper, ours))
    return "agrees" if abs(value - expected) <= max(room, spread, own) else "differs"


def _mean_and_deviation(text: str) -> tuple[float, float]:
    numbers = [float(part) for part in text.split("±")]
    return numbers[0], numbers[1] if len(numbers) > 1 else 0.0


def _is_faust(evidence: Evidence, source: str) -> bool:
    """Tell whether the runs of Table 2, this machine's or the reference's, are on the paper's scans."""
    runs = evidence.complete("table2") if source == "here" else evidence.reference("table2")
    return all(run.spec["data"] == "faust" for run in runs)


def _title(name: str) -> str:
    return {"table1": "Table 1", "table2": "Table 2"}[name]


def counted(frame: pd.DataFrame) -> str:
    """Return in one sentence how many figures and claims agree."""
    if frame.empty:
        return "No figure of this suite has a counterpart in the paper yet."
    counts = frame["agrees"].value_counts()
    told = ", ".join(f"{counts[word]} {phrase}" for word, phrase in _PHRASES.items() if word in counts)
    return f"Of {len(frame)} figures and claims of the paper: {told}."


# What a line's last cell may be, in the order of the sentence, and how the sentence says it.
_PHRASES: Mapping[str, str] = {
    "agrees": "agrees",
    "reproduced": "reproduced",
    "differs": "differs",
    "not reproduced": "not reproduced",
    "undecided": "undecided",
    "other data": "on other data",
    "other attack": "under another attack",
}
