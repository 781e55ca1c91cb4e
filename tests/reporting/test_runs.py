"""What counts as a complete run: made with the suite's own settings, and whole."""

import shutil

import pytest
import yaml
from made_up import as_reference, finish

from nls.cli import main
from nls.errors import UserError
from nls.reporting.runs import Evidence, missing_notes

SPEC = {
    "suite": "s",
    "experiment": "figure2",
    "run": "digits-0.1-hinge-seeds000-001",
    "device": "auto",
    "threads": 1,
    "data_root": "data",
    "checkpoint_minutes": 5.0,
    "dataset": "digits",
    "fraction": 0.1,
    "name": "hinge",
    "loss": "hinge",
    "loss_settings": {"regularization": 0.05},
    "seeds": [0, 1],
    "evaluate_on": "test",
    "training": {"steps": 8, "batch_size": 64, "learning_rate": 0.001},
}
METRICS = {
    "seeds": [0, 1],
    "accuracy": [0.8, 0.9],
    "collapsed": [0, 0],
    "fallback_share": [0.0, 0.0],
    "training_images": 10,
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A suite of one complete run."""
    monkeypatch.chdir(tmp_path)
    ask(tmp_path, SPEC)
    finish(run_of(tmp_path), SPEC, METRICS, history_csv="seed,step,loss\n")
    return tmp_path


def run_of(folder):
    return folder / "results" / "s" / "figure2" / SPEC["run"]


def ask(folder, spec):
    path = folder / "results" / "s" / "specs" / "figure2" / f"{spec['run']}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(spec))


def missing_because():
    (record,) = Evidence("s").here("figure2")
    return record.missing_because


def test_a_run_of_the_suites_spec_is_complete(folder):
    assert missing_because() is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"loss_settings": {"regularization": 0.5}}, "loss_settings.regularization 0.05, not 0.5"),
        ({"loss": "cross_entropy"}, "loss hinge, not cross_entropy"),
        ({"training": SPEC["training"] | {"steps": 9}}, "training.steps 8, not 9"),
        ({"threads": 2}, "threads 1, not 2"),
        ({"further": 1}, "further None, not 1"),
    ],
)
def test_a_run_made_with_other_settings_is_missing_and_says_which(folder, change, told):
    ask(folder, SPEC | change)
    assert told in missing_because()
    assert main(["table", "figure2", "--suite", "s"]) == 0
    text = (folder / "reports/s/figure2.md").read_text()
    assert told in text
    assert "85" not in text


def test_a_reference_made_with_other_settings_is_shown_and_says_so(folder):
    kept = folder / "results/reference/s/figure2"
    kept.mkdir(parents=True)
    shutil.copytree(run_of(folder), kept / SPEC["run"])
    as_reference(folder / "results", "s", "figure2")
    assert Evidence("s").outdated("figure2") == []
    ask(folder, SPEC | {"loss": "cross_entropy"})
    assert main(["table", "figure2", "--suite", "s"]) == 0
    text = (folder / "reports/s/figure2.md").read_text()
    assert "reference: 1 of 1 runs of figure2 were made with other settings" in text
    assert f"{SPEC['run']}: loss hinge, not cross_entropy" in text
    assert "85" in text


def test_the_files_of_a_run_are_compared_with_their_checksums_once(folder, monkeypatch):
    looked_at = []
    monkeypatch.setattr("nls.reporting.runs.require_whole", looked_at.append)
    evidence = Evidence("s")
    assert len(evidence.complete("figure2")) == len(evidence.here("figure2")) == 1
    assert evidence.missing("figure2") == []
    assert looked_at == [run_of(folder).relative_to(folder)]


@pytest.mark.parametrize(
    "change", [{"device": "cpu"}, {"checkpoint_minutes": 1.0}, {"data_root": "/elsewhere"}]
)
def test_where_a_run_was_carried_out_does_not_matter(folder, change):
    ask(folder, SPEC | change)
    assert missing_because() is None


@pytest.mark.parametrize("name", ["metrics.json", "provenance.json", "spec.yaml", "history.csv"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\x00", b"[1]", b'{"a": {}}', None])
def test_a_damaged_run_is_a_missing_cell_that_names_the_file(folder, name, content, capfd):
    path = run_of(folder) / name
    path.unlink() if content is None else path.write_bytes(content)
    if name != "metrics.json" or content is not None:
        assert name in missing_because()
    assert main(["table", "figure2", "--suite", "s"]) == 0
    assert main(["figure", "figure2", "--suite", "s"]) == 0
    assert main(["report", "--suite", "s"]) == 0
    assert main(["status", "--suite", "s"]) == 0
    assert f"missing: {SPEC['run']}" in (folder / "reports/s/figure2.md").read_text()
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("name", ["failure.json", "progress.json"])
@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"phase": 3}'])
def test_damaged_signs_of_life_are_told(folder, name, content, capfd):
    (run_of(folder) / "metrics.json").unlink()
    (run_of(folder) / name).write_bytes(content)
    assert main(["status", "--suite", "s"]) == 0
    assert main(["table", "figure2", "--suite", "s"]) == 0
    assert "Traceback" not in capfd.readouterr().err


def test_stray_and_damaged_specs_leave_the_rest(folder):
    specs = folder / "results/s/specs/figure2"
    (specs / "._a.yaml").write_bytes(b"\x00\x05\x16")
    assert missing_because() is None
    (specs / "damaged.yaml").write_bytes(b"{")
    found = {record.directory.name: record.missing_because for record in Evidence("s").here("figure2")}
    assert found[SPEC["run"]] is None
    assert "damaged.yaml" in found["damaged"]


def test_a_damaged_table_is_told_on_the_report(folder):
    for name in ("table", "report"):
        assert main([name, *(["figure2"] if name == "table" else []), "--suite", "s"]) == 0
    for ending, content in ((".md", None), (".csv", b"a\n1,2\n1,2,3\n"), (".csv", b"\xff\xfe\x00")):
        main(["table", "figure2", "--suite", "s"])
        path = folder / f"reports/s/figure2{ending}"
        path.unlink() if content is None else path.write_bytes(content)
        assert main(["report", "--suite", "s"]) == 0
        assert "cannot be read" in (folder / "reports/s/report.html").read_text()


def test_runs_that_have_not_begun_share_a_line_and_one_that_failed_has_its_own(folder):
    for number in range(4):
        ask(folder, SPEC | {"run": f"later-{number}"})
    failed = folder / "results/s/figure2/later-2"
    failed.mkdir(parents=True)
    (failed / "failure.json").write_text('{"reason": "ValueError: no such luck"}')
    for name, told in (("later-0", ""), ("later-3", "training: 1/7\n")):
        (folder / "results/s/figure2" / name).mkdir()
        (folder / "results/s/figure2" / name / "run.log").write_text(told)
    assert missing_notes(Evidence("s").missing("figure2")) == [
        "missing: later-2 (ValueError: no such luck; log: results/s/figure2/later-2/run.log)",
        "missing: later-3 (stopped before its end; log: results/s/figure2/later-3/run.log)",
        "missing: later-0, later-1 (not run)",
    ]


@pytest.mark.parametrize(
    ("suite", "told"),
    [
        ("small.yaml", "take the name that stands after suite: in the file, such as small"),
        ("smal", "no such suite; there is small; did you mean 'small'?"),
        ("other", "run snakemake --configfile config/other.yaml"),
        ("none", "run snakemake --configfile FILE.yaml with the file that names it"),
    ],
)
def test_a_suite_that_is_not_there_ends_in_a_next_step_that_can_be_taken(tmp_path, monkeypatch, suite, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/small/specs").mkdir(parents=True)
    (tmp_path / "config").mkdir()
    (tmp_path / "config/other.yaml").touch()
    with pytest.raises(UserError) as raised:
        Evidence(suite).require_suite()
    assert str(raised.value).endswith(told)


def test_a_product_of_an_experiment_that_the_suite_lacks_is_refused(folder, capsys):
    for verb, name in (("table", "table2"), ("figure", "table1-eps")):
        assert main([verb, name, "--suite", "s"]) == 2
        assert capsys.readouterr().err == f"nls: the suite s has no {name}; it has figure2\n"
    assert not list(folder.glob("reports/s/table*"))
    (folder / "results/reference/s").mkdir(parents=True)
    (folder / "results/reference/s/table2.csv").touch()
    Evidence("s").require_experiments("table2", ("table2",))
