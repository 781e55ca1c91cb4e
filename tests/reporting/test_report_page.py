"""The report in a browser: what it says first, and that its tables sort and copy."""

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from nls.reporting.report import write_report

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TABLE = """method,clean (paper),clean (reference),clean (here),pgd-xent (paper),pgd-xent (here),pgd-xent (here) std
ours,99.35,99.00,98.90,97.35,90.00,
madry,98.53,,98.40 ± 0.20,96.01,94.5,1.75
trades,,,9.50,,,
"""
DIFFERENCES = """dataset,network,ours,other,measure,difference (paper),difference (here),95% low (here),95% high (here),claim,verdict (here)
mnist,convnet,ours,madry,pgd-xent,1.34,2.00,-1.00,5.00,ours above,undecided
mnist,convnet,ours,trades,pgd-xent,0.77,2.00,1.00,3.00,ours above,reproduced
mnist,convnet,ours,standard,clean,,0.10,,,,
"""  # noqa: E501


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/small/specs/table1").mkdir(parents=True)
    reports = tmp_path / "reports/small"
    reports.mkdir(parents=True)
    for name, text in (("table1", TABLE), ("table1-differences", DIFFERENCES)):
        (reports / f"{name}.csv").write_text(text)
        (reports / f"{name}.md").write_text("| a | b |\n\n- a note & its <sign>\n")
        (reports / f"{name}.tex").write_text("\\begin{tabular}{l} a & b \\end{tabular}\n")
    return write_report("small")


def overview_of(page):
    section = re.search(r'<section id="overview">(.*?)</section>', page.read_text(), re.DOTALL)[1]
    rows = re.findall(r"<tr>(.*?)</tr>", section.replace("\n", ""))
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in rows]
    return [[unescape(re.sub("<.*?>", "", cell)) for cell in row] for row in cells], section


def test_the_overview_comes_first_and_judges_figures_and_claims(page):
    rows, section = overview_of(page)
    assert rows == [
        ["Table 1: ours, clean", "99.35", "99.00", "98.90", "agrees"],
        ["Table 1: ours, pgd-xent", "97.35", "", "90.00", "differs"],
        ["Table 1: madry, clean", "98.53", "", "98.40 ± 0.20", "agrees"],
        ["Table 1: madry, pgd-xent", "96.01", "", "94.50 ± 1.75", "agrees"],
        [
            "Table 1: mnist convnet ours above madry, pgd-xent",
            "+1.34",
            "",
            "+2.00 (−1.00 to +5.00)",
            "undecided",
        ],
        [
            "Table 1: mnist convnet ours above trades, pgd-xent",
            "+0.77",
            "",
            "+2.00 (+1.00 to +3.00)",
            "reproduced",
        ],
    ]
    assert "3 agrees, 1 reproduced, 1 differs, 1 undecided." in section
    text = page.read_text()
    assert text.index('id="overview"') < text.index('id="table1"') < text.index('id="runs"')


def test_the_page_asks_for_nothing_outside(page):
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page.read_text())
    assert "{{" not in page.read_text()


def in_the_browser(page, script):
    """Run a script at the end of a copy of the page; return what it leaves in ``#found`` and the console's lines."""
    copy = page.with_name("copy.html")
    copy.write_text(
        page.read_text().replace("</body>", f'<pre id="found"></pre><script>{script}</script></body>')
    )
    words = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={page.resolve().parent / 'profile'}", "--enable-logging=stderr", "--dump-dom",
        copy.resolve().as_uri(),
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return unescape(found[1]), [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here: the page is not tried in a browser")
def test_tables_sort_by_value_and_hold_what_is_copied(page):
    script = """
    const table = document.querySelector("#table1 table"), told = [];
    const column = (number) => [...table.tBodies[0].rows].map((row) => row.cells[number].textContent).join("|");
    const heads = table.querySelectorAll("thead button");
    heads[3].click(); told.push(column(3), heads[3].parentElement.getAttribute("aria-sort"));
    heads[3].click(); told.push(column(3), heads[3].parentElement.getAttribute("aria-sort"));
    heads[1].click(); told.push(column(1));
    heads[0].click(); told.push(column(0));
    told.push(document.querySelectorAll("#table1 .copy button").length);
    told.push(document.getElementById("table1-tex").textContent.trim());
    told.push(document.documentElement.scrollWidth <= document.documentElement.clientWidth);
    document.getElementById("found").textContent = told.join("\\n");
    """
    found, errors = in_the_browser(page, script)
    assert errors == []
    assert found.split("\n") == [
        "9.50|98.40 ± 0.20|98.90",
        "ascending",
        "98.90|98.40 ± 0.20|9.50",
        "descending",
        "98.53|99.35|",
        "madry|ours|trades",
        "3",
        "\\begin{tabular}{l} a & b \\end{tabular}",
        "true",
    ]


def test_notes_and_texts_are_escaped(page):
    assert "a note &amp; its &lt;sign&gt;" in page.read_text()
    assert Path("reports/small/report.html").exists()
