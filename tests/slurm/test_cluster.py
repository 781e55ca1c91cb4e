"""A suite on a real SLURM cluster of one node: jobs share allocations, and those that are killed are resumed."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from processes import run_to_end
from workspace import Workspace, make_workspace, results_of

from nls.experiments import load_suite

HERE = Path(__file__).parent
SECONDS = 600


@pytest.fixture(scope="module")
def cluster() -> None:
    """Start a cluster where there is none; skip, and say why, where that cannot be."""
    started = subprocess.run([HERE / "start_cluster.sh"], capture_output=True, text=True)
    if started.returncode != 0:
        pytest.skip(started.stderr.strip().splitlines()[-1])


@pytest.mark.workflow
def test_a_cancelled_job_and_one_out_of_time_end_as_undisturbed(
    cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(tmp_path / "work", config=HERE / "slurm.yaml")
    shutil.copy(HERE / "paced.py", workspace.folder)
    undisturbed = _undisturbed(workspace, tmp_path / "undisturbed", monkeypatch)

    monkeypatch.setenv("NLS_TEST_PAUSE", "0.4")
    words = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3"]
    words += ["--seconds-between-status-checks", "3", "--slurm-keep-successful-logs", "--latency-wait", "15"]
    began = time.monotonic()
    snakemake = workspace.snakemake("--workflow-profile", "workflow/profiles/slurm", *words)
    results = workspace.folder / "results" / "slurm"
    try:
        out_of_time = _job_in_training(results / "figure2", "OutOfTime")
        # SLURM counts limits in minutes: one that has passed already, or will soon.
        subprocess.run(["scontrol", "update", f"JobId={out_of_time}", "TimeLimit=1"], check=True)
        cancelled = _job_in_training(results / "figure2", "Cancelled")
        subprocess.run(["scancel", cancelled], check=True)
        output, _ = snakemake.communicate(timeout=SECONDS)
    finally:
        snakemake.kill()
    assert snakemake.returncode == 0, output

    for run, expected in undisturbed.items():
        assert results_of(results / run) == expected, run
    resumed = {run: _provenance(results / run)["interruptions"] for run in undisturbed}
    assert {Path(run).name.split("-")[2]: times for run, times in resumed.items() if "figure2" in run} == {
        "Cancelled": 1,
        "OutOfTime": 1,
    }, resumed
    assert _state(cancelled) == "CANCELLED"
    assert _state(out_of_time) == "TIMEOUT"
    assert "--gpus" not in "".join(_record(job) for job in _jobs(output))
    together = re.findall(r"Group job figure1", output)
    assert len(together) == 1, "the four panels of Figure 1 travel in one job"
    with capsys.disabled():
        print(
            f"\nSLURM: {len(_jobs(output))} jobs for {len(undisturbed)} runs in {time.monotonic() - began:.0f} s; job"
            f" {cancelled} cancelled, job {out_of_time} out of time, both resumed; all results as undisturbed"
        )


@pytest.mark.workflow
def test_a_job_asks_for_a_gpu_only_where_its_config_says_so(cluster: None, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, config=HERE / "slurm.yaml")
    config = yaml.safe_load((workspace.folder / "config.yaml").read_text())
    config["experiments"] = {
        "figure1": {"resources": {"mem_mb": 800, "runtime": 10, "gpu": 1}, "training": {"steps": 5}}
    }
    (workspace.folder / "config.yaml").write_text(yaml.safe_dump(config))
    snakemake = workspace.snakemake(
        "--workflow-profile", "workflow/profiles/slurm", "--slurm-status-command", "squeue", "--latency-wait", "15",
        "--slurm-init-seconds-before-status-checks", "3", "results/slurm/figure1/l2/metrics.json",
    )  # fmt: skip
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


def _job_in_training(experiment: Path, name: str) -> str:
    """Wait until the run is in its training and has a checkpoint; return the number of its SLURM job."""
    limit = time.monotonic() + SECONDS
    while time.monotonic() < limit:
        if any(experiment.glob(f"*{name}*/checkpoint.pt")):
            jobs = subprocess.run(
                ["squeue", "--noheader", "--states", "RUNNING", "--format", "%i %k"],
                capture_output=True,
                text=True,
            ).stdout
            found = [line.split()[0] for line in jobs.splitlines() if name in line]
            if found:
                return found[0]
        time.sleep(0.5)
    raise AssertionError(f"{name} never began to train")


def _jobs(output: str) -> list[str]:
    return re.findall(r"has been submitted with SLURM jobid (\d+)", output)


def _record(job: str) -> str:
    return subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=True).stdout


def _state(job: str) -> str:
    found = re.search(r"JobState=(\w+)", _record(job))
    assert found is not None
    return found[1]


def _provenance(directory: Path) -> dict[str, int]:
    return json.loads((directory / "provenance.json").read_text())
