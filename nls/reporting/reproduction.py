"""Fills the marked blocks of docs/reproduction.md from the reference in git: what agrees, and where it comes from.

The rest of the page is written by hand, a heading ``### <suite>: <row>`` for each row that differs from the paper, or
one ``### <suite>`` for all rows of a suite.
"""

import re
import sys
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from nls.engine.files import write_text
from nls.engine.finished import read_json
from nls.errors import UserError
from nls.reporting import figure2, table1, table2
from nls.reporting.independent import ROWS
from nls.reporting.kept_runs import read_kept
from nls.reporting.overview import overview
from nls.reporting.products import TABLES, Table, markdown, table_from_csv
from nls.reporting.runs import RESULTS, Evidence

PAGE = Path("docs/reproduction.md")
_COMPARED = ("table1", "table1-differences", "table2", "table2-differences")


def filled(page: str, results: Path = RESULTS) -> str:
    """Return the page with every block made anew.

    Raises:
        UserError: a block is not there, or a row differs from the paper and no heading explains it.
    """
    figures = agreement(results)
    _require_explanations(page, figures)
    blocks = {
        "agreement": figures,
        "few images": few_images(results),
        "attacks": attacks(results),
        "sources": sources(results),
        "not run": not_run(results),
    }
    for name, frame in blocks.items():
        begin, end = f"<!-- begin: {name} -->\n", f"<!-- end: {name} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise UserError(f"{PAGE} has no block {begin.strip()} … {end}")
        page = f"{before}{begin}{markdown(frame)}\n{end}{after}"
    return page


def agreement(results: Path = RESULTS) -> pd.DataFrame:
    """Return one line a suite and figure that the paper has too: paper, reference, verdict."""
    frames = [pd.DataFrame()]
    for suite in _suites(results):
        evidence = Evidence(suite, results)
        tables = {name: _reference_only(name, evidence) for name in _COMPARED}
        frame, _ = overview(evidence, {name: table for name, table in tables.items() if len(table)})
        frames.append(frame.drop(columns="here").assign(suite=suite))
    found = pd.concat(frames, ignore_index=True)
    return found[["suite", "figure", "paper", "reference", "agrees"]] if len(found) else found


def few_images(results: Path = RESULTS) -> pd.DataFrame:
    """Return one line a suite, data set and number of images of Figure 2 on test images: accuracies and gains."""
    lines = []
    for suite in _suites(results):
        evidence = Evidence(suite, results)
        if {run.spec["evaluate_on"] for run in evidence.reference("figure2")} != {"test"}:
            continue
        frame, _ = figure2.table(evidence)
        kept = frame[frame["source"] == "reference"]
        for (dataset, images), rows in kept.groupby(["dataset", "images"], sort=False):
            by_loss = {row["loss"]: row for row in rows.to_dict("records")}
            is_whole = by_loss.keys() >= set(figure2.NAMES.values())
            if not is_whole or min(row["seeds"] for row in by_loss.values()) < 2:
                continue
            ours = by_loss[figure2.NAMES["geometric_svm"]]
            accuracies = {name: _accuracy(by_loss[name]) for name in figure2.NAMES.values()}
            gains = {
                f"minus {name}": f"{ours[f'minus {name}']:.2f} "
                f"({ours[f'95% low ({name})']:.2f} to {ours[f'95% high ({name})']:.2f})"
                for name in (figure2.NAMES[loss] for loss in figure2.BASELINES)
            }
            collapsed = " / ".join(str(by_loss[name]["collapsed"]) for name in accuracies)
            told = {"suite": suite, "data set": dataset, "images": str(images), "seeds": str(ours["seeds"])}
            lines.append(told | accuracies | gains | {"collapsed": collapsed})
    return pd.DataFrame(lines)


def _accuracy(row: Mapping[Hashable, Any]) -> str:
    return f"{row['mean']:.1f} ± {row['std']:.1f} ({row['worst']:.1f})"


def attacks(results: Path = RESULTS) -> pd.DataFrame:
    """Return one line a suite and row of Table 1: the paper's margin attack, published AutoAttack, our attacks."""
    columns = {
        "pgd-margin (paper)": "PGD margin, paper",
        "autoattack (independent)": "AutoAttack, published",
        "pgd-margin (reference)": "PGD margin, reference",
        "autoattack (reference)": "AutoAttack, reference",
        "min (reference)": "minimum, reference",
    }
    lines = []
    for suite in _suites(results):
        for row in _reference_only("table1", Evidence(suite, results)).to_dict("records"):
            if row.get("clean (reference)"):
                named = " ".join(
                    row[name] for name in ("dataset", "network", "method", "eps_train") if row[name]
                )
                found = {title: row.get(column, "") for column, title in columns.items()}
                cells = {title: f"{float(one):.2f}" if one else "" for title, one in found.items()}
                lines.append({"suite": suite, "row": named} | cells)
    return pd.DataFrame(lines)


