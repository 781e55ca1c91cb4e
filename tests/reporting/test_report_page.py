"""The report as a reader has it: in Chromium, by mouse and keys, on a phone, in the dark, by a screen reader."""

import io
import re
import shutil
from collections import Counter
from html import unescape

import html5lib
import numpy as np
import pytest
import trimesh
import yaml
from axe_playwright_python.sync_playwright import Axe
from made_up import finish
from PIL import Image
from playwright.sync_api import sync_playwright

from nls.reporting.report import write_report
from nls.reporting.view3d import Panel, view_page

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TABLE = """method,clean (paper),clean (reference),clean (here),clean (here) std,pgd-xent (paper),pgd-xent (here),pgd-xent (here) std,min (here),loss
ours,99.35,99.00,98.9,,97.35,90.00,,90.00,
madry,98.53,,98.4,0.2000001,96.01,94.5,1.75,94.7,
trades,,,9.5,,,,,,0.123456789
"""  # noqa: E501
DIFFERENCES = """dataset,network,ours,other,measure,difference (paper),difference (here),95% low (here),95% high (here),claim,verdict (here)
mnist,convnet,ours,madry,pgd-xent,1.34,2.00,-1.00,5.00,ours above,undecided
mnist,convnet,ours,trades,pgd-xent,0.77,2.00,1.00,3.00,ours above,reproduced
mnist,convnet,ours,standard,clean,,0.10,,,,
"""  # noqa: E501


SPEC = {
    "suite": "small",
    "experiment": "table1",
    "run": "one",
    "device": "auto",
    "method": "ours",
    "training": {"steps": 7, "milestones": [3, 5]},
    "seed": 0,
}
PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 2"><path id="a" fill="#b00" d="M0 0h8v2z"/></svg>'
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A suite whose only run is finished, with tables, a figure, and a view in 3D."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("one", "two"):
        spec = SPEC | {"run": name, "seed": len(name)}
        path = folder / f"results/small/specs/table1/{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(spec))
    finish(folder / "results/small/table1/one", SPEC | {"seed": 3}, {"clean": 1.0}, wall_seconds=90.0)
    asked = folder / "results/small/specs/table2/levelset-000.yaml"
    asked.parent.mkdir()
    asked.write_text(yaml.safe_dump(SPEC | {"experiment": "table2", "run": "levelset-000"}))
    reports = folder / "reports/small"
    reports.mkdir(parents=True)
    for name, text in (("table1", TABLE), ("table1-differences", DIFFERENCES)):
        (reports / f"{name}.csv").write_text(text)
        (reports / f"{name}.md").write_text("| a | b |\n\n- a note & its <sign>\n")
        (reports / f"{name}.tex").write_text("\\begin{tabular}{l} a & b \\end{tabular}\n")
    (reports / "figure3.svg").write_text(PICTURE)
    ball, box = trimesh.creation.icosphere(), trimesh.creation.box((2, 0.4, 0.4))
    panels = [
        Panel("cloud", "", ball.vertices),
        Panel("hidden", "", ball, shown=False),
        Panel("box", "1.0 mm", box),
    ]
    (reports / "figure3.html").write_text(view_page("three <shapes>", panels))
    return folder


@pytest.fixture(scope="module")
def page(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return write_report("small").resolve()


def overview_of(page):
    section = re.search(r'<section id="overview">(.*?)</section>', page.read_text(), re.DOTALL)[1]
    rows = re.findall(r"<tr>(.*?)</tr>", section.replace("\n", ""))
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in rows]
    return [[unescape(re.sub("<.*?>", "", cell)) for cell in row] for row in cells if row], section


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


