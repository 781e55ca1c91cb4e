"""Table 2: surfaces reconstructed from scans, measured against the registrations (Section 5.3)."""

from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import trimesh
from pydantic import Field

from nls.data import load_scans, read_points
from nls.data.landmarks import landmarks_of
from nls.engine.files import written_whole
from nls.engine.runs import Run
from nls.engine.seeds import numpy_stream
from nls.engine.settings import RunSpec, run_name
from nls.engine.user_code import user_file
from nls.errors import UserError
from nls.experiments.common import Common, ExperimentConfig, Seeds, seed_list
from nls.experiments.watched_run import WatchedRun
from nls.geometry.files import read_mesh, write_mesh
from nls.geometry.hands_and_face import detail_metrics
from nls.geometry.metrics import chamfer_of_meshes, compare
from nls.reconstruction import Method, reconstruct_with
from nls.reconstruction.api import MIN_RESOLUTION
from nls.reconstruction.frame import Frame
from nls.reconstruction.user_method import UserMethod

SCANS = Literal["bodies", "faust"]
# Points of the scan that are kept for pictures; Figure 3 (a) shows a batch of 10K.
SHOWN_POINTS = 10_000
# The table says whose error was still falling over the last third of the training.
LOOKS = (1 / 3, 2 / 3)


class Config(ExperimentConfig):
    """Settings of Table 2."""

    data: SCANS = Field("bodies", description="set of scans and registrations")
    scans: list[int] = Field(list(range(10)), min_length=1, description="numbers of the scans")
    methods: dict[str, Method] = Field(
        min_length=1, description="rows of the table: a name, and a method with its settings"
    )
    resolution: int = Field(100, ge=MIN_RESOLUTION, description="nodes of the meshing grid along an axis")
    max_points: int = Field(100_000, ge=100, description="points of a scan that are used, drawn at random")
    seeds: Seeds = Field(
        1,
        description="how many (counted from 0), or which: of thinning, initialisation, batches and the samples of "
        "the metrics",
    )


class ScanSpec(RunSpec):
    """One scan and one method; ``looks``: parts of the training after which the surface is measured on the way."""

    data: SCANS
    scan: int
    name: str
    method: Method
    resolution: int
    max_points: int
    seed: int
    looks: list[float]

    def datasets(self) -> list[str]:
        """Return the set of scans."""
        return [self.data]

    def summary(self) -> str:
        """Return the method's settings in one line, for the list of jobs."""
        settings = self.method.model_dump(mode="json")
        parts = settings | settings.pop("training", {}) | settings.pop("sampling", {})
        told = ", ".join(f"{name} {value}" for name, value in parts.items() if not isinstance(value, dict))
        return f"{told}, resolution {self.resolution}, at most {self.max_points} points"

    def files_read(self) -> list[str]:
        """Return the file of a user's method."""
        return [user_file(self.method.method)] if isinstance(self.method, UserMethod) else []


class Spec(ScanSpec):
    """One run of Table 2."""

    experiment: Literal["table2"]


def expand(config: Config, common: Common) -> list[Spec]:
    """Return one run for each method, scan and seed."""
    return [
        Spec(
            **common.base("table2", run_name(name, f"{scan:03d}", seed=seed), config.threads),
            looks=list(LOOKS),
            data=config.data,
            scan=scan,
            name=name,
            method=method,
            resolution=config.resolution,
            max_points=config.max_points,
            seed=seed,
        )
        for name, method in config.methods.items()
        for scan in config.scans
        for seed in seed_list(config.seeds)
    ]


def run(spec: ScanSpec, run: Run) -> dict[str, Any]:
    """Reconstruct the scan, keep the mesh, and measure it against the registration; lengths in metres."""
    pairs = {pair.name: pair for pair in load_scans(Path(spec.data_root), spec.data)}
    pair = pairs.get(f"{spec.scan:03d}")
    if pair is None:
        raise UserError(f"{spec.data} has no scan {spec.scan}: take of {', '.join(pairs)}")
    scan = read_points(pair.scan)
    truth = read_mesh(pair.registration)
    session = WatchedRun(run, spec.looks, partial(_chamfer_of_unit, truth, Frame.of(scan), spec.seed))
    found = reconstruct_with(spec.method, scan, spec.resolution, spec.max_points, False, spec.seed, session)
    session.stop()
    write_mesh(run.directory / "mesh.ply", found.mesh)
    write_mesh(run.directory / "truth.ply", truth)
    with written_whole(run.directory / "scan.npz") as temporary:
        shown = numpy_stream(spec.seed, "shown").permutation(scan)[:SHOWN_POINTS]
        np.savez(temporary, points=shown.astype(np.float32))
    if found.network is not None:
        run.save_weights(found.network.state_dict())
    run.data[spec.data] = {"scan": pair.name, "points": len(scan), "sum": float(np.abs(scan).sum())}
    figures = compare(found.mesh, truth, seed=spec.seed) | found.figures | {"points": found.points}
    if (marks := landmarks_of(truth)) is not None:
        figures |= detail_metrics(found.mesh, truth, marks.nose, marks.fingertips, spec.seed)
    return figures | session.curve(figures["chamfer_l2"])


def _chamfer_of_unit(truth: trimesh.Trimesh, frame: Frame, seed: int, mesh: trimesh.Trimesh) -> float:
    """Return the Chamfer distance (L2) of the truth and a surface in the unit ball."""
    mesh.vertices = frame.outside(np.asarray(mesh.vertices, dtype=np.float64))
    return chamfer_of_meshes(mesh, truth, seed=seed).l2