def sources(results: Path = RESULTS) -> pd.DataFrame:
    """Return one line an experiment, commit and device of the reference: how many runs, and their time."""
    groups: dict[tuple[str, str, str, str], list[float]] = {}
    for suite in _suites(results):
        for path in sorted((results / "reference" / suite).glob("*.csv")):
            for run in read_kept(path).values():
                told = run["provenance"]
                device = f"{told['device']['name']} ({told['device']['type']})"
                before = [
                    note.split()[2].rstrip(",") for note in told["notes"] if note.startswith("begun on ")
                ]
                device += f", begun on {before[0]}" if before else ""
                key = (suite, path.stem, _short(str(told["commit"])), device)
                groups.setdefault(key, []).append(float(told["wall_seconds"]))
    return pd.DataFrame(
        {
            "suite": suite,
            "experiment": experiment,
            "runs": str(len(seconds)),
            "commit": commit,
            "device": device,
            "minutes of all runs": f"{sum(seconds) / 60:.0f}",
        }
        for (suite, experiment, commit, device), seconds in groups.items()
    )


def not_run(results: Path = RESULTS) -> pd.DataFrame:
    """Return the paper's rows that were not run at its own length: what is known of them, and what they would cost.

    Minutes are those of training on an H200, by its measured steps a second; of a row of Table 2 for all ten scans.
    """
    evidence, minutes = Evidence("paper", results), _h200_minutes(results)
    classifiers = {table1.TrainedRow.of(run).key for run in evidence.reference("table1")}
    surfaces = {run.spec["name"] for run in evidence.reference("table2") if run.spec["data"] == "faust"}
    missing = {
        f"{key[0]} {key[1]} {table1.row_label(key)}": key for key in table1.PAPER if key not in classifiers
    }
    lines = [
        {
            "row": f"Table 1: {name}",
            "paper": " / ".join(f"{value:.2f}" for value in table1.PAPER[key]),
            "published AutoAttack": f"{ROWS[key].autoattack:.2f}" if key in ROWS else "",
            "minutes on an H200": minutes.get(f"table1 {name}", ""),
        }
        for name, key in missing.items()
    ]
    lines += [
        {
            "row": f"Table 2: FAUST, {name}",
            "paper": " / ".join(f"{mean:.2f} ± {deviation:.2f}" for mean, deviation in table2.PAPER[name]),
            "published AutoAttack": "",
            "minutes on an H200": minutes.get(f"table2 {name}", ""),
        }
        for name in table2.PAPER
        if name not in surfaces
    ]
    return pd.DataFrame(lines)


def _h200_minutes(results: Path) -> dict[str, str]:
    """Return the minutes that each row of config/paper.yaml trains on an H200; the second run corrects the first."""
    found: dict[str, str] = {}
    for name in ("h200.json", "h200-ratios.json"):
        path = results / "reference/benchmarks" / name
        loops = read_json(path)["parts"]["suite"]["loops"] if path.exists() else []
        found |= {loop["name"]: f"{60 * loop['hours']:.0f}" for loop in loops}
    return found


def _suites(results: Path) -> list[str]:
    return sorted({path.parent.name for path in (results / "reference").glob("*/*.csv")})


def _reference_only(name: str, evidence: Evidence) -> pd.DataFrame:
    """Return a table as text, without what this machine has."""
    frame, notes = TABLES[name].make(evidence)
    table = table_from_csv(Table(name, evidence.suite, frame, notes).csv())
    return table[[column for column in table.columns if "(here)" not in column]]


def _require_explanations(page: str, figures: pd.DataFrame) -> None:
    headings = set(re.findall(r"^### (.+)$", page, re.MULTILINE))
    missing = [heading for suite, heading in _differing(figures) if not headings & {suite, heading}]
    if missing:
        raise UserError(
            f"{PAGE} explains {len(missing)} differing rows nowhere: write a heading ### {missing[0]}"
        )


def _differing(figures: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield suite and heading of every row with a figure that differs."""
    headings = {
        (str(row["suite"]), f"{row['suite']}: {str(row['figure']).rpartition(', ')[0]}")
        for row in figures.to_dict("records")
        if row["agrees"] == "differs"
    }
    yield from sorted(headings)


def _short(commit: str) -> str:
    name, changes, _ = commit.partition("+")
    return name[:10] + (f" {changes}changes" if changes else "")


if __name__ == "__main__":
    try:
        write_text(PAGE, filled(PAGE.read_text(encoding="utf-8")))
    except UserError as error:
        sys.exit(f"nls: {error}")
    print(f"wrote {PAGE}")
