"""The tables and figures of the suite: which runs each needs, and how it is written.

Snakemake asks for their names at every start, so what makes them is imported when it is called.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nls.engine.files import write_text, written_whole
from nls.errors import UserError, one_line
from nls.reporting.runs import REPORTS, Evidence

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    MakeTable = Callable[[Evidence], tuple[pd.DataFrame, list[str]]]
    MakeFigure = Callable[[Evidence], Figure]
    MakePage = Callable[[Evidence], str]

Product = TypeVar("Product")


@dataclass(frozen=True)
class TableProduct:
    """A table: the experiments whose runs it reads, and what makes a frame and notes of them."""

    experiments: tuple[str, ...]
    make: MakeTable


@dataclass(frozen=True)
class FigureProduct:
    """A figure: the experiments whose runs it reads, what draws them, and an interactive page to go with it."""

    experiments: tuple[str, ...]
    make: MakeFigure
    page: MakePage | None = None


def _maker(place: str) -> Callable[[Evidence], Any]:
    """Return the function ``module.name`` of this package, whose module is imported when it is called."""
    module, name = place.split(".")

    def make(evidence: Evidence) -> Any:
        return getattr(importlib.import_module(f"nls.reporting.{module}"), name)(evidence)

    return make


TABLES: dict[str, TableProduct] = {
    "figure2": TableProduct(("figure2",), _maker("figure2.table")),
    # Transfer between the networks may cast doubt on rows of Table 1.
    "table1": TableProduct(("table1", "blackbox"), _maker("table1.table")),
    "table1-differences": TableProduct(("table1",), _maker("table1.differences")),
    "blackbox": TableProduct(("blackbox",), _maker("blackbox.table")),
    "table2": TableProduct(("table2",), _maker("table2.table")),
    "table2-differences": TableProduct(("table2",), _maker("table2.differences")),
    "table2-scans": TableProduct(("table2",), _maker("table2.scans")),
    "table2-time": TableProduct(("table2-time",), _maker("table2_time.table")),
    "hard_inputs": TableProduct(("hard_inputs",), _maker("hard_inputs.table")),
    "universality": TableProduct(("universality",), _maker("universality.table")),
}

FIGURES: dict[str, FigureProduct] = {
    "figure1": FigureProduct(("figure1",), _maker("figure1.figure")),
    "figure2": FigureProduct(("figure2",), _maker("figure2.figure")),
    "table1-seeds": FigureProduct(("table1", "blackbox"), _maker("table1_figures.every_seed")),
    "table1-eps": FigureProduct(("table1",), _maker("table1_figures.accuracy_against_eps")),
    "table1-steps": FigureProduct(("table1",), _maker("table1_figures.accuracy_against_steps")),
    "table1-training": FigureProduct(("table1",), _maker("table1_figures.training_curves")),
    "blackbox": FigureProduct(("blackbox",), _maker("blackbox.figure")),
    "table2-time": FigureProduct(("table2-time",), _maker("table2_time.figure")),
    "figure3": FigureProduct(("table2",), _maker("figure3.surfaces"), _maker("figure3.view")),
    "figure3-bodies": FigureProduct(("table2",), _maker("figure3.bodies")),
    "figure3-curves": FigureProduct(("figure3",), _maker("figure3.curves")),
    "hard_inputs": FigureProduct(("hard_inputs",), _maker("hard_inputs.figure")),
    "universality": FigureProduct(("universality",), _maker("universality.figure")),
}


def experiment_of(name: str) -> str:
    """Return the experiment that a product is named after: table2-time's is its own, table1-eps's its first word."""
    products: list[TableProduct | FigureProduct] = [*TABLES.values(), *FIGURES.values()]
    known = {experiment for product in products for experiment in product.experiments}
    return name if name in known else name.partition("-")[0]


@dataclass(frozen=True)
class Table:
    """A table that was made: its cells, and its notes, one line each."""

    name: str
    suite: str
    frame: pd.DataFrame
    notes: list[str]

    def write(self) -> list[Path]:
        """Write ``reports/<suite>/<name>`` as CSV, Markdown (with notes) and LaTeX; a missing cell stays empty."""
        stem = REPORTS / self.suite / self.name
        notes = [f"- {note}" for note in self.notes]
        texts = {
            ".csv": self.csv(),
            ".md": "\n".join([markdown(self._shown), "", *notes]) + "\n",
            ".tex": _latex(self._shown, self.notes),
        }
        for suffix, text in texts.items():
            write_text(stem.with_name(self.name + suffix), text)
        return [stem.with_name(self.name + suffix) for suffix in texts]

    def csv(self) -> str:
        """Return the table as CSV: means and deviations (``… std``) in columns of their own."""
        return _deviations_apart(self.frame).to_csv(index=False)

    def text(self, width: int) -> str:
        """Return the table and its notes for a terminal of ``width`` columns."""
        from nls.reporting.terminal import terminal_text

        return terminal_text(self._shown, self.notes, width)

    def figures(self) -> dict[str, Any]:
        """Return rows and notes for JSON; a missing cell is None."""
        frame = _deviations_apart(self.frame).astype(object)
        return {"rows": frame.where(frame.notna(), None).to_dict("records"), "notes": self.notes}

    @property
    def _shown(self) -> pd.DataFrame:
        """The table as texts."""
        import pandas as pd

        from nls.reporting.cells import column_texts

        filled = self.frame.astype(object).where(self.frame.notna(), "")
        return pd.DataFrame({name: column_texts(column.tolist()) for name, column in filled.items()})


def make_table(name: str, suite: str) -> Table:
    """Make a table from a suite's run directories.

    Raises:
        UserError: there is no such table or suite, or the suite has no such experiment.
    """
    product = _known(TABLES, name, "table")
    evidence = Evidence(suite)
    evidence.require_suite(or_reference=True)
    evidence.require_experiments(name, product.experiments)
    frame, notes = product.make(evidence)
    outdated = [line for experiment in product.experiments for line in evidence.outdated(experiment)]
    return Table(name, suite, frame, [*notes, *outdated])


def write_figure(name: str, suite: str) -> list[Path]:
    """Write ``reports/<suite>/<name>`` as SVG, PDF and PNG, and as HTML where the figure has an interactive page.

    Raises:
        UserError: there is no such figure or suite, or the suite has no such experiment.
    """
    product = _known(FIGURES, name, "figure")
    evidence = Evidence(suite)
    evidence.require_suite(or_reference=True)
    evidence.require_experiments(name, product.experiments)
    import matplotlib.pyplot as plt

    from nls.reporting.style import FORMATS, use_house_style

    use_house_style()
    picture = product.make(evidence)
    written = [REPORTS / suite / f"{name}.{ending}" for ending in FORMATS]
    for path, metadata in zip(written, FORMATS.values(), strict=True):
        with written_whole(path) as temporary:
            picture.savefig(temporary, metadata=metadata)
    plt.close(picture)
    if product.page is not None:
        written.append(REPORTS / suite / f"{name}.html")
        write_text(written[-1], product.page(evidence))
    return written


def _known(products: Mapping[str, Product], name: str, kind: str) -> Product:
    if name not in products:
        raise UserError(f"{name}: no such {kind}; take one of {', '.join(products)}")
    return products[name]


def _deviations_apart(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with a column of means and one of deviations in place of each column with a spread."""
    import pandas as pd

    from nls.reporting.statistics import Spread

    parts: dict[str, pd.Series] = {}
    for name, column in frame.items():
        if not any(isinstance(value, Spread) for value in column):
            parts[str(name)] = column
            continue
        parts[str(name)] = column.map(lambda value: value.mean if isinstance(value, Spread) else value)
        parts[f"{name} std"] = column.map(
            lambda value: value.deviation if isinstance(value, Spread) else float("nan")
        )
    return pd.DataFrame(parts)