def test_tables_of_an_experiment_that_is_no_longer_asked_for_are_left_out(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    assert "Table 1: ours, clean" in write_report("small").read_text()
    for path in (tmp_path / "results/small/specs/table1").iterdir():
        path.unlink()
    text = write_report("small").read_text()
    assert "Table 1" not in text
    assert 'id="table1"' not in text
    assert 'id="figure3"' in text


def test_an_experiment_without_a_product_of_its_own_keeps_its_section(page):
    text = page.read_text()
    section = re.search(r'<section id="table2">(.*?)</section>', text, re.DOTALL)[1]
    assert "Table 2: surfaces from scans" in section
    assert "results/small/table2/levelset-000: not run" in section
    assert text.index('<section id="table1">') < text.index('<section id="table2">')


def test_an_experiment_of_another_version_has_a_section_under_its_name(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    asked = tmp_path / "results/small/specs/older/one.yaml"
    asked.parent.mkdir()
    asked.write_text(yaml.safe_dump(SPEC | {"experiment": "older"}))
    text = write_report("small").read_text()
    assert '<section id="older"><h2><a href="#older">older</a></h2>' in text
    assert "results/small/older/one: not run" in text


def astray(text):
    """Links within a page that lead to no place, or to more than one."""
    places = Counter(re.findall(r'\bid="([^"]+)"', text))
    return [link for link in re.findall(r'href="#([^"]*)"', text) if places[link] != 1]


def test_every_link_within_the_page_leads_to_one_place(page):
    assert 'href="#table2-made"' in page.read_text()
    assert astray(page.read_text()) == []


def test_the_page_asks_for_nothing_outside(page):
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page.read_text())
    assert "{{" not in page.read_text()


def test_an_experiment_says_how_it_was_made(page):
    section = re.search(r'<section id="table1">(.*?)</section>', page.read_text(), re.DOTALL)[1]
    assert "How it was made: 1 of 2 runs, 1.5 min, a CPU (cpu)" in section
    cells = dict(re.findall(r"<tr><th scope='row'>([\w.]+)</th><td>(.*?)</td></tr>", section))
    assert cells["training.milestones"] == "[3, 5]"
    assert cells["seed"] == "3"
    for name in ("spec.yaml", "metrics.json", "provenance.json", "run.log"):
        assert f'<a href="../../results/small/table1/one/{name}">' in section
    assert "results/small/table1/two: not run" in section


def test_a_column_of_numbers_has_equal_places(page):
    text = page.read_text()
    assert "<td>94.70</td>" in text  # beside 90.00
    assert "94.70" not in text.split('id="table1-csv"')[1].split("</pre>")[0]


def test_a_mean_stands_with_its_deviation_in_one_cell(page):
    section = re.search(r'<section id="table1">(.*?)</section>', page.read_text(), re.DOTALL)[1]
    for cell in ("98.90", "98.40 ± 0.20", "9.50", "90.00", "94.50 ± 1.75"):
        assert f"<td>{cell}</td>" in section
    assert "<th>clean (here) std</th>" not in section


@pytest.mark.parametrize("name", ["report.html", "figure3.html"])
def test_the_html_is_valid(page, name):
    html5lib.HTMLParser(strict=True).parse(page.with_name(name).read_text())


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        pytest.skip("no Chromium here: the page is not tried in a browser")
    with sync_playwright() as playwright:
        # Without a graphics card WebGL draws on the CPU, where it is asked to; the rest of a page needs none of it.
        drawing = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu-compositing"]
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", *drawing])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def tabs():
    """The tabs that tests have opened so far, by path: to load a page takes longer than to look at it."""
    return {}


@pytest.fixture(scope="module")
def faults():
    """What the tabs have complained of, or asked of another host, since a test began."""
    return []


@pytest.fixture
def open_tab(browser, tabs, faults):
    """Go to the tab of a page; it may have no faults."""

    def new_tab(path):
        tab = browser.new_page()
        tab.on("console", lambda line: line.type == "error" and faults.append(line.text))
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("request", lambda request: request.url.startswith("http") and faults.append(request.url))
        tab.goto(path.as_uri())
        return tab

    def open_page(path, width=1280, height=800, scheme="light"):
        tab = tabs[path] = tabs.get(path) or new_tab(path)
        tab.set_viewport_size({"width": width, "height": height})
        tab.emulate_media(color_scheme=scheme)
        return tab

    faults.clear()
    yield open_page
    assert faults == []


@pytest.fixture
def opened(open_tab, page):
    """Go to the tab of the report, or of a page beside it."""
    return lambda name="report.html", **options: open_tab(page.with_name(name), **options)


def column(tab, number):
    return tab.evaluate(
        """(number) => [...document.querySelector("#table1 table").tBodies[0].rows]
            .map((row) => row.cells[number].textContent)""",
        number,
    )


def test_tables_sort_by_value_with_the_keyboard_too(opened):
    tab = opened()
    heads = tab.locator("#table1 table >> nth=0").locator("thead th")
    clean = heads.nth(3)
    clean.get_by_role("button").click()
    assert column(tab, 3) == ["9.50", "98.40 ± 0.20", "98.90"]
    assert clean.get_attribute("aria-sort") == "ascending"
    clean.get_by_role("button").press("Enter")
    assert column(tab, 3) == ["98.90", "98.40 ± 0.20", "9.50"]
    assert clean.get_attribute("aria-sort") == "descending"
    heads.nth(1).get_by_role("button").click()
    assert column(tab, 1) == ["98.53", "99.35", ""]
    heads.nth(0).get_by_role("button").click()
    assert column(tab, 0) == ["madry", "ours", "trades"]


def test_a_table_is_copied_in_each_format(opened):
    tab = opened()
    tab.evaluate(
        """() => {
            copied = null;
            document.execCommand = () => { copied = document.activeElement.value; };
            navigator.clipboard.writeText = () => Promise.reject(new Error("not allowed"));
        }"""
    )
    for name, text in (("CSV", TABLE), ("LaTeX", "\\begin{tabular}{l} a & b \\end{tabular}\n")):
        tab.locator("#table1").get_by_role("button", name=f"copy as {name}").first.click()
        tab.wait_for_function("copied")
        assert tab.evaluate("copied") == text
        tab.evaluate("copied = null")
    assert tab.locator("#table1 .copy").first.get_by_role("button").count() == 3


def test_a_copy_button_has_its_name_back_after_two_quick_clicks(opened):
    button = opened().locator("#table1").get_by_role("button", name="copy as Markdown").first
    shown = button.evaluate(
        """async (button) => {
            navigator.clipboard.writeText = () => Promise.resolve();
            const wait = setTimeout, later = [];
            setTimeout = (action) => later.push(action);
            button.click();
            button.click();
            await new Promise((done) => wait(done));
            setTimeout = wait;
            const shown = [button.textContent];
            later.forEach((action) => action());
            return [...shown, button.textContent];
        }"""
    )
    assert shown == ["copied", "copy as Markdown"]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_it_fits_the_screen_and_a_screen_reader(opened, width, scheme):
    tab = opened(width=width, scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert serious(tab) == []


@pytest.mark.workflow
def test_the_html_of_the_small_suite_is_valid_and_its_links_lead_to_one_place(smoke):
    text = (smoke / "reports/smoke/report.html").read_text()
    html5lib.HTMLParser(strict=True).parse(text)
    assert astray(text) == []


@pytest.mark.workflow
def test_paper_holds_every_table_of_the_small_suite(smoke, open_tab):
    """A4 in landscape has 1,032 pixels between margins of 12 mm; browsers shrink a page by 1.5, which can be read."""
    tab = open_tab(smoke / "reports/smoke/report.html", width=1548)
    tab.emulate_media(media="print")
    cut = tab.locator(".scroll").evaluate_all(
        "(tables) => tables.filter((each) => each.scrollWidth > each.clientWidth + 1).map((each) => each.ariaLabel)"
    )
    tab.emulate_media(media="screen")
    assert cut == []


@pytest.mark.workflow
@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (360, "light")])
def test_the_page_of_the_small_suite_does(smoke, open_tab, width, scheme):
    tab = open_tab(smoke / "reports/smoke/report.html", width=width, scheme=scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert serious(tab) == []
    windows = tab.locator(".long").all()
    assert windows
    for window in windows:
        box = window.bounding_box()
        assert box["height"] < 500
        # The head stays in sight, so that one knows what the last rows are.
        window.evaluate("(each) => { each.scrollTop = each.scrollHeight; }")
        assert window.locator("thead th").first.bounding_box()["y"] >= window.bounding_box()["y"] - 1
    verdict = tab.locator("#overview td:last-child").first.bounding_box()
    assert verdict["x"] + verdict["width"] <= width


def serious(tab):
    """What axe finds that keeps somebody out, once where rows of a table differ in their words alone."""
    tab.evaluate(
        """() => {
            for (const body of document.querySelectorAll("tbody")) {
                const seen = new Set();
                for (const row of body.rows) {
                    const look = row.outerHTML.replace(/>[^<>]*[^<>\\s][^<>]*/g, ">x")
                        .replace(/href="[^"]+"/g, "href");
                    if (seen.has(look)) row.dataset.alike = "";
                    seen.add(look);
                }
            }
        }"""
    )
    found = Axe().run(tab, {"exclude": [["[data-alike]"]]}).response["violations"]
    return [one["help"] for one in found if one["impact"] in ("serious", "critical")]


def drawn(view):
    """The pixels of a view once two pictures agree."""
    before = None
    for _ in range(20):
        now = np.asarray(Image.open(io.BytesIO(view.screenshot())).convert("RGB")).astype(int)
        if before is not None and (before == now).all():
            return now
        before = now
    raise AssertionError("the views do not come to rest")


def test_all_views_turn_together_by_mouse_and_by_keys(opened):
    tab = opened(width=480, height=640)
    tab.locator("iframe").scroll_into_view_if_needed()
    frame = tab.frame_locator("iframe")
    frame.get_by_text("Drag to turn").wait_for()
    grid = frame.locator("#views")
    views = grid.locator(".view")
    start = [drawn(view) for view in views.all()]
    assert len(start) == 2
    for picture in start:  # something stands before the white ground, in the middle
        ink = (picture < 240).any(axis=2)
        assert 0.002 < ink.mean() < 0.9
        for place, size in zip(np.nonzero(ink), ink.shape, strict=True):
            assert abs(np.median(place) / size - 0.5) < 0.2

    box = views.nth(0).bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.6, steps=4)
    tab.mouse.up()
    assert np.abs(drawn(views.nth(1)) - start[1]).max() > 30

    frame.get_by_role("button", name="as it was").click()
    assert np.abs(drawn(views.nth(1)) - start[1]).mean() < 1
    grid.press("ArrowLeft")
    assert np.abs(drawn(views.nth(1)) - start[1]).max() > 30


def test_the_views_are_chosen_and_open_to_all(opened):
    tab = opened("figure3.html", width=360, height=500, scheme="dark")
    tab.get_by_text("Drag to turn").wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert serious(tab) == []
    tab.get_by_label("hidden").check()
    tab.locator("figure canvas").nth(2).wait_for()
    tab.get_by_label("cloud").uncheck()
    names = [text.split("\n")[0] for text in tab.locator("figcaption").all_inner_texts()]
    assert names == ["hidden", "box"]


def test_long_numbers_are_short_on_the_page_and_whole_in_copies(page):
    text = page.read_text()
    assert "<td>0.1235</td>" in text
    assert "0.123456789" in text.split('id="table1-csv"')[1].split("</pre>")[0]


def test_notes_and_texts_are_escaped(folder, page):
    assert "a note &amp; its &lt;sign&gt;" in page.read_text()
    assert page == folder / "reports/small/report.html"
