"""What clusters and disks do to runs, one fault at a time; every run ends as if it had not been disturbed."""

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from processes import Watched, at_work_in, run_to_end, with_jumping_clock
from workspace import REPOSITORY, Workspace, make_workspace, read, results_of

pytestmark = pytest.mark.workflow
TRAINED = "table1/digits-convnet-small-mma"
PANEL = "figure1/cross_entropy"
SVM = "figure2/digits-0.1-geometric_svm-seeds000-001"
SVM_METRICS = f"results/faults/{SVM}/metrics.json"
HINGE = "figure2/digits-0.1-hinge-seeds000-001"
Undisturbed = dict[str, dict[str, str]]


def interrupt(workspace: Workspace, run: str, out: Path, number: int = signal.SIGTERM) -> Watched:
    """Start a run and send a signal once it has trained a little."""
    victim = Watched(workspace.verb(run, out), workspace.folder, out.parent / "log")
    assert victim.wait_for("training")
    while not (out / "checkpoint.previous.pt").exists():
        assert victim.process.is_alive()
        time.sleep(0.01)
    assert victim.process.pid is not None
    os.kill(victim.process.pid, number)
    return victim


def finish(workspace: Workspace, run: str, out: Path) -> str:
    """Start a run again, to its end; return what it printed."""
    log = out.parent / "log"
    assert run_to_end(workspace.verb(run, out), workspace.folder, log) == 0, log.read_text()
    return log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_leaves_a_checkpoint_within_ten_seconds(
    workspace: Workspace, undisturbed: Undisturbed, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "run"
    victim = interrupt(workspace, TRAINED, out, number)
    assert victim.end(10) == 128 + number
    assert f"stopped by {number.name}; the checkpoint is written" in (tmp_path / "log").read_text()
    assert not (out / "metrics.json").exists()
    assert not (out / "failure.json").exists()
    assert "resuming after" in finish(workspace, TRAINED, out)
    assert results_of(out) == undisturbed[TRAINED]
    assert json.loads((out / "provenance.json").read_text())["interruptions"] == 1


@pytest.mark.parametrize("damage", ["truncated", "empty", "one wrong byte"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    workspace: Workspace, undisturbed: Undisturbed, tmp_path: Path, damage: str
) -> None:
    out = tmp_path / "run"
    interrupt(workspace, PANEL, out).end()
    content = bytearray((out / "checkpoint.pt").read_bytes())
    if damage == "one wrong byte":
        content[len(content) // 2] ^= 1
    else:
        del content[len(content) // 2 if damage == "truncated" else 0 :]
    (out / "checkpoint.pt").write_bytes(content)
    printed = finish(workspace, PANEL, out)
    assert re.search(r"note: checkpoint checkpoint.pt cannot be read \(.+\); taking the one before", printed)
    assert "resuming after" in printed
    assert results_of(out) == undisturbed[PANEL]
    notes = json.loads((out / "provenance.json").read_text())["notes"]
    assert any("cannot be read" in note for note in notes)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"a disk that can be filled needs root: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_while_writing_results_is_told_and_loses_nothing(
    workspace: Workspace, undisturbed: Undisturbed, small_disk: Path, tmp_path: Path
) -> None:
    out, log = small_disk / "run", tmp_path / "log"
    filler = small_disk / "filler"
    filler.write_bytes(bytes(600 << 10))  # the checkpoints of the panel fit beside it, its arrays do not
    assert run_to_end(workspace.verb(PANEL, out), workspace.folder, log) == 1
    assert log.read_text().splitlines()[-1] == (
        "nls: No space left on device: free some space, then run the same command again"
    )
    assert not (out / "metrics.json").exists()
    assert "No space left" in json.loads((out / "failure.json").read_text())["reason"]
    assert not list(out.glob(".partial*"))
    filler.unlink()
    assert run_to_end(workspace.verb(PANEL, out), workspace.folder, log) == 0, log.read_text()
    assert "resuming after" in log.read_text()
    assert results_of(out) == undisturbed[PANEL]


def test_a_full_disk_while_writing_a_table_keeps_the_table_before(
    workspace: Workspace, undisturbed: Undisturbed, small_disk: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "suite"
    shutil.copytree(workspace.results / "specs", folder / "results" / "faults" / "specs")
    shutil.copytree(workspace.folder / "undisturbed" / SVM, folder / "results" / "faults" / SVM)
    (folder / "reports").symlink_to(small_disk)
    table, log = ["table", "figure2", "--suite", "faults"], tmp_path / "log"
    assert run_to_end(table, folder, log) == 0, log.read_text()
    before = {path.name: path.read_bytes() for path in (small_disk / "faults").iterdir()}
    with contextlib.suppress(OSError):
        (small_disk / "filler").write_bytes(bytes(2 << 20))
    assert run_to_end(table, folder, log) == 1
    assert log.read_text().splitlines()[-1].startswith("nls: No space left on device")
    assert {path.name: path.read_bytes() for path in (small_disk / "faults").iterdir()} == before


def test_a_clock_that_jumps_changes_nothing(
    workspace: Workspace, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    out, log = tmp_path / "run", tmp_path / "log"
    victim = Watched(
        functools.partial(with_jumping_clock, workspace.verb(TRAINED, out)), workspace.folder, log
    )
    assert victim.wait_for("training")
    written = set()
    while victim.phase in ("training", "writing"):
        with contextlib.suppress(FileNotFoundError):
            written.add((out / "checkpoint.pt").stat().st_mtime_ns)
        time.sleep(0.01)
    assert victim.end() == 0, log.read_text()
    assert len(written) >= 2, "checkpoints are written by the clock that does not jump"
    assert results_of(out) == undisturbed[TRAINED]
    assert 0 < json.loads((out / "provenance.json").read_text())["wall_seconds"] < 300


def complete(workspace: Workspace) -> dict[str, int]:
    """Return when each complete run's metrics were written."""
    return {
        f"{path.parent.parent.name}/{path.parent.name}": path.stat().st_mtime_ns
        for path in workspace.results.glob("*/*/metrics.json")
    }


@pytest.fixture
def here(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A workspace of the test's own, with Figure 2 and its data."""
    here = make_workspace(tmp_path / "work", ("figure2",))
    shutil.copytree(workspace.folder / "data", here.folder / "data")
    return here


@pytest.fixture
def complete_here(here: Workspace, workspace: Workspace, undisturbed: Undisturbed) -> Workspace:
    """The same, with the runs that nothing disturbed."""
    for run in (SVM, HINGE):
        shutil.copytree(workspace.folder / "undisturbed" / run, here.results / run)
    shutil.copytree(workspace.results / "specs" / "figure2", here.results / "specs" / "figure2")
    return here


def started(here: Workspace) -> tuple[subprocess.Popen[str], psutil.Process]:
    """Return a Snakemake that was asked for a run, and the process at work in that run, once it has a checkpoint."""
    snakemake = here.snakemake("--cores", "2", SVM_METRICS)
    while not (here.results / SVM / "checkpoint.pt").exists():
        assert snakemake.poll() is None, snakemake.communicate()[0]
        time.sleep(0.01)
    return snakemake, at_work_in(here.results / SVM)


def test_two_snakemakes_and_one_that_dies(undisturbed: Undisturbed, here: Workspace) -> None:
    out = here.results / SVM
    first, job = started(here)
    job.suspend()  # so that it is at work for as long as this takes
    second = here.snakemake("--cores", "2", SVM_METRICS)
    output, _ = second.communicate(timeout=120)
    assert second.returncode != 0
    assert "cannot be locked" in output
    assert "--unlock" in output

    first.kill()  # its job is left alone
    first.wait()
    held = here.snakemake("--cores", "2", SVM_METRICS)
    assert held.communicate(timeout=120)[0]
    assert held.returncode != 0, "the lock of the dead process holds"
    unlocked = here.snakemake("--unlock")
    unlocked.communicate(timeout=120)
    assert unlocked.returncode == 0
    again = here.snakemake("--cores", "2", SVM_METRICS)
    while "another process is at work in it" not in read(out / "run.log"):
        assert again.poll() is None, again.communicate()[0]
        time.sleep(0.1)
    job.resume()
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 0, output
    assert "the run is complete already" in (out / "run.log").read_text()
    assert results_of(out) == undisturbed[SVM]


def test_a_run_that_ends_after_its_snakemake_died_is_not_repeated(
    undisturbed: Undisturbed, here: Workspace
) -> None:
    out = here.results / SVM
    first, job = started(here)
    first.kill()
    first.wait()
    job.wait(120)
    assert results_of(out) == undisturbed[SVM]

    here.snakemake("--unlock").communicate(timeout=120)
    again = here.snakemake("--cores", "2", SVM_METRICS)
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 0, output
    assert "the run had finished; its results are put back" in (out / "run.log").read_text()
    assert results_of(out) == undisturbed[SVM]


def test_a_changed_config_runs_what_depends_on_it_again_and_nothing_else(complete_here: Workspace) -> None:
    here = complete_here
    before = complete(here)
    config = yaml.safe_load((here.folder / "config.yaml").read_text())
    config["experiments"]["figure2"]["datasets"]["digits"]["losses"]["geometric_svm"] = {
        "regularization": 0.2
    }
    (here.folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    output, _ = (snakemake := here.snakemake("--cores", "2", "figure2")).communicate(timeout=300)
    assert snakemake.returncode == 0, output
    after = complete(here)
    assert after[HINGE] == before[HINGE]
    assert after[SVM] != before[SVM]
    assert "0.2" in (here.results / SVM / "spec.yaml").read_text()


def test_a_clock_that_was_set_back_is_told_and_costs_no_run(
    undisturbed: Undisturbed, complete_here: Workspace
) -> None:
    here = complete_here
    tomorrow = time.time() + 86400
    for path in here.results.rglob("*"):
        os.utime(path, (tomorrow, tomorrow))
    before = complete(here)
    output, _ = (snakemake := here.snakemake("--cores", "2", "figure2")).communicate(timeout=300)
    assert snakemake.returncode != 0
    assert "clock skew" in output
    assert complete(here) == before

    remedy = re.search(r"^(find results .+)$", (REPOSITORY / "docs" / "faults.md").read_text(), re.MULTILINE)
    assert remedy is not None
    subprocess.run(remedy[1], shell=True, check=True, cwd=here.folder)
    output, _ = (snakemake := here.snakemake("--cores", "2", "figure2")).communicate(timeout=300)
    assert snakemake.returncode == 0, output
    assert "figure2_run" not in output, "no run was repeated"
    for run in (SVM, HINGE):
        assert results_of(here.results / run) == undisturbed[run]


def test_a_run_that_fails_fails_alone_and_its_cell_is_missing(
    undisturbed: Undisturbed, here: Workspace, workspace: Workspace, tmp_path: Path
) -> None:
    shutil.copytree(workspace.folder / "undisturbed" / HINGE, here.results / HINGE)
    (here.folder / "broken.py").write_text(
        "class Broken:\n    def __call__(self, network, points, labels):\n        raise ValueError('no such luck')\n"
    )
    config = yaml.safe_load((here.folder / "config.yaml").read_text())
    config["experiments"]["figure2"]["datasets"]["digits"]["losses"]["broken.py:Broken"] = {}
    (here.folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    output, _ = (snakemake := here.snakemake("--cores", "2", "figure2")).communicate(timeout=300)
    assert snakemake.returncode != 0
    assert set(complete(here)) == {SVM, HINGE}, output

    broken = "results/faults/figure2/digits-0.1-Broken-seeds000-001"
    table = (here.folder / "reports" / "faults" / "figure2.md").read_text()
    assert f"missing: {Path(broken).name} (ValueError: no such luck; log: {broken}/run.log)" in table
    assert "no such luck" in (here.folder / broken / "run.log").read_text()
    rows = [line for line in table.splitlines() if line.startswith("|") and "Broken" in line]
    assert not any(re.search(r"\| 0(\.0+)? \|", row) for row in rows), rows
    log = tmp_path / "log"
    assert run_to_end(["status", "--suite", "faults"], here.folder, log) == 0
    assert re.search(r"figure2 +2 +0 +1 +0 +0 +3 ", log.read_text()), log.read_text()
