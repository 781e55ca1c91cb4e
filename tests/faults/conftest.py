"""A small suite with its data, and the results of runs that nothing disturbed: made once, for all workers."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from processes import run_to_end
from workspace import Workspace, make_workspace, results_of

from nls.experiments import load_suite

# Undisturbed runs that are made at once: the worker beside this one waits for them.
_AT_ONCE = 2


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder of the session that all its workers see."""
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "faults"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def once(made: Path) -> Iterator[bool]:
    """Hand out, to one worker after the other, whether a file is still to be made."""
    with FileLock(made.with_suffix(".lock")):
        yield not made.exists()


@pytest.fixture(scope="session")
def workspace(shared: Path) -> Workspace:
    """The suite's specs and data, made without disturbance; tests add to it only what is their own."""
    made = shared / "workspace.json"
    with once(made) as wanted:
        if wanted:
            workspace = make_workspace(shared / "work")
            with chdir(workspace.folder):
                config = yaml.safe_load(Path("config.yaml").read_text())
                load_suite(config, "config.yaml").write_specs()
            for name in ("digits", "curves"):
                log = workspace.folder / f"{name}.log"
                code = run_to_end(["data", "fetch", name, "--root", "data"], workspace.folder, log)
                assert code == 0, log.read_text()
            made.write_text(json.dumps([str(workspace.folder), workspace.suite]))
    folder, suite = json.loads(made.read_text())
    return Workspace(Path(folder), suite)


@pytest.fixture(scope="session")
def undisturbed(shared: Path, workspace: Workspace) -> dict[str, dict[str, str]]:
    """Fingerprints of what every run leaves when nothing disturbs it."""

    def made_by(run: str) -> dict[str, str]:
        out = workspace.folder / "undisturbed" / run
        out.parent.mkdir(parents=True, exist_ok=True)
        log = out.parent / f"{out.name}.log"
        assert run_to_end(workspace.verb(run, out), workspace.folder, log) == 0, log.read_text()
        return results_of(out)

    made, runs = shared / "undisturbed.json", workspace.runs()
    with once(made) as wanted:
        if wanted:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                made.write_text(json.dumps(dict(zip(runs, pool.map(made_by, runs), strict=True))))
    found: dict[str, dict[str, str]] = json.loads(made.read_text())
    return found
