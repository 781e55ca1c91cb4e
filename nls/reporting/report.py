"""The report: one page that holds a suite's figures, tables, captions and provenance, and needs no network."""

import base64
import html
from collections import Counter
from importlib import resources
from pathlib import Path

import pandas as pd
from docutils.core import publish_parts

from nls.engine.files import write_text
from nls.engine.finished import HISTORY, METRICS, PROVENANCE, SPEC
from nls.reporting.overview import counted, overview
from nls.reporting.products import FIGURES, TABLES
from nls.reporting.runs import REPORTS, Evidence

# The paper's own order, then what it does not have; what belongs to one experiment stands together.
_ORDER = ("figure1", "figure2", "table1", "blackbox", "table2", "figure3", "universality")
# How the page marks what the overview says of a figure or a claim.
_VERDICTS = {"agrees": "good", "reproduced": "good", "differs": "bad", "not reproduced": "bad"}
CAPTIONS = resources.files("nls.reporting") / "captions"


def write_report(suite: str) -> Path:
    """Write ``reports/<suite>/report.html`` from the products that lie beside it.

    Raises:
        UserError: there is no such suite.
    """
    evidence = Evidence(suite)
    evidence.require_suite()
    folder = REPORTS / suite
    names = sorted(
        (name for name in dict.fromkeys((*TABLES, *FIGURES)) if _made(folder, name)),
        key=lambda name: next(
            (place for place, start in enumerate(_ORDER) if name.startswith(start)), len(_ORDER)
        ),
    )
    sections = [_section(folder, name) for name in names]
    experiments = sorted(path.name for path in (evidence.results / suite / "specs").iterdir())
    page = resources.files("nls.reporting").joinpath("page.html").read_text(encoding="utf-8")
    for key, value in {
        "suite": html.escape(suite),
        "contents": _contents(names),
        "overview": _overview(evidence, folder),
        "sections": "\n".join(sections),
        "runs": _runs(evidence, experiments),
        "machine": _machine(evidence, experiments),
    }.items():
        page = page.replace(f"{{{{ {key} }}}}", value)
    path = folder / "report.html"
    write_text(path, page)
    return path


def _contents(names: list[str]) -> str:
    titles = {"overview": "Overview"} | {name: _title(name) for name in names} | {"runs": "Runs"}
    return "".join(f'<li><a href="#{name}">{html.escape(title)}</a></li>' for name, title in titles.items())


def _overview(evidence: Evidence, folder: Path) -> str:
    frame, notes = overview(evidence, folder)
    summary = f"<p>{html.escape(counted(frame))}</p>"
    if frame.empty:
        return summary
    rows = frame.to_html(index=False, border=0, classes="data", escape=True)
    for verdict, kind in _VERDICTS.items():
        rows = rows.replace(f"<td>{verdict}</td>", f'<td><span class="verdict {kind}">{verdict}</span></td>')
    return f'{summary}<div class="scroll" tabindex="0">{rows}</div>{_listed(notes)}'


def _made(folder: Path, name: str) -> bool:
    return (folder / f"{name}.png").exists() or (folder / f"{name}.csv").exists()


def _section(folder: Path, name: str) -> str:
    parts = [f'<section id="{name}"><h2><a href="#{name}">{html.escape(_title(name))}</a></h2>']
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
                index=False, border=0, classes="data", escape=True
            )
            rows = f'<div class="scroll" tabindex="0">{rows}</div>{_copies(path)}'
    except (OSError, ValueError) as error:  # pandas' and Unicode's errors are ValueErrors
        reason = html.escape(str(error).splitlines()[0])
        return f"<p>The table's files cannot be read ({reason}); run nls table {path.stem} again.</p>"
    notes = [line for line in page.splitlines() if line.startswith("- ")]
    return rows + _listed([note[2:] for note in notes])


def _copies(path: Path) -> str:
    """Return buttons that copy the table in each of its formats, and the texts that they copy."""
    buttons, texts = [], []
    for name, ending in (("CSV", ".csv"), ("Markdown", ".md"), ("LaTeX", ".tex")):
        file = path.with_suffix(ending)
        if file.exists():
            key = f"{path.stem}-{ending[1:]}"
            buttons.append(f'<button type="button" data-source="{key}">copy as {name}</button>')
            texts.append(f'<pre id="{key}" hidden>{html.escape(file.read_text(encoding="utf-8"))}</pre>')
    return f'<div class="copy">{"".join(buttons)}</div>{"".join(texts)}'


def _listed(notes: list[str]) -> str:
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>' if items else ""


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
    """Return how many runs of each experiment are complete, their time and files, and why the others are missing."""
    rows, missing, files = [], [], []
    for experiment in experiments:
        complete = evidence.complete(experiment)
        times = {record.directory: record.provenance["wall_seconds"] for record in complete}
        asked = len(evidence.here(experiment))
        rows.append(
            f"<tr><td>{experiment}</td><td>{len(complete)} of {asked}</td>"
            f"<td>{sum(times.values()) / 60:.1f}</td></tr>"
        )
        listed = "".join(_files_of(path, seconds) for path, seconds in times.items())
        files.append(
            f"<details><summary>{experiment}: files of each run</summary><ul>{listed}</ul></details>"
        )
        missing += [
            f"<li>{record.directory}: {html.escape(record.missing_because or '')}</li>"
            for record in evidence.missing(experiment)
        ]
    table = (
        "<table><tr><th>experiment</th><th>runs</th><th>minutes of all runs</th></tr>"
        f"{''.join(rows)}</table>{''.join(files)}"
    )
    return table + (f"<p>Missing runs:</p><ul>{''.join(missing)}</ul>" if missing else "")


def _files_of(directory: Path, seconds: float) -> str:
    """Return a run with links to its settings, log and provenance, relative to the report."""
    links = " · ".join(
        f'<a href="../../{html.escape((directory / name).as_posix())}">{name}</a>'
        for name in (SPEC, METRICS, HISTORY, PROVENANCE, "run.log")
    )
    return f"<li>{html.escape(directory.name)} ({seconds:.0f} s): {links}</li>"


def _machine(evidence: Evidence, experiments: list[str]) -> str:
    """Return the commits, devices and packages of the runs, with how many runs have each."""
    found = [record.provenance for name in experiments for record in evidence.complete(name)]
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
