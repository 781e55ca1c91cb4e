"""A suite on a real SLURM cluster of one node: jobs share allocations, and those that are killed are resumed."""

import contextlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from processes import run_to_end
from workspace import Workspace, make_workspace, read, results_of

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


@dataclass(frozen=True)
class Submitted:
    """A suite at work on the cluster."""

    workspace: Workspace
    snakemake: subprocess.Popen[str]

    @property
    def results(self) -> Path:
        return self.workspace.results

    def output(self) -> str:
        return (self.workspace.folder / "snakemake.log").read_text()

    def end(self) -> int:
        """Wait for the end of Snakemake and return its exit code."""
        return self.snakemake.wait(SECONDS)

    def jobs(self) -> list[str]:
        """Return the numbers of the jobs so far."""
        return re.findall(r"has been submitted with SLURM jobid (\d+)", self.output())

    def running(self) -> str:
        """Return the number of the one job that is running."""
        listed = subprocess.run(
            ["squeue", "--noheader", "--states", "RUNNING", "--format", "%i"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        (job,) = set(listed) & set(self.jobs())
        return job


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Fingerprints of the runs of the paced suite when nothing disturbs them."""
    folder = tmp_path_factory.mktemp("undisturbed")
    workspace = _workspace(folder, HERE / "slurm.yaml")
    with contextlib.chdir(folder):
        load_suite(yaml.safe_load(Path("config.yaml").read_text()), "config.yaml").write_specs()
    log = folder / "log"
    assert run_to_end(["data", "fetch", "digits", "--root", "data"], folder, log) == 0, log.read_text()
    found = {}
    for run in workspace.runs():
        assert run_to_end(workspace.verb(run, folder / run), folder, log) == 0, log.read_text()
        found[run] = results_of(folder / run)
    return found


@pytest.fixture(scope="module")
def submitted(
    cluster: None, undisturbed: object, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Submitted]]:
    """The suites of all tests, submitted at once: most of their time is waiting."""
    folder = tmp_path_factory.mktemp("suites")
    paced = yaml.safe_load((HERE / "slurm.yaml").read_text())
    plan = paced["experiments"]["figure2"]["datasets"]["digits"]
    failing = plan | {"fractions": [0.05, 0.1], "losses": {"paced.py:Broken": {}, "paced.py:Hinge": {}}}
    figure2 = paced["experiments"]["figure2"] | {"datasets": {"digits": failing}}
    gpu = {"resources": {"mem_mb": 800, "runtime": 10, "gpu": 1}, "training": {"steps": 5}}
    configs = {
        "paced": paced,
        "failing": paced | {"suite": "failing", "experiments": {"figure2": figure2}},
        "gpu": paced | {"experiments": {"figure1": gpu}},
        "every": yaml.safe_load((HERE / "every.yaml").read_text()),
    }
    words = {
        "failing": ["--retries", "0", "figure2"],
        "gpu": ["results/slurm/figure1/l2/metrics.json"],
    }
    suites = {}
    for name, config in configs.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        workspace = _workspace(folder / name, folder / f"{name}.yaml")
        suites[name] = Submitted(workspace, _submit(workspace, *words.get(name, [])))
    yield suites
    for suite in suites.values():
        suite.snakemake.kill()
        suite.snakemake.wait()


@pytest.mark.workflow
def test_a_cancelled_job_and_one_out_of_time_end_as_undisturbed(
    submitted: dict[str, Submitted], undisturbed: dict[str, dict[str, str]], tell: Callable[[str], None]
) -> None:
    suite = submitted["paced"]

    def at(file: str) -> list[str]:
        return [run for run in undisturbed if (suite.results / run / file).exists()]

    began = time.monotonic()
    _until(lambda: bool(at("metrics.json") and at("checkpoint.pt")))
    (finished,), (unfinished,) = at("metrics.json"), at("checkpoint.pt")
    cancelled = suite.running()
    subprocess.run(["scancel", cancelled], check=True)
    _until(lambda: "resuming after" in read(suite.results / unfinished / "run.log"))
    out_of_time = suite.running()
    assert _minutes(out_of_time) == 2 * _minutes(cancelled)
    subprocess.run(["scontrol", "update", f"JobId={out_of_time}", "TimeLimit=1"], check=True)
    _until(lambda: _state(out_of_time) != "RUNNING")
    (suite.workspace.folder / "no-pause").touch()
    assert suite.end() == 0, suite.output()

    for run, expected in undisturbed.items():
        assert results_of(suite.results / run) == expected, run
    interruptions = {
        run: json.loads((suite.results / run / "provenance.json").read_text())["interruptions"]
        for run in undisturbed
    }
    assert interruptions == {finished: 0, unfinished: 2}
    assert "its results are put back" in read(suite.results / finished / "run.log")
    assert _state(cancelled) == "CANCELLED"
    assert _state(out_of_time) in ("FAILED", "TIMEOUT")  # it ended well before the limit, or after it
    jobs = suite.jobs()
    assert len(jobs) == 3, "both losses travel in one job, which needed three attempts"
    assert not any("gres" in _record(job) for job in jobs)
    tell(
        f"SLURM: {len(jobs)} jobs for {len(undisturbed)} runs in {time.monotonic() - began:.0f} s;"
        f" job {cancelled} cancelled, job {out_of_time} out of time, resumed twice; all results as undisturbed"
    )


@pytest.mark.workflow
def test_runs_that_fail_leave_the_others_of_their_job_alone(submitted: dict[str, Submitted]) -> None:
    suite = submitted["failing"]
    assert suite.end() != 0
    assert len(suite.jobs()) == 1
    complete = {path.parent.name for path in suite.results.glob("figure2/*/metrics.json")}
    assert complete == {f"digits-{fraction}-Hinge-seeds000-001" for fraction in (0.05, 0.1)}, suite.output()
    table = (suite.workspace.folder / "reports" / "failing" / "figure2.md").read_text()
    assert table.count("(ValueError: no such luck; log: ") == 2
    assert table.count("missing: ") == 2


@pytest.mark.workflow
def test_a_job_asks_for_a_gpu_only_where_its_config_says_so(submitted: dict[str, Submitted]) -> None:
    suite = submitted["gpu"]
    assert suite.end() == 0, suite.output()
    (job,) = suite.jobs()
    assert "TresPerJob=gres:gpu:1" in _record(job)


@pytest.mark.workflow
def test_every_experiment_runs_to_the_report(
    submitted: dict[str, Submitted], tell: Callable[[str], None]
) -> None:
    suite = submitted["every"]
    assert suite.end() == 0, suite.output()
    runs, jobs = suite.workspace.runs(), suite.jobs()
    assert {run.split("/")[0] for run in runs} == set(RECIPES)
    assert all((suite.results / run / "metrics.json").exists() for run in runs)
    assert (suite.workspace.folder / "reports" / "every" / "report.html").exists()
    assert len(jobs) == len(runs) - 3, "the four panels of Figure 1 travel in one job"
    tell(f"SLURM: every experiment, {len(runs)} runs in {len(jobs)} jobs")


def _workspace(folder: Path, config: Path) -> Workspace:
    workspace = make_workspace(folder, config=config)
    shutil.copy(HERE / "paced.py", folder)
    return workspace


def _submit(workspace: Workspace, *targets: str) -> subprocess.Popen[str]:
    """Start Snakemake as docs/running.md says, with the waits of a cluster shortened."""
    with (workspace.folder / "snakemake.log").open("w") as output:
        return workspace.snakemake(
            *targets, "--workflow-profile", "workflow/profiles/slurm",
            "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1",
            "--slurm-keep-successful-logs", "--latency-wait", "15",
            output=output, program=HERE / "impatient.py",
        )  # fmt: skip


def _until(reached: Callable[[], bool]) -> None:
    limit = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < limit, _records()
        time.sleep(0.2)


def _records() -> str:
    return subprocess.run(["scontrol", "show", "jobs"], capture_output=True, text=True, check=True).stdout


def _record(job: str) -> str:
    return subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=True).stdout


def _minutes(job: str) -> int:
    """Return the time limit of a job."""
    found = re.search(r"TimeLimit=(\d+):(\d+):00", _record(job))
    assert found is not None
    return 60 * int(found[1]) + int(found[2])


def _state(job: str) -> str:
    found = re.search(r"JobState=(\w+)", _record(job))
    assert found is not None
    return found[1]
