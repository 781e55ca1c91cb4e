import json
import os
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch

from nls.cli import main
from nls.engine.checkpoint import Checkpoint, remove_checkpoints
from nls.engine.files import write_if_changed, write_json, written_whole
from nls.engine.runs import execute
from nls.engine.seeds import numpy_stream, stream_seed, torch_stream
from nls.engine.settings import RunSpec
from nls.engine.state import restore
from nls.engine.steps import require_finite
from nls.errors import Interrupted, RunError, UserError

CPU, GPU = torch.device("cpu"), torch.device("cuda")
RANDOM = {"cpu": torch.get_rng_state(), "cuda": None}


def spec(**changes):
    return RunSpec(suite="test", experiment="none", run="one", **changes)


def test_a_run_leaves_its_files_and_nothing_else(tmp_path):
    def recipe(_, run):
        run.history.append({"step": 0, "loss": 0.5})
        run.note("a fallback")
        run.save_weights({"w": torch.ones(2)})
        return {"accuracy": 0.1 + 0.2}

    execute(spec(), recipe, tmp_path)

    names = {path.name for path in tmp_path.iterdir()} - {".lock", ".finished.json"}
    assert names == {"spec.yaml", "metrics.json", "history.csv", "provenance.json", "weights.safetensors"}
    assert (tmp_path / "metrics.json").read_text() == '{\n  "accuracy": 0.30000000000000004\n}\n'
    assert (tmp_path / "history.csv").read_text() == "step,loss\n0,0.5\n"
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert provenance["notes"] == ["a fallback"]
    assert provenance["packages"]["torch"] == torch.__version__
    assert len(provenance["commit"].removesuffix("+changes")) == 40


def test_a_complete_run_is_not_done_again_and_another_spec_is_refused(tmp_path):
    execute(spec(), lambda *_: {"a": 1}, tmp_path)
    execute(spec(), lambda *_: pytest.fail("ran again"), tmp_path)
    with pytest.raises(UserError, match="holds another run"):
        execute(spec(threads=2), lambda *_: {"a": 2}, tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"a": 1}


def test_a_run_of_a_version_without_a_key_is_not_done_again_while_the_key_is_off(tmp_path):
    class Later(RunSpec):
        calibrate: bool = False

    execute(spec(), lambda *_: {"a": 1}, tmp_path)
    execute(Later(**spec().model_dump()), lambda *_: pytest.fail("ran again"), tmp_path)
    with pytest.raises(UserError, match="holds another run"):
        execute(Later(**spec().model_dump(), calibrate=True), lambda *_: {"a": 2}, tmp_path)


def test_results_that_were_deleted_after_the_end_are_put_back(tmp_path):
    declared = ["spec.yaml", "metrics.json", "history.csv", "provenance.json"]
    execute(spec(), lambda *_: {"a": 1}, tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in declared}
    for name in declared:
        (tmp_path / name).unlink()
    execute(spec(), lambda *_: pytest.fail("ran again"), tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in declared} == before


