"""The site: the Markdown pages as they stand, and the API from the docstrings. ``make docs`` builds it."""

from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

ROOT = Path(__file__).parents[1]

project = "nls"
html_title = "nls: controlling neural level sets"
html_theme = "furo"
html_static_path, html_css_files = ["_static"], ["site.css"]
html_show_copyright = html_copy_source = html_show_sourcelink = False
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]

# The source is the whole repository, so that a link from page to page, or to a file, is the same on a code host.
root_doc = "README"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "config/README.md",
    "docs/*.md",
    "docs/*.ipynb",
]
exclude_patterns = [
    path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in ("config", "docs")
]

SECTIONS = {
    "Begin": ["docs/start", "docs/example", "docs/glossary"],
    "Understand": [
        "docs/mathematics",
        "docs/few_images",
        "docs/robustness",
        "docs/beyond",
        "docs/surfaces",
        "docs/theorem1",
    ],
    "Add your own": ["docs/add_method", "docs/add_model", "docs/add_dataset", "docs/add_scan"],
    "Run": ["docs/running", "docs/data", "docs/faults", "config/README"],
    "Look up": ["docs/reproduction", "docs/benchmarks", "docs/api", "CONTRIBUTING", "CHANGELOG"],
}

myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4

autodoc_default_options = {"members": True, "member-order": "bysource"}
napoleon_attr_annotations = False  # shapes such as "n *shape" are no reStructuredText
html_math_renderer = "mathml"  # the browser's own: nothing is loaded from elsewhere
toc_object_entries = False


class NotebookParser(MystParser):
    """Shows a notebook as a page: its text, and its code as Python."""

    supported = ("ipynb",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Parse the cells as one Markdown text."""
        cells = nbformat.reads(inputstring, as_version=4).cells
        text = [
            cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```"
            for cell in cells
        ]
        super().parse("\n\n".join(text), document)


def add_navigation(app: Sphinx, name: str, source: list[str]) -> None:
    """Put the navigation below the first page, where a code host would show it as code."""
    if name == root_doc:
        for caption, pages in SECTIONS.items():
            lines = "\n".join(f"/{page}" for page in pages)
            source[0] += f"\n\n```{{toctree}}\n:hidden:\n:caption: {caption}\n{lines}\n```\n"


def open_at_first_page(app: Sphinx, error: Exception | None) -> None:
    """Write the page that a web server shows for the folder."""
    if error is None:
        page = (
            f'<!doctype html><title>nls</title><meta http-equiv="refresh" content="0; url={root_doc}.html">\n'
        )
        (Path(app.outdir) / "index.html").write_text(page, encoding="utf-8")


def inline_formula(writer: HTML5Translator, node: nodes.math) -> None:
    """Write a formula of a line as MathML."""
    writer.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def displayed_formula(writer: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula of its own as MathML."""
    writer.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx of the above."""
    app.add_source_suffix(".ipynb", "ipynb")
    app.add_source_parser(NotebookParser)
    app.add_html_math_renderer("mathml", (inline_formula, None), (displayed_formula, None))
    app.connect("source-read", add_navigation)
    app.connect("build-finished", open_at_first_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
