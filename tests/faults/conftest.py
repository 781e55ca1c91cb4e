"""A small suite with its data, and the results of runs that nothing disturbed."""

import os
from pathlib import Path

import pytest
import yaml
from processes import run_to_end
from workspace import Workspace, make_workspace, results_of

from nls.experiments import load_suite


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The suite's specs and data, made without disturbance."""
    workspace = make_workspace(tmp_path_factory.mktemp("faults"))
    config = yaml.safe_load((workspace.folder / "config.yaml").read_text())
    here = Path.cwd()
    os.chdir(workspace.folder)
    try:
        load_suite(config, "config.yaml").write_specs()
    finally:
        os.chdir(here)
    for name in ("digits", "curves"):
        code = run_to_end(
            ["data", "fetch", name, "--root", "data"], workspace.folder, workspace.folder / f"{name}.log"
        )
        assert code == 0, (workspace.folder / f"{name}.log").read_text()
    return workspace


@pytest.fixture(scope="session")
def undisturbed(workspace: Workspace) -> dict[str, dict[str, str]]:
    """Fingerprints of what every run leaves when nothing disturbs it."""
    found = {}
    for run in workspace.runs():
        out = workspace.folder / "undisturbed" / run
        out.parent.mkdir(parents=True, exist_ok=True)
        log = out.parent / f"{out.name}.log"
        assert run_to_end(workspace.verb(run, out), workspace.folder, log) == 0, log.read_text()
        found[run] = results_of(out)
    return found