@pytest.mark.parametrize("deleted", [["metrics.json"], []])
def test_what_a_kill_left_half_written_goes_also_when_the_results_are_there_already(tmp_path, deleted):
    execute(spec(), lambda *_: {"a": 1}, tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    (tmp_path / ".partial.spec.yaml.abcd.yaml").write_text("suite: te")
    for name in deleted:
        (tmp_path / name).unlink()
    execute(spec(), lambda *_: pytest.fail("ran again"), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == before


def test_results_of_another_spec_or_source_or_input_are_not_put_back(tmp_path, monkeypatch):
    class Reader(RunSpec):
        def files_read(self):
            return ["loss.py"]

    def value(number, **changes):
        (tmp_path / "run" / "metrics.json").unlink(missing_ok=True)
        settings = {"suite": "test", "experiment": "none", "run": "one"} | changes
        execute(Reader(**settings), lambda *_: {"a": number}, tmp_path / "run")
        return json.loads((tmp_path / "run" / "metrics.json").read_text())["a"]

    monkeypatch.chdir(tmp_path)
    (tmp_path / "loss.py").write_text("one")
    assert value(1) == 1
    assert value(2) == 1
    (tmp_path / "loss.py").write_text("two")
    assert value(3) == 3
    assert value(4, threads=2) == 4
    monkeypatch.setattr("nls.engine.runs.source_fingerprint", lambda: "edited")
    assert value(5, threads=2) == 5


def test_results_are_not_put_back_over_what_another_run_left(tmp_path):
    execute(spec(), lambda *_: {"a": 1}, tmp_path)
    (tmp_path / "metrics.json").unlink()
    with pytest.raises(ZeroDivisionError):
        execute(spec(threads=2), lambda *_: 1 / 0, tmp_path)
    execute(spec(), lambda *_: {"a": 3}, tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"a": 3}


def test_a_checkpoint_of_another_source_is_used_and_told(tmp_path, monkeypatch):
    with pytest.raises(Interrupted):
        execute(spec(), counting(20, stop_at=11), tmp_path)
    monkeypatch.setattr("nls.engine.runs.source_fingerprint", lambda: "edited")
    execute(spec(), counting(20), tmp_path)
    (note,) = json.loads((tmp_path / "provenance.json").read_text())["notes"]
    assert "source of nls was another one" in note


def test_a_loss_that_is_not_finite_stops_with_step_and_seed(tmp_path):
    def recipe(_, run):
        require_finite(torch.tensor(float("nan")), step=7, seed=3)

    with pytest.raises(RunError, match="step 7, seed 3"):
        execute(spec(), recipe, tmp_path)
    assert not (tmp_path / "metrics.json").exists()
    assert "step 7, seed 3" in json.loads((tmp_path / "failure.json").read_text())["reason"]

    execute(spec(), lambda *_: {"a": 1}, tmp_path)
    assert not (tmp_path / "failure.json").exists()


def counting(total, stop_at=None, number=signal.SIGTERM):
    """A recipe that adds random numbers and sends itself a signal at a step."""

    def recipe(_, run):
        saved = run.resume() or {"step": 0, "sum": torch.zeros(())}
        total_sum = saved["sum"]
        for step in range(saved["step"], total):
            run.save_if_due(lambda step=step, value=total_sum: {"step": step, "sum": value})
            total_sum = total_sum + torch.rand(())
            run.history.append({"step": step})
            if step == stop_at:
                os.kill(os.getpid(), number)
        return {"sum": total_sum.item()}

    return recipe


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP])
def test_a_signal_writes_a_checkpoint_and_the_run_ends_with_the_same_bytes(tmp_path, number):
    torch.manual_seed(0)
    execute(spec(), counting(20), tmp_path / "whole")
    torch.manual_seed(0)
    with pytest.raises(Interrupted):
        execute(spec(), counting(20, stop_at=11, number=number), tmp_path / "stopped")
    assert not (tmp_path / "stopped/metrics.json").exists()
    torch.manual_seed(99)
    execute(spec(), counting(20), tmp_path / "stopped")
    for name in ("metrics.json", "history.csv"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list((tmp_path / "stopped").glob("checkpoint*"))
    assert json.loads((tmp_path / "stopped/provenance.json").read_text())["interruptions"] == 1


def test_what_is_written_can_be_read_by_others(tmp_path):
    write_json(tmp_path / "a", {})
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_a_truncated_checkpoint_gives_way_to_the_one_before_and_says_so(tmp_path):
    notes = []
    checkpoint = Checkpoint(tmp_path, "me", 0.0, notes.append, CPU)
    for step in (1, 2):
        checkpoint.save_if_due(lambda step=step: {"step": step})
    assert checkpoint.load() == {"step": 2}
    content = checkpoint.newest.read_bytes()
    checkpoint.newest.write_bytes(content[: len(content) // 2])
    assert checkpoint.load() == {"step": 1}
    assert "checkpoint.pt cannot be read" in notes[0]


@pytest.fixture
def gpus(monkeypatch):
    """The random states of made-up GPUs, of which a run uses the first, as torch gives and takes them."""
    states = [torch.full((16,), number, dtype=torch.uint8) for number in range(4)]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_rng_state", lambda device: states[device.index or 0].clone())

    def put_back(state, device):
        states[device.index or 0] = state

    monkeypatch.setattr("torch.cuda.set_rng_state", put_back)
    return states


def test_a_run_goes_on_where_fewer_gpus_are_seen(tmp_path, gpus):
    Checkpoint(tmp_path, "me", 0.0, print, GPU).save_if_due(lambda: {"step": 1})
    gpus[:] = [torch.full((16,), 9, dtype=torch.uint8)]
    assert Checkpoint(tmp_path, "me", 0.0, print, GPU).load() == {"step": 1}
    assert [state.tolist() for state in gpus] == [[0] * 16]


def test_a_run_on_the_cpu_keeps_no_state_of_a_gpu(tmp_path, gpus):
    Checkpoint(tmp_path, "me", 0.0, print, CPU).save_if_due(lambda: {"step": 1})
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["random"]["cuda"] is None
    del gpus[:]
    assert Checkpoint(tmp_path, "me", 0.0, print, CPU).load() == {"step": 1}


@pytest.mark.parametrize("device", [CPU, GPU])
def test_a_checkpoint_that_holds_the_states_of_all_gpus_is_told_and_not_read(tmp_path, gpus, device):
    """Earlier versions wrote such ones."""
    random, notes = {"cpu": torch.get_rng_state(), "cuda": [state.clone() for state in gpus]}, []
    torch.save({"identity": "me", "random": random, "state": {"step": 1}}, tmp_path / "checkpoint.pt")
    gpus[:] = [torch.full((16,), 9, dtype=torch.uint8)]
    assert Checkpoint(tmp_path, "me", 0.0, notes.append, device).load() is None
    assert "it is no checkpoint of nls" in notes[0]
    assert [state.tolist() for state in gpus] == [[9] * 16]


def test_a_checkpoint_of_other_settings_is_set_aside_and_found_again(tmp_path):
    notes = []

    def checkpoint(identity):
        return Checkpoint(tmp_path, identity, 0.0, notes.append, CPU)

    for step in (1, 2):
        checkpoint("me").save_if_due(lambda step=step: {"step": step})
    assert checkpoint("you").load() is None
    assert "other settings" in notes[0]
    checkpoint("you").save_if_due(lambda: {"step": 7})
    assert checkpoint("me").load() == {"step": 2}
    remove_checkpoints(tmp_path, "me")
    assert checkpoint("me").load() is None
    assert checkpoint("you").load() == {"step": 7}


def test_a_state_that_could_not_be_read_again_is_told_at_the_first_checkpoint(tmp_path):
    checkpoint = Checkpoint(tmp_path, "me", 0.0, print, CPU)
    with pytest.raises(UserError, match="more than tensors, numbers"):
        checkpoint.save_if_due(lambda: {"mean": np.ones(3)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        [1],
        {},
        {"identity": "me", "random": {}, "state": {}},
        {"identity": "me", "random": RANDOM, "state": 1},
        {"identity": 3, "random": RANDOM, "state": {}},
        {"identity": "../me", "random": RANDOM, "state": {}},
    ],
)
def test_a_file_that_is_no_checkpoint_is_told(tmp_path, content):
    notes = []
    torch.save(content, tmp_path / "checkpoint.pt")
    assert Checkpoint(tmp_path, "me", 0.0, notes.append, CPU).load() is None
    assert "it is no checkpoint of nls" in notes[0]


def test_a_checkpoint_of_a_version_that_kept_less_is_told_and_the_run_starts_anew(tmp_path, capsys):
    torch.manual_seed(0)
    execute(spec(), counting(20), tmp_path / "whole")
    with pytest.raises(Interrupted):
        execute(spec(), counting(20, stop_at=11), tmp_path / "stopped")
    path = tmp_path / "stopped" / "checkpoint.pt"
    content = torch.load(path, weights_only=True)
    del content["state"]["timings"]
    torch.save(content, path)
    torch.manual_seed(0)
    execute(spec(), counting(20), tmp_path / "stopped")
    assert "checkpoint.pt cannot be read (it is no checkpoint of nls)" in capsys.readouterr().out
    results = [(tmp_path / name / "metrics.json").read_bytes() for name in ("whole", "stopped")]
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "change", [{"device": "cpu"}, {"checkpoint_minutes": 1.0}, {"data_root": "elsewhere"}]
)
def test_where_a_run_is_carried_out_is_not_its_identity(tmp_path, change):
    assert spec().identity() == spec(**change).identity()
    assert spec().identity() != spec(threads=2).identity()
    with pytest.raises(Interrupted):
        execute(spec(), counting(20, stop_at=11), tmp_path)
    execute(spec(**change), counting(20), tmp_path)
    assert json.loads((tmp_path / "provenance.json").read_text())["interruptions"] == 1
    execute(spec(), lambda *_: pytest.fail("ran again"), tmp_path)


@pytest.mark.parametrize("name", ["weights.safetensors", "history.csv", "metrics.json"])
def test_a_damaged_run_is_put_back_or_run_again(tmp_path, name, capsys):
    def recipe(_, run):
        run.save_weights({"w": torch.ones(2)})
        return {"a": 1}

    execute(spec(), recipe, tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:-1] + b"!")
    execute(spec(), recipe, tmp_path)
    told = (
        "running it again"
        if name == "weights.safetensors"
        else "the run had finished; its results are put back"
    )
    assert f"{name} is damaged\n{tmp_path}: {told}" in capsys.readouterr().out
    assert (tmp_path / name).read_bytes() == whole
    for path in tmp_path.glob("[!.]*"):  # rm run/*
        path.unlink()
    execute(spec(), recipe, tmp_path)
    assert f"weights.safetensors is missing\n{tmp_path}: running it again\n" in capsys.readouterr().out
    assert (tmp_path / name).read_bytes() == whole


def test_a_second_process_waits_and_finds_the_run_complete(tmp_path):
    code = (
        "from nls.engine.runs import execute; from nls.engine.settings import RunSpec; from pathlib import Path;"
        f"execute(RunSpec(suite='test', experiment='none', run='one'), None, Path({str(tmp_path)!r}))"
    )
    others = []

    def recipe(*_):
        others.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True))
        assert "another process is at work" in others[0].stdout.readline()
        return {"a": 1}

    execute(spec(), recipe, tmp_path)
    assert "complete already" in others[0].communicate(timeout=60)[0]
    assert others[0].returncode == 0


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})

    def write_half():
        with written_whole(path) as temporary:
            temporary.write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_half()
    assert json.loads(path.read_text()) == {"x": 1}
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, float("nan"))


