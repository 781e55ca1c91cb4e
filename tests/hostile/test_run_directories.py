"""Run directories with damaged files: a damaged run is a missing cell with its reason, and all others stand."""

import json
import shutil
from pathlib import Path

import pytest

from nls.cli import main
from nls.experiments import load_suite, run_spec

SUITE = {
    "suite": "tiny",
    "experiments": {
        "figure1": {"training": {"steps": 2, "points_per_class": 3, "width": 4}},
        "figure2": {
            "seeds_per_job": 1,
            "datasets": {"digits": {"fractions": [0.02], "seeds": 2, "losses": {"cross_entropy": {}}}},
            "training": {"steps": 2},
        },
    },
}
PANEL = Path("results/tiny/figure1/l2")
BLOCK = Path("results/tiny/figure2/digits-0.02-cross_entropy-seeds001-001")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a suite whose runs are all there, with its tables and figures."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        suite = load_suite(SUITE, "tiny.yaml")
        suite.write_specs()
        for experiment, runs in suite.specs.items():
            for spec in runs:
                directory = Path("results/tiny") / experiment / spec.run
                run_spec(Path("results/tiny/specs") / experiment / f"{spec.run}.yaml", directory)
        for words in (["table", "figure2"], ["figure", "figure2"]):
            assert main([*words, "--suite", "tiny"]) == 0
    return folder


@pytest.fixture
def suite(whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "suite")
    monkeypatch.chdir(tmp_path / "suite")


def cut(content):
    return content[: len(content) // 2]


def edited(content):
    """Return the numbers of a run made better by hand."""
    return content.replace(b"0.", b"1.", 1)


DAMAGES = {
    "gone": None,
    "empty": lambda content: b"",
    "cut": cut,
    "edited": edited,
    "binary": lambda content: bytes(range(256)),
    "zeros": lambda content: bytes(len(content)),
    "a list": lambda content: b"[1, 2, 3]",
    "a word": lambda content: b'"metrics"',
    "nothing": lambda content: b"null",
    "NaN": lambda content: b'{"accuracy": NaN}',
    "deep": lambda content: b"[" * 100_000,
    "another shape": lambda content: b'{"accuracy": {"a": [null]}}',
}
FILES = {
    BLOCK / "metrics.json": DAMAGES,
    BLOCK / "provenance.json": DAMAGES,
    BLOCK / "history.csv": ["gone", "cut"],
    BLOCK / "spec.yaml": ["gone", "empty", "cut", "binary", "a list"],
    PANEL / "panel.npz": ["gone", "empty", "cut", "zeros", "binary"],
    PANEL / "weights.safetensors": ["gone", "cut"],
    PANEL / "metrics.json": ["cut", "another shape"],
}
CASES = [(path, damage) for path, damages in FILES.items() for damage in damages]


def damaged(path, damage):
    if DAMAGES[damage] is None:
        path.unlink()
    else:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))


