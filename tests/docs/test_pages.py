"""What the pages say holds: commands exist, settings are allowed, links resolve, figures are those of the runs."""

import contextlib
import io
import os
import re
import shlex
import textwrap
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from pages import PAGES, ROOT, blocks, carry_out, commands
from snakemake.cli import get_argument_parser

from nls.cli import _parser
from nls.experiments import RECIPES, load_suite
from nls.reporting import table1, table2
from nls.reporting.runs import Evidence
from nls.reporting.statistics import spread

README = ROOT / "README.md"
MAKE_TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
# What is no part of the project.
OTHER_PROGRAMS = {".", "cat", "cd", "conda", "cp", "find", "git", "ls", "pip", "podman", "tmux", "wait"}
SNAKEMAKE = get_argument_parser()


def parsed(parser, words):
    """Parse as on a command line; what is wrong is the message of an AssertionError."""
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            return parser.parse_args(words)
    except SystemExit as stop:
        if stop.code:
            raise AssertionError(told.getvalue()) from stop
        return None


def check_command(page, words):
    match words:
        case ["nls", *rest]:
            parsed(_parser(), rest)
        case ["snakemake", *rest]:
            arguments = parsed(SNAKEMAKE, rest)
            assert {*arguments.targets} <= {*RECIPES, "report"}
            own = {block.file for block in blocks(page)} | {"my_suite.yaml"}
            assert all((ROOT / path).exists() or str(path) in own for path in arguments.configfile or ())
            assert (ROOT / (arguments.workflow_profile or ".")).exists()
        case ["make", *targets]:
            assert {*targets} <= MAKE_TARGETS
        case ["python", "-m", module, *_]:
            path = ROOT / module.replace(".", "/")
            assert module == "pip" or path.with_suffix(".py").exists() or (path / "__main__.py").exists()
        case ["python" | "pytest", path, *_]:
            assert (ROOT / path).exists()
        case [path] if path.endswith(".sh"):
            assert os.access(ROOT / path, os.X_OK)
        case _:
            assert words[0] in OTHER_PROGRAMS, f"what is {words[0]}?"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_exists(page):
    for block, command in commands(page):
        # Variables before a command, and the & behind it, are the shell's.
        words = shlex.split(
            re.sub(r"^(\w+=\S+ )+|\s*&$", "", command.replace("<this repository>", "REPOSITORY"))
        )
        try:
            check_command(page, words)
        except AssertionError as wrong:
            raise AssertionError(f"{block}: {command}: {wrong}") from wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_what_it_is(page):
    """A block without a language, or an indented one, would be neither coloured nor tested."""
    assert {block.language for block in blocks(page)} <= {
        "bash",
        "bibtex",
        "eval-rst",
        "math",
        "python",
        "text",
        "yaml",
    }
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"\n\n {4}(?![ *-])\S", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_is_allowed(page, tmp_path, monkeypatch):
    """Whole configs load; the page's other files are there. Parts of a config are YAML."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.csv").write_text("scan,truth,name\npairs.csv,,torus\n")
    for block in blocks(page, "yaml"):
        values = yaml.safe_load(re.sub(r"\*[\w-]+", "null", textwrap.dedent(block.text)))
        assert values, block
        if block.file:
            load_suite(yaml.safe_load(block.text), str(block))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", text):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {path}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {path}#{anchor}"


def anchors(page):
    """Return the anchors that a code host gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    carry_out(README, tmp_path)
    assert capsys.readouterr().out.strip().endswith("True 1")


def test_start_has_the_readmes_examples():
    here, there = (
        {re.sub(r"\s+#.*", "", block.text) for block in blocks(page, "python") if not block.file}
        for page in (ROOT / "docs/start.md", README)
    )
    assert here == there


def test_every_config_has_its_line():
    configs = {path.name for path in (ROOT / "config").glob("*.yaml")}
    section = README.read_text().split("## Which config")[1].split("##")[0]
    assert configs == set(re.findall(r"`config/(\w+\.yaml)`", section))


def test_the_notebook_runs_and_carries_no_outputs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    session: dict[str, object] = {}
    cells = nbformat.read(ROOT / "docs/example.ipynb", as_version=4).cells
    for number, cell in enumerate(cell for cell in cells if cell.cell_type == "code"):
        assert not cell.outputs
        exec(compile(cell.source, f"example.ipynb, cell {number}", "exec"), session)
    plain, ours = (float(found) for found in re.findall(r"least distance ([\d.]+)", capsys.readouterr().out))
    assert ours > 0.24 > 0.2 > plain
    assert Path("example.png").stat().st_size > 10_000


def test_the_ablation_is_what_the_reference_holds():
    frame, _ = table1.table(Evidence("beyond", ROOT / "results"))
    page = (ROOT / "docs/beyond.md").read_text().split("### The ablation on the digits,")[1]
    digits = frame[frame["dataset"] == "digits"]
    assert len(digits) == len(re.findall(r"^\| `", page, re.MULTILINE))
    rows = table1.by_seed(Evidence("beyond", ROOT / "results").reference("table1"))
    minima = {
        key: {seed: 100 * run.metrics["robust_accuracy"]["min"] for seed, run in seeds.items()}
        for key, seeds in rows.items()
    }
    madry = minima["digits", "convnet-small", "madry", 0.15]
    for _, row in digits.iterrows():
        assert row["seeds (reference)"] == 3
        cells = [str(row[f"{name} (reference)"]) for name in ("clean", "pgd-margin", "autoattack", "min")]
        eps = None if pd.isna(row["eps_train"]) else row["eps_train"]
        found = minima["digits", "convnet-small", row["method"], eps]
        more = spread([found[seed] - madry[seed] for seed in (0, 1, 2)])
        last = (
            "" if found is madry else f" {more.mean:+.2f} ({more.deviation / 3**0.5:.2f})".replace("-", "−")
        )
        assert f"| {' | '.join(cells)} |{last} |" in page, f"docs/beyond.md should have the row {cells}{last}"


