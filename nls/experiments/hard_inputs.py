"""Hard inputs: virtual scans of the bodies under conditions that break methods, reconstructed and measured."""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from nls.data import load_scans
from nls.data.scanner import CONDITIONS, scan_under
from nls.data.scans import SCANS
from nls.engine.runs import Run
from nls.engine.settings import RunSpec, run_name
from nls.experiments import table2
from nls.experiments.common import Common, Seed, seed_list
from nls.experiments.watched_run import WatchedRun
from nls.geometry.files import read_mesh
from nls.reconstruction import Method, reconstruct_with
from nls.reconstruction.surface import OrientedMethod


class Config(table2.ReconstructionConfig):
    """Settings of the hard inputs."""

    scans: list[Annotated[int, Field(ge=0, lt=SCANS["bodies"])]] = Field(
        [0], min_length=1, description="numbers of the virtual bodies that are scanned"
    )
    conditions: list[str] = Field(
        list(CONDITIONS), min_length=1, description=f"how the bodies are scanned: {', '.join(CONDITIONS)}"
    )

    @field_validator("conditions")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        unknown = [name for name in names if name not in CONDITIONS]
        if unknown:
            raise ValueError(f"{unknown[0]} is no condition; take one of {', '.join(CONDITIONS)}")
        return names


class Spec(RunSpec):
    """One body, condition and method."""

    experiment: Literal["hard_inputs"]
    scan: int
    condition: str
    name: str
    method: Method
    resolution: int
    max_points: int
    seed: Seed

    def datasets(self) -> list[str]:
        """Return the virtual bodies."""
        return ["bodies"]

    def summary(self) -> str:
        """Return condition and settings in one line, for the list of jobs."""
        return f"{self.condition}, {table2.told(self.method)}, resolution {self.resolution}"


def expand(config: Config, common: Common) -> list[Spec]:
    """Return one run for each method, body, condition and seed."""
    return [
        Spec(
            **common.base("hard_inputs", run_name(name, f"{scan:03d}", condition, seed=seed), config.threads),
            scan=scan,
            condition=condition,
            name=name,
            method=method,
            resolution=config.resolution,
            max_points=config.max_points,
            seed=seed,
        )
        for name, method in config.methods.items()
        for scan in config.scans
        for condition in config.conditions
        for seed in seed_list(config.seeds)
    ]


def run(spec: Spec, run: Run) -> dict[str, Any]:
    """Scan a body under the condition, reconstruct it, and measure as in Table 2; lengths in metres.

    Normals that come with a scan are given to the methods that use them.
    """
    (pair,) = load_scans(Path(spec.data_root), "bodies", [spec.scan])
    truth = read_mesh(pair.registration)
    vertices = np.asarray(truth.vertices, dtype=np.float64)
    scan = scan_under(CONDITIONS[spec.condition], vertices, np.asarray(truth.faces), spec.seed)
    run.data["bodies"] = {
        "scan": pair.name,
        "points": len(scan.points),
        "sum": float(np.abs(scan.points).sum()),
    }
    found = reconstruct_with(
        spec.method,
        scan.points,
        spec.resolution,
        spec.max_points,
        spec.seed,
        WatchedRun(run),
        normals=scan.normals if isinstance(spec.method, OrientedMethod) else None,
    )
    return table2.keep_and_measure(found, scan.points, truth, True, spec.seed, run)
