"""A suite on a real SLURM cluster of one node: jobs share allocations, and those that are killed are resumed."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from processes import run_to_end
from workspace import REPOSITORY, Workspace, make_workspace, results_of

from nls.experiments import RECIPES, load_suite

HERE = Path(__file__).parent
SECONDS = 600
CANNOT = 3  # what start_cluster.sh ends with where a cluster cannot be installed


@pytest.fixture(scope="module")
def cluster() -> None:
    """Start a cluster where there is none; skip, and say why, where that cannot be."""
    started = subprocess.run([HERE / "start_cluster.sh"], capture_output=True, text=True)
    if started.returncode == CANNOT:
        pytest.skip(started.stderr.strip().splitlines()[-1])
    assert started.returncode == 0, started.stderr


@pytest.mark.workflow
def test_a_cancelled_job_and_one_out_of_time_end_as_undisturbed(
    cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(tmp_path / "work", config=HERE / "slurm.yaml")
    shutil.copy(HERE / "paced.py", workspace.folder)
    undisturbed = _undisturbed(workspace, tmp_path / "undisturbed", monkeypatch)
    results = workspace.folder / "results" / "slurm"
    pair = [run for run in undisturbed if run.startswith("figure2/")]

    def at(file: str) -> list[str]:
        return [run for run in pair if (results / run / file).exists()]

    monkeypatch.setenv("NLS_TEST_PAUSE", "0.2")
    began = time.monotonic()
    snakemake = _submit(workspace)
    try:
        _until(lambda: bool(at("metrics.json") and at("checkpoint.pt")))
        (finished,), (unfinished,) = at("metrics.json"), at("checkpoint.pt")
        cancelled = _running("figure2")
        subprocess.run(["scancel", cancelled], check=True)
        _until(lambda: "resuming after" in _read(results / unfinished / "run.log"))
        out_of_time = _running("figure2")
        subprocess.run(["scontrol", "update", f"JobId={out_of_time}", "TimeLimit=1"], check=True)
        output, _ = snakemake.communicate(timeout=SECONDS)
    finally:
        snakemake.kill()
    assert snakemake.returncode == 0, output

    for run, expected in undisturbed.items():
        assert results_of(results / run) == expected, run
    interruptions = {
        run: json.loads((results / run / "provenance.json").read_text())["interruptions"]
        for run in undisturbed
    }
    assert interruptions == dict.fromkeys(undisturbed, 0) | {unfinished: 2}
    assert "its results are put back" in _read(results / finished / "run.log")
    assert _state(cancelled) == "CANCELLED"
    assert _state(out_of_time) in ("FAILED", "TIMEOUT")  # it ended well before the limit, or after it
    jobs = _jobs(output)
    assert len(jobs) == 4, (
        "the panels of Figure 1 travel in one job, the losses in another, which needed three attempts"
    )
    assert not any("gres" in _record(job) for job in jobs)
    with capsys.disabled():
        print(
            f"\nSLURM: {len(jobs)} jobs for {len(undisturbed)} runs in {time.monotonic() - began:.0f} s;"
            f" job {cancelled} cancelled, job {out_of_time} out of time, resumed twice; all results as undisturbed"
        )


@pytest.mark.workflow
def test_the_smoke_suite_runs_to_its_report(
    cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = make_workspace(tmp_path, config=REPOSITORY / "config" / "smoke.yaml")
    began = time.monotonic()
    snakemake = _submit(workspace)
    output, _ = snakemake.communicate(timeout=3 * SECONDS)
    assert snakemake.returncode == 0, output
    runs, jobs = workspace.runs(), _jobs(output)
    assert {run.split("/")[0] for run in runs} == set(RECIPES)
    assert all((workspace.results / run / "metrics.json").exists() for run in runs)
    assert (tmp_path / "reports" / "smoke" / "report.html").exists()
    assert len(jobs) < len(runs), "short runs travel together"
    with capsys.disabled():
        print(
            f"\nSLURM: the smoke suite, {len(runs)} runs in {len(jobs)} jobs, {time.monotonic() - began:.0f} s"
        )


@pytest.mark.workflow
def test_runs_that_fail_leave_the_others_of_their_job_alone(cluster: None, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, ("figure2",), HERE / "slurm.yaml")
    shutil.copy(HERE / "paced.py", tmp_path)
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    plan = config["experiments"]["figure2"]["datasets"]["digits"]
    plan |= {"fractions": [0.05, 0.1], "losses": {"paced.py:Broken": {}, "paced.py:Hinge": {}}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    snakemake = _submit(workspace, "--retries", "0", "figure2")
    output, _ = snakemake.communicate(timeout=SECONDS)
    assert snakemake.returncode != 0
    assert len(_jobs(output)) == 1
    complete = {path.parent.name for path in workspace.results.glob("figure2/*/metrics.json")}
    assert complete == {f"digits-{fraction}-Hinge-seeds000-001" for fraction in (0.05, 0.1)}, output
    table = (tmp_path / "reports" / "slurm" / "figure2.md").read_text()
    assert table.count("(ValueError: no such luck; log: ") == 2
    assert table.count("missing: ") == 2


@pytest.mark.workflow
def test_a_job_asks_for_a_gpu_only_where_its_config_says_so(cluster: None, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, config=HERE / "slurm.yaml")
    config = yaml.safe_load((workspace.folder / "config.yaml").read_text())
    config["experiments"] = {
        "figure1": {"resources": {"mem_mb": 800, "runtime": 10, "gpu": 1}, "training": {"steps": 5}}
    }
    (workspace.folder / "config.yaml").write_text(yaml.safe_dump(config))
    snakemake = _submit(workspace, "results/slurm/figure1/l2/metrics.json")
    output, _ = snakemake.communicate(timeout=SECONDS)
    assert snakemake.returncode == 0, output
    (job,) = _jobs(output)
    assert "TresPerJob=gres:gpu:1" in _record(job)


def _undisturbed(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, dict[str, str]]:
    monkeypatch.chdir(workspace.folder)
    load_suite(yaml.safe_load(Path("config.yaml").read_text()), "config.yaml").write_specs()
    folder.mkdir()
    assert run_to_end(["data", "fetch", "digits", "--root", "data"], workspace.folder, folder / "log") == 0
    found = {}
    for run in workspace.runs():
        code = run_to_end(workspace.verb(run, folder / run), workspace.folder, folder / "log")
        assert code == 0, (folder / "log").read_text()
        found[run] = results_of(folder / run)
    return found


def _submit(workspace: Workspace, *targets: str) -> subprocess.Popen[str]:
    """Start Snakemake as docs/cluster.md says, with the waits of a cluster shortened."""
    return workspace.snakemake(
        *targets, "--workflow-profile", "workflow/profiles/slurm",
        "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3",
        "--seconds-between-status-checks", "3", "--slurm-keep-successful-logs", "--latency-wait", "15",
    )  # fmt: skip


def _until(reached: Callable[[], bool]) -> None:
    limit = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < limit, _records()
        time.sleep(0.2)


def _running(group: str) -> str:
    """Return the number of the one running job of a group."""
    listed = subprocess.run(
        ["squeue", "--noheader", "--states", "RUNNING", "--format", "%i %k"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (job,) = [line.split()[0] for line in listed.splitlines() if group in line]
    return job


def _records() -> str:
    return subprocess.run(["scontrol", "show", "jobs"], capture_output=True, text=True, check=True).stdout


def _jobs(output: str) -> list[str]:
    return re.findall(r"has been submitted with SLURM jobid (\d+)", output)


def _record(job: str) -> str:
    return subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=True).stdout


def _state(job: str) -> str:
    found = re.search(r"JobState=(\w+)", _record(job))
    assert found is not None
    return found[1]


def _read(file: Path) -> str:
    return file.read_text() if file.exists() else ""