@pytest.mark.parametrize("suite", ["workstation", "beyond"])
def test_all_of_mnist_and_fashion_mnist_is_what_the_reference_holds(suite):
    frame, _ = table1.table(Evidence(suite, ROOT / "results"))
    page = (ROOT / "docs/beyond.md").read_text()
    there = frame[(frame["dataset"] != "digits") & frame["min (reference)"].notna()]
    assert len(there) > 1
    for _, row in there[there["method"] != "standard"].iterrows():
        found = [row[f"{name} (reference)"] for name in ("clean", "pgd-margin", "autoattack")]
        cells = [f"{one:.2f}" if isinstance(one, float) else str(one) for one in found]
        assert f"| {' | '.join(cells)} |" in page, f"docs/beyond.md should have the row {cells}"


def test_the_comparison_of_three_seeds_is_what_the_reference_holds():
    frame, _ = table1.table(Evidence("beyond_mini", ROOT / "results"))
    page = (ROOT / "docs/beyond.md").read_text()
    there = frame[frame["min (reference)"].notna()]
    # Rows with a column for the number of seeds are those of all images.
    assert len(there) == len(re.findall(r"^\| `[^|]*\|[^|]*± .* \|$", page, re.MULTILINE))
    for _, row in there.iterrows():
        assert row["seeds (reference)"] == 3
        method = row["method"].rsplit(":", 1)[-1]
        name = f"`{method}`" if pd.isna(row["eps_train"]) else f"`{method}` {row['eps_train']}"
        cells = [str(row[f"{column} (reference)"]) for column in ("clean", "pgd-margin", "autoattack", "min")]
        assert f"| {' | '.join([name, *cells])} |" in page, (
            f"docs/beyond.md should have the row {name} {cells}"
        )


# Rows of docs/reproduction.md, how many and what, as the reference in git has them.
TABLES = {
    "workstation": (table1, 7, ["clean", "pgd-xent", "pgd-margin", "autoattack", "min"]),
    "mini": (table1, 4, ["clean", "pgd-xent", "pgd-margin", "square", "autoattack", "min"]),
    "bodies": (table2, 8, ["Chamfer L1 ×10³", "Chamfer L2 ×10³", "F-score"]),
}


@pytest.mark.parametrize("suite", TABLES)
def test_what_is_reproduced_is_what_the_reference_holds(suite):
    module, rows, columns = TABLES[suite]
    frame, _ = module.table(Evidence(suite, ROOT / "results"))
    page = (ROOT / "docs/reproduction.md").read_text()
    there = frame[frame[f"{columns[0]} (reference)"].notna()]
    assert len(there) == rows
    for _, row in there.iterrows():
        name = row["method"] if pd.isna(row.get("eps_train", None)) else f"{row['method']} {row['eps_train']}"
        found = [row.get(f"{column} (reference)", row.get(column)) for column in columns]
        places = 2 if module is table1 else 3
        cells = [f"{one:.{places}f}" if isinstance(one, float) else str(one) for one in found]
        line = f"| {' | '.join([name, *cells])} |"
        assert line in page, f"docs/reproduction.md should have the row {line}"


def test_the_readmes_results_are_those_of_the_docs():
    section = README.read_text().split("## What came out")[1].split("\n## ")[0]
    rows = re.findall(r"^\| .*\d\.\d.* \|$", section, re.MULTILINE)
    assert len(rows) == 15
    there = [(ROOT / page).read_text() for page in ("docs/reproduction.md", "docs/beyond.md")]
    for row in rows:
        assert any(row in page for page in there), f"README.md has a row that no other page has: {row}"


def test_surfaces_are_meshed_where_their_figures_no_longer_change():
    """By the tables of docs/surfaces.md, whose columns are methods; within 1.5% of the finest grid."""
    page = (ROOT / "docs/surfaces.md").read_text().split("**How fine a grid must be.**")[1]
    least = {}
    for first in ("nodes", "depth"):
        head, _, *rows = re.search(rf"(\| {first} \|.*?)\n\n", page, re.DOTALL)[1].splitlines()
        cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in (head, *rows)]
        for column, name in enumerate(cells[0][1:], 1):
            values = {int(row[0]): float(row[column].split("/")[0]) for row in cells[1:]}
            finest = values[max(values)]
            near = [
                size for size in values if all(v < 1.015 * finest for s, v in values.items() if s >= size)
            ]
            least[name] = min(near)
    assert least == {"exact distance": 256, "level set (ours)": 192, "IGR": 64, "screened Poisson": 9}
    for suite in ("paper", "bodies"):
        experiments = yaml.safe_load((ROOT / f"config/{suite}.yaml").read_text())["experiments"]
        for config in (experiments[name] for name in ("table2", "table2-time") if name in experiments):
            assert config["resolution"] >= least["exact distance"]
            depths = [one["depth"] for one in config["methods"].values() if one["method"] == "poisson"]
            assert min(depths) >= least["screened Poisson"]
