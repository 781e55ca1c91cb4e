"""The files of tables and figures: LaTeX that compiles, three formats of a picture, equal bytes for equal numbers."""

import re
import shutil
import subprocess

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from nls.reporting import products
from nls.reporting.products import FigureProduct, Table, write_figure
from nls.reporting.runs import Evidence
from nls.reporting.statistics import Spread
from nls.reporting.style import in_legend

LATEX = shutil.which("pdflatex")
HARD = pd.DataFrame(
    {
        "method_name": ["50% & more", "a\\b{c}$d#~^", "[2pt]", "|x|<3 → ∞, line\nbreak"],
        "Chamfer L2 ×10³ ↓": [1.5, -0.25, None, 12.0],
        "ε ≤ 8/255 (here)": [Spread(1.5, 0.25), "†", "−3.25", "95.00 ± 0.10"],
    }
)


@pytest.fixture
def tex(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Table("hard", "s", HARD, ["100% of it\nis a note"]).write()
    Table("empty", "s", pd.DataFrame(), []).write()
    return tmp_path / "reports/s"


def test_a_latex_table_has_as_many_cells_in_each_row_as_columns_and_no_bare_command(tex):
    lines = [line for line in (tex / "hard.tex").read_text(encoding="utf-8").splitlines() if line[0] != "%"]
    assert lines[:2] == [r"\begin{tabular}{lrl}", r"\toprule"]
    assert (lines[3], lines[-2:]) == (r"\midrule", [r"\bottomrule", r"\end{tabular}"])
    rows = [lines[2], *lines[4:-2]]
    assert len(rows) == 5
    for row in rows:
        assert row.endswith(r" \\")
        assert row.isascii()
        assert len(re.findall(r"(?<!\\)&", row)) == 2
        # Whatever is left after commands, mathematics and escaped signs is plain text.
        left = re.sub(r"\$[^$]*\$|\\[a-z]+\{\}|\\[%_&#${}]|\{[\[\]]\}", "", row.removesuffix(r" \\"))
        assert not re.search(r"[\\%_#$~^{}<>|]", left), left


def test_a_markdown_table_has_as_many_cells_in_each_row_as_columns(tex):
    rows = (tex / "hard.md").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    assert len(rows) == 2 + len(HARD)
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) == 4


def test_a_legend_shows_names_that_begin_with_an_underscore():
    _, axis = plt.subplots()
    axis.plot([0, 1], label=in_legend("_Mine"))
    axis.plot([1, 0], label=in_legend("madry"))
    assert [text.get_text().strip("\u200b") for text in axis.legend().get_texts()] == ["_Mine", "madry"]


@pytest.mark.skipif(LATEX is None, reason="no pdflatex here: LaTeX tables are parsed, not compiled")
def test_latex_tables_compile(tex):
    tables = "\n\n".join(rf"\input{{{name}}}" for name in ("hard", "empty"))
    (tex / "all.tex").write_text(
        rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{tables}\end{{document}}"
    )
    done = subprocess.run(
        [LATEX, "-halt-on-error", "-interaction=nonstopmode", "all"], cwd=tex, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert "Missing character" not in (tex / "all.log").read_text(errors="replace")
    assert (tex / "all.pdf").read_bytes().startswith(b"%PDF")


def test_a_figure_is_written_as_svg_pdf_and_png_with_the_same_bytes_each_time(tmp_path, monkeypatch):
    def draw(evidence):
        picture, axis = plt.subplots()
        axis.plot([0, 1], [0, 1], clip_on=True, marker="o")
        axis.pcolormesh([[0, 1], [2, 3]], rasterized=True)
        axis.set_title("ε = 0.3")
        return picture

    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/s/specs/figure1").mkdir(parents=True)
    (tmp_path / "results/s/specs/figure1/one.yaml").touch()
    monkeypatch.setitem(products.FIGURES, "drawn", FigureProduct(("figure1",), draw))
    written = write_figure("drawn", "s")
    assert [path.name for path in written] == ["drawn.svg", "drawn.pdf", "drawn.png"]
    first = [path.read_bytes() for path in written]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")  # any date that were written would be this one
    write_figure("drawn", "s")
    assert [path.read_bytes() for path in written] == first
    assert [content[:5] for content in first] == [b"<?xml", b"%PDF-", b"\x89PNG\r"]


@pytest.mark.parametrize("name", products.FIGURES)
def test_a_figure_of_a_suite_without_runs_says_so(tmp_path, name):
    axes = products.FIGURES[name].make(Evidence("empty", tmp_path)).axes
    assert axes
    for axis in axes:
        assert [text.get_text()[:9] for text in axis.texts] == ["missing: "]
        assert not axis.axison
