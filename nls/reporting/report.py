"""The report: one page with a suite's figures, tables and where they come from, which asks for nothing outside."""

import base64
import html
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from docutils.core import publish_parts
from PIL import Image

from nls.engine.files import write_text
from nls.engine.finished import HISTORY, LOG, METRICS, PROVENANCE, SPEC
from nls.errors import first_line
from nls.reporting.experiment import Experiment
from nls.reporting.overview import counted, overview
from nls.reporting.pages import page
from nls.reporting.products import (
    FIGURES,
    TABLES,
    FigureProduct,
    TableProduct,
    deviations_joined,
    experiment_of,
    table_from_csv,
)
from nls.reporting.runs import REPORTS, Evidence
from nls.reporting.style import FORMATS

# The paper's own order; what it does not have comes after.
_ORDER = ("figure1", "figure2", "table1", "blackbox", "table2", "table2-time", "figure3", "universality")
# How the page marks what the overview says of a figure or a claim.
_VERDICTS = {"agrees": "good", "reproduced": "good", "differs": "bad", "not reproduced": "bad"}
# Rows above which a table has a window of its own.
_LONG = 15
# Columns above which a table is printed in small type.
_WIDE = 30
# Signs that may stand as they are in an address within double quotes.
_PLAIN = " /:;=,+()-.'@!*"
CAPTIONS = resources.files("nls.reporting") / "captions"


def write_report(suite: str) -> Path:
    """Write ``reports/<suite>/report.html`` from the products that lie beside it.

    Products of experiments that the suite no longer has are left out.

    Raises:
        UserError: there is no such suite.
    """
    evidence = Evidence(suite)
    evidence.require_suite()
    folder = REPORTS / suite
    found = {path.name for path in (evidence.results / suite / "specs").iterdir()}
    there = (Experiment(name, evidence.here(name)) for name in sorted(found, key=_place))
    experiments = [each for each in there if each.runs]
    asked = {each.name for each in experiments}
    tables = {
        name: _read(folder / f"{name}.csv")
        for name, product in TABLES.items()
        if product.experiments[0] in asked and (folder / f"{name}.csv").exists()
    }
    sections = _products_by_section(folder, [each.name for each in experiments])
    text = page(
        "page.html",
        title=f"nls: {suite}",
        suite=html.escape(suite),
        contents=_contents(sections),
        overview=_overview(evidence, tables),
        sections="\n".join(
            _section(folder, name, products, tables, experiments) for name, products in sections.items()
        ),
        runs=_runs(experiments),
        machine=_machine(experiments),
    )
    path = folder / "report.html"
    write_text(path, text)
    return path


