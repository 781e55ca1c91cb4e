"""The report: one page that holds a suite's figures, tables, captions and provenance, and needs no network."""

import base64
import html
from collections import Counter
from importlib import resources
from pathlib import Path

import pandas as pd
from docutils.core import publish_parts

from nls.engine.files import write_text
from nls.reporting.products import FIGURES, TABLES
from nls.reporting.runs import REPORTS, Evidence, read_run

CAPTIONS = resources.files("nls.reporting") / "captions"


def write_report(suite: str) -> Path:
    """Write ``reports/<suite>/report.html`` from the products that lie beside it.

    Raises:
        UserError: there is no such suite.
    """
    evidence = Evidence(suite)
    evidence.require_suite()
    folder = REPORTS / suite
    names = [name for name in dict.fromkeys((*FIGURES, *TABLES)) if _made(folder, name)]
    sections = [_section(folder, name) for name in names]
    experiments = sorted(path.name for path in (evidence.results / suite / "specs").iterdir())
    page = resources.files("nls.reporting").joinpath("page.html").read_text(encoding="utf-8")
    for key, value in {
        "suite": html.escape(suite),
        "contents": " · ".join(f'<a href="#{name}">{html.escape(_title(name))}</a>' for name in names),
        "sections": "\n".join(sections),
        "runs": _runs(evidence, experiments),
        "machine": _machine(evidence, experiments),
    }.items():
        page = page.replace(f"{{{{ {key} }}}}", value)
    path = folder / "report.html"
    write_text(path, page)
    return path


def _made(folder: Path, name: str) -> bool:
    return (folder / f"{name}.png").exists() or (folder / f"{name}.csv").exists()


def _section(folder: Path, name: str) -> str:
    parts = [f'<section id="{name}"><h2>{html.escape(_title(name))}</h2>']
    picture, table = folder / f"{name}.png", folder / f"{name}.csv"
    if picture.exists():
        data = base64.b64encode(picture.read_bytes()).decode()
        parts.append(f'<img alt="{html.escape(_title(name))}" src="data:image/png;base64,{data}">')
    page = folder / f"{name}.html"
    if page.exists():
        inside = html.escape(page.read_text(encoding="utf-8"))
        parts.append(
            f'<iframe title="{html.escape(_title(name))}, in 3D" class="view" srcdoc="{inside}"></iframe>'
        )
    parts.append(_caption(name))
    if table.exists():
        parts.append(_table(table))
    return "\n".join([*parts, "</section>"])


def _table(path: Path) -> str:
    try:
        text, page = (path.with_suffix(ending).read_text(encoding="utf-8") for ending in (".csv", ".md"))
        rows = "<p>No run is complete.</p>"
        if text.strip():
            rows = pd.read_csv(path, keep_default_na=False, dtype=str).to_html(
                index=False, border=0, escape=True
            )
    except (OSError, ValueError) as error:  # pandas' and Unicode's errors are ValueErrors
        reason = html.escape(str(error).splitlines()[0])
        return f"<p>The table's files cannot be read ({reason}); run nls table {path.stem} again.</p>"
    notes = [line for line in page.splitlines() if line.startswith("- ")]
    listed = "".join(f"<li>{html.escape(note[2:])}</li>" for note in notes)
    return f'<div class="scroll">{rows}</div><ul class="notes">{listed}</ul>'


def _title(name: str) -> str:
    return _caption_lines(name)[0]


def _caption(name: str) -> str:
    return publish_parts("\n".join(_caption_lines(name)[1:]), writer="html5")["body"]


def _caption_lines(name: str) -> list[str]:
    """Return the caption file's lines; the first is the title, and its underline is left out."""
    path = CAPTIONS / f"{name}.rst"
    title, _, *text = path.read_text(encoding="utf-8").splitlines()
    return [title, *text]


def _runs(evidence: Evidence, experiments: list[str]) -> str:
    """Return how many runs of each experiment are complete, their time, and why the others are missing."""
    rows, missing = [], []
    for experiment in experiments:
        complete = evidence.complete(experiment)
        seconds = sum(read_run(path).provenance["wall_seconds"] for path in complete)
        asked = len(evidence.here(experiment))
        rows.append(
            f"<tr><td>{experiment}</td><td>{len(complete)} of {asked}</td><td>{seconds / 60:.1f}</td></tr>"
        )
        missing += [
            f"<li>{record.directory}: {html.escape(record.missing_because or '')}</li>"
            for record in evidence.missing(experiment)
        ]
    table = (
        f"<table><tr><th>experiment</th><th>runs</th><th>minutes of all runs</th></tr>{''.join(rows)}</table>"
    )
    return table + (f"<p>Missing runs:</p><ul>{''.join(missing)}</ul>" if missing else "")


def _machine(evidence: Evidence, experiments: list[str]) -> str:
    """Return the commits, devices and packages of the runs, with how many runs have each."""
    found = [read_run(path).provenance for name in experiments for path in evidence.complete(name)]
    packages = [f"{name} {version}" for one in found for name, version in one["packages"].items()]
    groups = {
        "commit": [str(one["commit"]) for one in found],
        "device": [f"{one['device']['name']} ({one['device']['type']})" for one in found],
        "python": [one["python"] for one in found],
        "packages": packages,
        "notes": [note for one in found for note in one["notes"]],
    }
    rows = "".join(
        f"<tr><td>{name}</td><td>{'<br>'.join(_counted(values, len(found)))}</td></tr>"
        for name, values in groups.items()
        if values
    )
    return f"<table>{rows}</table>"


def _counted(values: list[str], total: int) -> list[str]:
    return [
        html.escape(value) + ("" if count == total else f" ({count} of {total} runs)")
        for value, count in Counter(values).items()
    ]