@pytest.mark.parametrize(("path", "damage"), CASES, ids=lambda each: getattr(each, "name", each))
def test_a_damaged_run_is_a_missing_cell_and_is_run_again(suite, path, damage, capfd):
    before = path.read_bytes()
    damaged(path, damage)
    run = path.parent
    capfd.readouterr()
    assert main(["status", "--suite", "tiny", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["all"]["done"] == 5
    if run == BLOCK:
        assert main(["table", "figure2", "--suite", "tiny"]) == 0
        assert f"missing: {run.name}" in " ".join(capfd.readouterr().out.split())
    # The results that are kept beside are not put back over what is damaged: the run is made again, or was whole.
    assert main(["run", f"results/tiny/specs/{run.parent.name}/{run.name}.yaml", "--out", str(run)]) == 0
    assert "complete already" not in capfd.readouterr().out
    assert path.name == "provenance.json" or path.read_bytes() == before
    assert main(["status", "--suite", "tiny", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["all"]["done"] == 6


def test_a_figure_is_drawn_of_the_panels_that_are_whole(suite, capfd):
    damaged(PANEL / "panel.npz", "cut")
    damaged(PANEL.with_name("linf") / "metrics.json", "binary")
    assert main(["figure", "figure1", "--suite", "tiny"]) == 0


UNFINISHED = {
    "failure.json": ["empty", "cut", "binary", "a list", "another shape"],
    "progress.json": ["empty", "binary", "a list", "another shape"],
    ".finished.json": ["empty", "cut", "binary", "a list", "another shape", "deep"],
}


@pytest.mark.parametrize(
    ("name", "damage"), [(name, damage) for name, damages in UNFINISHED.items() for damage in damages]
)
def test_what_an_unfinished_run_left_damaged_stops_nothing(suite, name, damage, capfd):
    for each in ("metrics.json", "spec.yaml", "provenance.json"):
        (BLOCK / each).unlink()
    (BLOCK / name).write_bytes(DAMAGES[damage](b'{"reason": "RunError: 0.1"}'))
    for words in (["status"], ["table", "figure2"]):
        assert main([*words, "--suite", "tiny"]) == 0
    spec = f"results/tiny/specs/figure2/{BLOCK.name}.yaml"
    assert main(["run", spec, "--out", str(BLOCK)]) == 0
    assert (BLOCK / "metrics.json").exists()


STRAYS = {
    "a spec that is hidden": ("results/tiny/specs/figure2/._a.yaml", b"\0\5\x16\7"),
    "a spec that is empty": ("results/tiny/specs/figure2/a.yaml", b""),
    "a spec that is binary": ("results/tiny/specs/figure2/a.yaml", bytes(range(256))),
    "a spec of a list": ("results/tiny/specs/figure2/a.yaml", b"[1]"),
    "a file among the experiments": ("results/tiny/specs/.DS_Store", b"\0\0\0\1Bud1"),
    "a folder of notes": ("results/tiny/specs/notes/a.txt", b"text"),
    "a file among the runs": ("results/tiny/figure2/notes.txt", b"text"),
    "a reference that is empty": ("results/reference/tiny/figure2.csv", b""),
    "a reference that is binary": ("results/reference/tiny/figure2.csv", bytes(range(256))),
    "a reference of other columns": ("results/reference/tiny/figure2.csv", b"a,b\n1,2\n"),
    "a reference that is cut": (
        "results/reference/tiny/figure2.csv",
        b"run,key,value\n*,/spec/suite,tiny\nx,/met",
    ),
    "a table that is empty": ("reports/tiny/figure2.csv", b""),
    "a table that is binary": ("reports/tiny/figure2.csv", bytes(range(256))),
    "a table that is ragged": ("reports/tiny/figure2.csv", b'a,b\n1\n"2'),
    "a picture that is none": ("reports/tiny/figure2.png", b"no picture"),
    "notes that are binary": ("reports/tiny/figure2.md", bytes(range(256))),
}


@pytest.mark.parametrize("case", STRAYS)
def test_a_stray_or_damaged_file_beside_the_runs_is_told_or_passed_over(suite, case, capfd):
    name, content = STRAYS[case]
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    for words in (["report"],) if path.parts[0] == "reports" else (["status"], ["table", "figure2"]):
        found = main([*words, "--suite", "tiny"])
        error = capfd.readouterr().err
        assert "Traceback" not in error
        assert found == 0 or (found == 2 and name in error and error.count("\n") == 1), error


@pytest.mark.parametrize("gone", ["figure2.csv", "figure2.md", "figure2.png"])
def test_a_product_that_is_gone_is_told_by_the_report(suite, gone, capfd):
    (Path("reports/tiny") / gone).unlink()
    assert main(["report", "--suite", "tiny"]) == 0
    assert Path("reports/tiny/report.html").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["status", "--suite", "nowhere"], ["nowhere", "tiny"]),
        (["table", "table1", "--suite", "../tiny"], ["'../tiny' is no name of a suite"]),
        (["table", "table9", "--suite", "tiny"], ["table9", "table1"]),
        (["figure", "", "--suite", "tiny"], ["no such figure"]),
        (["report", "--suite", ""], ["'' is no name of a suite"]),
        (["keep", "nowhere"], ["nowhere"]),
        (["status", "--suite", "a\0b"], ["is no name of a suite"]),
        (["status", "--suite", "x" * 5000], ["is no name of a suite"]),
    ],
)
def test_a_suite_or_product_that_there_is_not(suite, words, told, capfd):
    try:
        found = main(words)
    except SystemExit as stop:
        found = stop.code
    assert found == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    for word in told:
        assert word in error


FOREIGN = ["notes.txt", "spec.yaml", "weights.safetensors", "metrics.json", "mesh.ply"]


@pytest.mark.parametrize("name", FOREIGN)
def test_a_folder_with_a_users_files_is_no_run_directory(suite, name, capfd):
    mine = Path("mine")
    mine.mkdir()
    (mine / name).write_text("mine")
    assert main(["run", "results/tiny/specs/figure1/l2.yaml", "--out", "mine"]) == 2
    assert f"mine: holds {name}" in capfd.readouterr().err
    assert [(path.name, path.read_text()) for path in mine.iterdir()] == [(name, "mine")]


def test_a_spec_is_not_rewritten_by_a_run_into_its_folder(suite, capfd):
    text = Path("results/tiny/specs/figure1/l2.yaml").read_text() + "# mine\n"
    Path("mine").mkdir()
    Path("mine/spec.yaml").write_text(text)
    assert main(["run", "mine/spec.yaml", "--out", "mine"]) == 2
    assert Path("mine/spec.yaml").read_text() == text