def _place(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def _read(path: Path) -> pd.DataFrame | str:
    """Return a table as text, without rows if no run is complete; or why its files cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
        path.with_suffix(".md").read_text(encoding="utf-8")
        return table_from_csv(text)
    except (OSError, ValueError) as error:  # pandas' and Unicode's errors are ValueErrors
        return first_line(error)


def _products_by_section(folder: Path, experiments: Iterable[str]) -> dict[str, list[str]]:
    """Return the products that were made by the experiment they are named after, in the page's order.

    An experiment without such products has a section too: it says how its runs were made and which are missing.
    """
    sections: dict[str, list[str]] = {name: [] for name in experiments}
    products: dict[str, TableProduct | FigureProduct] = {**TABLES, **FIGURES}
    asked = set(sections)
    for name in (name for name, product in products.items() if product.experiments[0] in asked):
        if (folder / f"{name}.svg").exists() or (folder / f"{name}.csv").exists():
            sections.setdefault(experiment_of(name), []).append(name)
    return {
        name: sorted(sections[name], key=lambda product: product != name)
        for name in sorted(sections, key=_place)
    }


def _contents(sections: Iterable[str]) -> str:
    titles = {"overview": "Overview"} | {name: _title(name) for name in sections} | {"runs": "Runs"}
    return "".join(f'<li><a href="#{name}">{html.escape(title)}</a></li>' for name, title in titles.items())


def _overview(evidence: Evidence, tables: dict[str, pd.DataFrame | str]) -> str:
    frame, notes = overview(
        evidence, {name: table for name, table in tables.items() if isinstance(table, pd.DataFrame)}
    )
    summary = f"<p>{html.escape(counted(frame))}</p>"
    if frame.empty:
        return summary
    rows = _rows(frame, "all figures that the paper has too")
    for verdict, kind in _VERDICTS.items():
        rows = rows.replace(f"<td>{verdict}</td>", f'<td><span class="verdict {kind}">{verdict}</span></td>')
    return f"{summary}{rows}{_listed(notes)}"


def _section(
    folder: Path,
    name: str,
    products: Sequence[str],
    tables: dict[str, pd.DataFrame | str],
    experiments: Sequence[Experiment],
) -> str:
    """Return an experiment's figures, tables, settings and runs."""
    parts = [f'<section id="{name}"><h2><a href="#{name}">{html.escape(_title(name))}</a></h2>']
    for product in products:
        if product != name:
            parts.append(f'<h3 id="{product}">{html.escape(_title(product))}</h3>')
        parts += [_figure(folder, product), _caption(product)]
        if product in tables:
            parts.append(_table(folder / f"{product}.csv", tables[product]))
    own = [each for each in experiments if each.name == name]
    read = {experiment for product in products for experiment in _sources(product)} - {name}
    parts += [_made(each) for each in own]
    parts += [
        f'<p class="quiet">Made from the runs of <a href="#{other}-made">{other}</a> too.</p>'
        for other in sorted(read & {each.name for each in experiments})
    ]
    return "\n".join([*parts, "</section>"])


def _sources(product: str) -> tuple[str, ...]:
    return tuple(
        experiment
        for products in (TABLES, FIGURES)
        if product in products
        for experiment in products[product].experiments
    )


def _figure(folder: Path, name: str) -> str:
    picture, view = folder / f"{name}.svg", folder / f"{name}.html"
    parts = []
    if picture.exists():
        # An image of its own: pictures inside the page would share the names of their parts.
        data = quote(_lighter(picture.read_text(encoding="utf-8")), safe=_PLAIN)
        links = " · ".join(f'<a href="{name}.{ending}">{ending.upper()}</a>' for ending in FORMATS)
        parts.append(
            f'<img alt="{html.escape(_title(name))}" src="data:image/svg+xml,{data}">'
            f'<p class="files">{links}</p>'
        )
    if view.exists():
        inside = html.escape(view.read_text(encoding="utf-8"))
        parts.append(
            f'<iframe title="{html.escape(_title(name))}, in 3D" class="view" srcdoc="{inside}"></iframe>'
        )
    return "\n".join(parts)


def _lighter(svg: str) -> str:
    """Return an SVG whose renders are WebP: a seventh of the size, and no difference to the eye."""

    def webp(found: re.Match[str]) -> str:
        written = io.BytesIO()
        Image.open(io.BytesIO(base64.b64decode(found[1]))).save(written, "WEBP", quality=90)
        return f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}"

    return re.sub(r"data:image/png;base64,([^\"]+)", webp, svg)


def _table(path: Path, table: pd.DataFrame | str) -> str:
    if isinstance(table, str):
        return f"<p>The table's files cannot be read ({html.escape(table)}); run nls table {path.stem} again.</p>"
    rows = "<p>No run is complete.</p>"
    if len(table.columns):
        shown = deviations_joined(table).map(_short).apply(_aligned)
        rows = _rows(shown, _title(path.stem)) + _copies(path)
    lines = path.with_suffix(".md").read_text(encoding="utf-8").splitlines()
    return rows + _listed([line[2:] for line in lines if line.startswith("- ")])


def _short(text: str) -> str:
    """Return a number that has more digits than a reader needs with four; copies of the table have all."""
    return f"{float(text):.4g}" if re.fullmatch(r"-?\d+\.\d{5,}(e-?\d+)?", text) else text


def _aligned(column: "pd.Series[str]") -> "pd.Series[str]":
    """Return a column of numbers with as many places in each as in the longest; another column as it is."""
    places = [re.fullmatch(r"-?\d+(?:\.(\d+))?", text) for text in column if text]
    if not all(places):
        return column
    most = max((len(found[1] or "") for found in places if found), default=0)
    return column.map(lambda text: f"{float(text):.{most}f}" if text and 0 < most < 4 else text)


def _rows(table: pd.DataFrame, name: str) -> str:
    """Return a table whose heads sort it."""
    rows = table.to_html(index=False, border=0, classes="data", escape=True)
    # pandas aligns heads by an attribute that HTML no longer has.
    rows = rows.replace(' border="0"', "").replace(' style="text-align: right;"', "")
    # So that the widest tables fit on paper: heads break after an underscore there.
    rows = re.sub("<th>.*?</th>", lambda head: head[0].replace("_", "_<wbr>"), rows)
    classes = "scroll" + " long" * (len(table) > _LONG) + " wide" * (len(table.columns) > _WIDE)
    return _scrolling(rows, f"Table: {name}", classes)