def test_an_unchanged_file_keeps_its_time(tmp_path):
    path = tmp_path / "a"
    write_if_changed(path, "x")
    os.utime(path, (1, 1))
    write_if_changed(path, "x")
    assert path.stat().st_mtime == 1
    write_if_changed(path, "y")
    assert path.read_text() == "y"


def test_streams_are_repeatable_and_independent():
    assert stream_seed(1, "a") == stream_seed(1, "a") != stream_seed(1, "b")
    assert torch.equal(
        torch.rand(3, generator=torch_stream(1, "a")), torch.rand(3, generator=torch_stream(1, "a"))
    )
    assert numpy_stream(1, "a").random() != numpy_stream(2, "a").random()


def test_a_missing_gpu_is_one_line_and_costs_no_result(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    execute(spec(), lambda *_: {"a": 1}, tmp_path)
    (tmp_path / "history.csv").unlink()
    (tmp_path / ".finished.json").write_text("{}")
    with pytest.raises(UserError, match="device cuda"):
        execute(spec(device="cuda"), lambda *_: {}, tmp_path)
    assert "device cuda" in json.loads((tmp_path / "failure.json").read_text())["reason"]
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"a": 1}


def test_why_a_run_failed_is_forgotten_once_it_is_complete(tmp_path):
    execute(spec(), lambda *_: {"a": 1}, tmp_path)
    (tmp_path / "failure.json").write_text('{"reason": "UserError: device cuda"}')
    execute(spec(), lambda *_: pytest.fail("ran again"), tmp_path)
    assert not (tmp_path / "failure.json").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("experiment: figure9\n", "'figure9' is not allowed: take one of figure1, figure2"),
        ("experiment: [\n", "not YAML (line 2: "),
        ("suite: s\nsuite: t\n", "line 2: the key 'suite' is given twice"),
        ("experiment: figure1\nsuite: s\nrun: r\npanel: l3\ntraining: {}\n", "panel: 'l3' is not allowed"),
    ],
)
def test_a_bad_spec_is_told_in_one_line_and_ends_with_2(tmp_path, capsys, text, words):
    (tmp_path / "spec.yaml").write_text(text)
    assert main(["run", str(tmp_path / "spec.yaml"), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_run_begun_on_another_device_goes_on_and_says_so(tmp_path):
    """A generator there has a state of another size: it is not put back."""

    def recipe(_, run, there=False):
        draws = torch.Generator().manual_seed(5)
        run.device = torch.device("cuda" if there else "cpu")
        saved = run.resume() or {"step": 0, "parts": None}
        if saved["parts"] is not None:
            restore({"draws": draws}, saved["parts"])
        for step in range(saved["step"], 4):
            state = {"step": step, "parts": {"draws": torch.zeros(16, dtype=torch.uint8)}}
            run.save_if_due(lambda state=state: state)
            if there and step == 2:
                os.kill(os.getpid(), signal.SIGTERM)
        return {"drawn": torch.rand((), generator=draws).item()}

    with pytest.raises(Interrupted):
        execute(spec(), partial(recipe, there=True), tmp_path)
    execute(spec(), recipe, tmp_path)
    expected = torch.rand((), generator=torch.Generator().manual_seed(5)).item()
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"drawn": expected}
    (note,) = json.loads((tmp_path / "provenance.json").read_text())["notes"]
    assert note == "begun on cuda, continued on cpu with other random numbers"
