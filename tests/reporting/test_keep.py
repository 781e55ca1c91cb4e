"""Runs filed as the reference: what is written, what is read back, and what is refused."""

import json
import shutil

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from made_up import finish

from nls.cli import main
from nls.engine.finished import sealed
from nls.reporting import figure2
from nls.reporting.kept_runs import kept_file, kept_text, read_kept
from nls.reporting.runs import Evidence

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=6)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    SCALARS | WORDS | st.sampled_from(["1e3", "true", "000", "*", '"a"', " 1", "{}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
RUNS = st.dictionaries(
    st.from_regex(r"[a-z0-9][a-z0-9._-]{0,6}", fullmatch=True),
    st.fixed_dictionaries(
        {
            "spec_hash": st.text("0123456789abcdef", min_size=1, max_size=8),
            "spec": st.dictionaries(NAMES, VALUES, max_size=3),
            "metrics": st.dictionaries(NAMES, VALUES, max_size=3),
            "provenance": st.dictionaries(NAMES, VALUES, max_size=3),
        }
    ),
    min_size=1,
    max_size=3,
)


@given(RUNS)
def test_runs_are_read_back_as_they_were_written(tmp_path_factory, runs):
    path = tmp_path_factory.mktemp("kept") / "experiment.csv"
    path.write_text(kept_text(runs), encoding="utf-8", newline="")
    assert read_kept(path) == runs


def test_a_figure_over_ten_thousand_seeds_is_read_back(tmp_path):
    accuracies = [k / 60 for k in range(10_000)]
    runs = {"a": {"spec_hash": "a", "spec": {}, "metrics": {"accuracy": accuracies}, "provenance": {}}}
    (tmp_path / "figure2.csv").write_text(kept_text(runs))
    assert read_kept(tmp_path / "figure2.csv") == runs


def test_a_changed_figure_is_one_changed_line():
    runs = {
        name: {"spec_hash": name, "spec": {"row": {"method": "ours"}}, "metrics": {"clean": 0.9, "min": 0.5}}
        for name in ("a", "b")
    }
    before = kept_text(runs).splitlines()
    assert "*,/spec/row/method,ours" in before
    runs["b"]["metrics"]["min"] = 0.25
    after = kept_text(runs).splitlines()
    assert set(after) - set(before) == {"a,/metrics/min,0.5", "b,/metrics/min,0.25"}
    runs["b"]["metrics"]["min"] = 0.125
    assert set(kept_text(runs).splitlines()) - set(after) == {"b,/metrics/min,0.125"}


def spec(run, seeds=(0, 1)):
    return {
        "suite": "s",
        "experiment": "figure2",
        "run": run,
        "dataset": "digits",
        "fraction": 0.1,
        "name": run,
        "loss": run,
        "seeds": list(seeds),
        "evaluate_on": "test",
        "training": {"steps": 8, "batch_size": 64, "learning_rate": 0.001},
    }


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """A suite of two losses, of which one run is there."""
    monkeypatch.chdir(tmp_path)
    ask(spec("hinge"), spec("cross_entropy"))
    run(spec("hinge"), 0.8)
    return tmp_path


def ask(*specs):
    for one in specs:
        path = Evidence("s").results / "s/specs/figure2" / f"{one['run']}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(one))


def run(one, accuracy, commit="1" * 40):
    directory = Evidence("s").results / "s/figure2" / one["run"]
    metrics = {
        "seeds": one["seeds"],
        "accuracy": [accuracy] * len(one["seeds"]),
        "collapsed": [0] * len(one["seeds"]),
        "fallback_share": [0.0] * len(one["seeds"]),
        "training_images": 10,
    }
    finish(directory, one, metrics, history_csv="seed,step,loss\n")
    provenance = json.loads((directory / "provenance.json").read_text()) | {"commit": commit}
    provenance.pop("checksum")
    (directory / "provenance.json").write_text(sealed(provenance))


def kept():
    return read_kept(kept_file(Evidence("s").results, "s", "figure2"))


def test_what_is_complete_is_kept_and_shown_beside_this_machines_runs(suite, capsys):
    assert main(["keep", "s"]) == 0
    told = capsys.readouterr().out
    assert "figure2.csv: 1 of 2 runs of figure2" in told
    assert "1 not there yet, first cross_entropy" in told
    (reference,) = Evidence("s").reference("figure2")
    (here,) = Evidence("s").complete("figure2")
    assert (reference.spec, reference.metrics) == (here.spec, here.metrics)
    assert reference.provenance["commit"] == "1" * 40
    assert "files" not in reference.provenance
    assert main(["table", "figure2", "--suite", "s"]) == 0
    assert "reference" in (suite / "reports/s/figure2.md").read_text()


def test_a_figure_draws_the_reference_only_where_no_run_is_there(suite):
    def panel():
        (axis,) = figure2.figure(Evidence("s")).axes
        return axis.get_title(), [line.get_ydata().tolist() for line in axis.lines]

    assert main(["keep", "s"]) == 0
    run(spec("hinge"), 0.7)
    assert panel() == ("digits, 2 seeds", [[pytest.approx(70)]])
    (suite / "results/s/figure2/hinge/metrics.json").unlink()
    assert panel() == ("digits, 2 seeds, reference", [[pytest.approx(80)]])


def test_a_clone_without_runs_shows_the_reference(suite, capsys):
    assert main(["keep", "s"]) == 0
    shutil.rmtree(suite / "results/s")
    assert main(["table", "figure2", "--suite", "s"]) == 0
    assert main(["figure", "figure2", "--suite", "s"]) == 0
    assert "80" in (suite / "reports/s/figure2.csv").read_text()
    capsys.readouterr()
    assert main(["table", "figure2", "--suite", "z"]) == 2
    assert "there is s;" in capsys.readouterr().err
    assert main(["status", "--suite", "s"]) == 2


def test_what_was_kept_before_stays_as_long_as_its_settings_do(suite, capsys):
    assert main(["keep", "s"]) == 0
    run(spec("cross_entropy"), 0.7)
    (suite / "results/s/figure2/hinge/metrics.json").unlink()
    assert main(["keep", "s"]) == 0
    assert list(kept()) == ["cross_entropy", "hinge"]
    ask(spec("hinge", seeds=(0, 1, 2)))
    assert main(["keep", "s"]) == 0
    assert list(kept()) == ["cross_entropy"]
    assert "1 of other settings left out, first hinge" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("commit", "told"), [("1" * 40 + "+changes", "from changed files"), (None, "outside of a git checkout")]
)
def test_a_run_that_no_commit_made_is_refused_and_nothing_is_written(suite, capsys, commit, told):
    run(spec("cross_entropy"), 0.7, commit)
    assert main(["keep", "s"]) == 2
    assert told in capsys.readouterr().err
    assert not kept()


def test_a_suite_without_complete_runs_is_refused(suite, capsys):
    (suite / "results/s/figure2/hinge/metrics.json").unlink()
    assert main(["keep", "s"]) == 2
    assert "no complete run to keep" in capsys.readouterr().err