def _scrolling(table: str, name: str, classes: str = "scroll") -> str:
    """Return a table that a narrow screen scrolls alone, by the keyboard too."""
    return f'<div class="{classes}" role="region" aria-label="{html.escape(name)}" tabindex="0">{table}</div>'


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
    """Return the title of a product, or the name of an experiment that has no product, as of another version."""
    return _caption_lines(name)[0] if (CAPTIONS / f"{name}.rst").is_file() else name


def _caption(name: str) -> str:
    return publish_parts("\n".join(_caption_lines(name)[1:]), writer="html5")["fragment"]


def _caption_lines(name: str) -> list[str]:
    """Return the caption file's lines; the first is the title, and its underline is left out."""
    path = CAPTIONS / f"{name}.rst"
    title, _, *text = path.read_text(encoding="utf-8").splitlines()
    return [title, *text]


def _made(experiment: Experiment) -> str:
    """Return an experiment's settings and its runs, with links to the files of each, folded away."""
    summary = f"{len(experiment.complete)} of {len(experiment.runs)} runs"
    if experiment.complete:
        summary += f", {experiment.seconds / 60:.1f} min, {', '.join(experiment.devices)}"
    settings = "".join(
        f"<tr><th scope='row'>{html.escape(key)}</th><td>{html.escape(value)}</td></tr>"
        for key, value in experiment.settings().items()
    )
    runs = "".join(
        f"<tr><th scope='row'>{html.escape(run.directory.name)}</th>"
        f"<td>{run.provenance['wall_seconds']:.0f}</td><td>{_files_of(run.directory)}</td></tr>"
        for run in experiment.complete
    )
    return (
        f'<details class="made" id="{experiment.name}-made">'
        f"<summary>How it was made: {html.escape(summary)}</summary>"
        + _scrolling(
            '<table><thead><tr><th scope="col">setting</th><th scope="col">value</th></tr></thead>'
            f"<tbody>{settings}</tbody></table>",
            f"Settings of {experiment.name}",
        )
        + _scrolling(
            '<table><thead><tr><th scope="col">run</th><th scope="col">seconds</th><th scope="col">files</th></tr>'
            f"</thead><tbody>{runs}</tbody></table>",
            f"Runs of {experiment.name}",
        )
        + f"</details>{_missing(experiment)}"
    )


def _files_of(directory: Path) -> str:
    """Return links to a run's settings, log and provenance, relative to the report."""
    return " · ".join(
        f'<a href="../../{html.escape((directory / name).as_posix())}">{name}</a>'
        for name in (SPEC, METRICS, HISTORY, PROVENANCE, LOG)
    )


def _missing(experiment: Experiment) -> str:
    items = "".join(
        f"<li>{html.escape(f'{run.directory}: {run.missing_because}')}</li>" for run in experiment.missing
    )
    return f"<p>Missing runs:</p><ul>{items}</ul>" if items else ""


def _runs(experiments: Sequence[Experiment]) -> str:
    """Return how many runs of each experiment are complete, their time and their devices."""
    rows = "".join(
        f"<tr><td>{each.name}</td><td>{len(each.complete)} of {len(each.runs)}</td>"
        f"<td>{each.seconds / 60:.1f}</td><td>{html.escape(', '.join(each.devices))}</td></tr>"
        for each in experiments
    )
    heads = "".join(
        f'<th scope="col">{name}</th>' for name in ("experiment", "runs", "minutes of all runs", "device")
    )
    return _scrolling(f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>", "Runs")


def _machine(experiments: Sequence[Experiment]) -> str:
    """Return the commits, devices and packages of the runs, with how many runs have each."""
    found = [run.provenance for each in experiments for run in each.complete]
    groups = {
        "commit": [str(one["commit"]) for one in found],
        "device": [f"{one['device']['name']} ({one['device']['type']})" for one in found],
        "python": [one["python"] for one in found],
        "packages": [f"{name} {version}" for one in found for name, version in one["packages"].items()],
        "notes": [note for one in found for note in one["notes"]],
    }
    rows = "".join(
        f"<tr><th scope='row'>{name}</th><td>{'<br>'.join(_counted(values, len(found)))}</td></tr>"
        for name, values in groups.items()
        if values
    )
    return (
        _scrolling(f"<table><tbody>{rows}</tbody></table>", "Machines")
        if rows
        else "<p>No run is complete.</p>"
    )


def _counted(values: list[str], total: int) -> list[str]:
    return [
        html.escape(value) + ("" if count == total else f" ({count} of {total} runs)")
        for value, count in Counter(values).items()
    ]