def table_from_csv(text: str) -> pd.DataFrame:
    """Return a table of :meth:`Table.csv`, every cell as text; without rows and columns if there was nothing to tell.

    Raises:
        ValueError: it is not CSV.
    """
    import pandas as pd

    return (
        pd.read_csv(io.StringIO(text), keep_default_na=False, dtype=str)
        if text.strip()
        else pd.DataFrame(dtype=str)
    )


def deviations_joined(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of :func:`table_from_csv` with each deviation behind its mean again: ``23.56 ± 2.91``."""
    from nls.reporting.cells import column_texts
    from nls.reporting.statistics import Spread

    def cell(mean: str, deviation: str) -> Spread | float | str:
        if mean and deviation:
            return Spread(float(mean), float(deviation))
        return float(mean) if mean else ""

    joined = table.copy()
    for name, deviations in ((name, f"{name} std") for name in table.columns):
        if deviations in table.columns:
            joined[name] = column_texts(list(map(cell, table[name], joined.pop(deviations))))
    return joined


def markdown(frame: pd.DataFrame) -> str:
    """Return a table of texts in Markdown."""
    rows = [list(map(str, frame.columns)), ["---"] * len(frame.columns)]
    rows += [[one_line(cell).replace("|", r"\|") for cell in row] for row in frame.itertuples(index=False)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _latex(frame: pd.DataFrame, notes: list[str]) -> str:
    """Return a booktabs table of texts, columns of numbers to the right; the notes are comments above it."""
    from nls.reporting.cells import is_number

    columns = "".join("r" if all(map(is_number, column)) else "l" for _, column in frame.items())
    lines = [
        *(f"% {one_line(note)}" for note in notes),
        "% needs \\usepackage{booktabs}",
        f"\\begin{{tabular}}{{{columns or 'l'}}}",
        r"\toprule",
        *([_latex_row(map(str, frame.columns)), r"\midrule"] if len(frame.columns) else []),
        *map(_latex_row, frame.itertuples(index=False)),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(map(_escape, cells)) + r" \\"


# What LaTeX takes for a command, and signs that its fonts for text lack.
_LATEX = (
    {letter: f"\\{letter}" for letter in "%_&#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}"}
    | {"†": r"$\dagger$", "±": r"$\pm$", "×": r"$\times$", "−": "$-$", "³": "$^3$", "²": "$^2$", "⁻": "$^-$"}
    | {"ε": r"$\varepsilon$", "∞": r"$\infty$", "≤": r"$\leq$", "≥": r"$\geq$", "→": r"$\to$"}
    | {"↓": r"$\downarrow$", "↑": r"$\uparrow$"}
)


def _escape(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in one_line(text))
