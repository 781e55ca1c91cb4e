"""Table 2: surfaces reconstructed from scans, measured against the registrations (Section 5.3)."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import trimesh
from jaxtyping import Float
from pydantic import AfterValidator, Field

from nls.data import load_scans, read_points
from nls.data.pairs import read_pairs
from nls.data.scans import SCANS
from nls.engine.files import written_whole
from nls.engine.runs import Run
from nls.engine.seeds import numpy_stream
from nls.engine.settings import RunSpec, run_name
from nls.engine.user_code import user_files
from nls.errors import UserError
from nls.experiments.common import Common, ExperimentConfig, PathText, Seed, Seeds, seed_list
from nls.experiments.watched_run import WatchedRun
from nls.geometry.clouds import read_cloud, read_surface
from nls.geometry.files import read_mesh, write_mesh
from nls.geometry.hands_and_face import detail_metrics
from nls.geometry.landmarks import landmarks_of
from nls.geometry.metrics import chamfer_l2_of_meshes, compare, distances_to
from nls.reconstruction import Method, Reconstruction, reconstruct_with
from nls.reconstruction.api import MAX_RESOLUTION, MIN_RESOLUTION, QUALITIES
from nls.reconstruction.frame import Frame
from nls.reconstruction.user_method import UserMethod

# Points of the scan that are kept for pictures; Figure 3 (a) shows a batch of 10K.
SHOWN_POINTS = 10_000
# The table says whose error was still falling over the last third of the training.
LOOKS = (1 / 3, 2 / 3)


class ReconstructionConfig(ExperimentConfig):
    """Settings of every experiment that reconstructs surfaces by several methods."""

    methods: dict[str, Method] = Field(min_length=1, description="a name, and a method with its settings")
    resolution: int = Field(
        QUALITIES["default"].resolution,
        ge=MIN_RESOLUTION,
        le=MAX_RESOLUTION,
        description="nodes of the meshing grid along an axis",
    )
    max_points: int = Field(100_000, ge=100, description="points of a scan that are used, drawn at random")
    seeds: Seeds = Field(
        1,
        description="how many (counted from 0), or which: of the virtual scanner, thinning, initialisation, batches "
        "and the samples of the metrics",
    )


def _check_data(name: str) -> str:
    if not is_body(name) and not name.endswith(".csv"):
        raise ValueError(f"take one of {', '.join(SCANS)}, or the path of a .csv file")
    return name


Data = Annotated[PathText, AfterValidator(_check_data)]


class Config(ReconstructionConfig):
    """Settings of Table 2."""

    data: Data = Field(
        "bodies",
        description="set of scans and registrations: bodies, faust, or a CSV file of one's own with the columns "
        "scan, truth and name (see docs/add_scan.md)",
    )
    scans: list[int] | None = Field(
        None,
        min_length=1,
        description="numbers of the scans, or of the CSV file's rows from 0; default: 0 to 9, or all rows",
    )


class ScanSpec(RunSpec):
    """One scan and one method; ``looks``: parts of the training after which the surface is measured on the way."""

    data: str
    scan: int
    scan_name: str
    scan_file: str | None
    truth_file: str | None
    name: str
    method: Method
    resolution: int
    max_points: int
    seed: Seed
    looks: list[float]

    def datasets(self) -> list[str]:
        """Return the set of scans, if it is fetched."""
        return [self.data] if self.scan_file is None else []

    def summary(self) -> str:
        """Return the method's settings in one line, for the list of jobs."""
        return f"{told(self.method)}, resolution {self.resolution}, at most {self.max_points} points"

    def files_read(self) -> list[str]:
        """Return the user's files: of the scan, the truth and the method."""
        method = user_files(self.method.method) if isinstance(self.method, UserMethod) else []
        return [path for path in (self.scan_file, self.truth_file) if path is not None] + method


class Spec(ScanSpec):
    """One run of Table 2."""

    experiment: Literal["table2"]


Scan = TypeVar("Scan", bound=ScanSpec)


def expand(config: Config, common: Common) -> list[Spec]:
    """Return one run for each method, scan and seed.

    Raises:
        UserError: the CSV file cannot be used, or has no row of a number.
    """
    return specs_of(Spec, "table2", config, common, looks=list(LOOKS))


def specs_of(
    kind: type[Scan], experiment: str, config: Config, common: Common, **settings: Any
) -> list[Scan]:
    """Return a spec of an experiment for each method, scan and seed of a config; ``settings`` are the same in all."""
    return [
        kind(
            **common.base(experiment, run_name(name, case["scan_name"], seed=seed), config.threads),
            **case,
            **settings,
            data=config.data,
            name=name,
            method=method,
            resolution=config.resolution,
            max_points=config.max_points,
            seed=seed,
        )
        for name, method in config.methods.items()
        for case in cases(config)
        for seed in seed_list(config.seeds)
    ]


def run(spec: ScanSpec, run: Run) -> dict[str, Any]:
    """Reconstruct the scan, keep the mesh, and measure it against the truth; lengths in the files' unit."""
    points, truth = _read(spec)
    run.data[spec.data] = {"scan": spec.scan_name, "points": len(points), "sum": float(np.abs(points).sum())}
    looks: list[float] = []
    session = WatchedRun(run)
    if isinstance(truth, trimesh.Trimesh):
        looks = spec.looks
        session = WatchedRun(run, looks, partial(_chamfer_of_unit, truth, Frame.of(points), spec.seed))
    found = reconstruct_with(spec.method, points, spec.resolution, spec.max_points, spec.seed, session)
    session.stop()
    figures = keep_and_measure(found, points, truth, is_body(spec.data), spec.seed, run)
    return figures | session.curve(figures["chamfer_l2"]) if looks else figures


def _chamfer_of_unit(truth: trimesh.Trimesh, frame: Frame, seed: int, mesh: trimesh.Trimesh) -> float:
    """Return the Chamfer distance (L2) of the truth and a surface in the unit ball, in the truth's units."""
    mesh.vertices = frame.outside(np.asarray(mesh.vertices, dtype=np.float64))
    return chamfer_l2_of_meshes(mesh, truth, seed=seed)


def keep_and_measure(
    found: Reconstruction,
    points: Float[np.ndarray, "n 3"],
    truth: trimesh.Trimesh | Float[np.ndarray, "m 3"] | None,
    body: bool,
    seed: int,
    run: Run,
) -> dict[str, Any]:
    """Keep a reconstruction for the figures, and return its measures.

    ``from_scan`` is the mean distance from the scan's points to the mesh; ``body``: whether hands and face are to be
    measured, for which the truth must be of a known template.
    """
    shown = numpy_stream(seed, "shown").permutation(points)[:SHOWN_POINTS]
    write_mesh(run.directory / "mesh.ply", found.mesh)
    with written_whole(run.directory / "scan.npz") as temporary:
        np.savez(temporary, points=shown.astype(np.float32))
    if found.network is not None:
        run.save_weights(found.network.state_dict())
    figures: dict[str, Any] = {
        "points": found.points,
        "from_scan": float(distances_to(found.mesh, shown).mean()),
        **found.figures,
    }
    if truth is None:
        return figures | found.topology.figures()
    figures |= compare(found.mesh, truth, seed=seed)
    if isinstance(truth, trimesh.Trimesh):
        write_mesh(run.directory / "truth.ply", truth)
        if body and (marks := landmarks_of(truth)) is not None:
            figures |= detail_metrics(found.mesh, truth, marks.nose, marks.fingertips, seed)
    return figures


def told(method: Method) -> str:
    """Return a method's settings in one line."""
    settings = method.model_dump(mode="json")
    cells = settings.pop("detail", {}).get("cells")
    parts = settings | settings.pop("training", {}) | settings.pop("sampling", {})
    if cells:
        parts["cells"] = cells
    return ", ".join(f"{name} {value}" for name, value in parts.items() if not isinstance(value, dict))


def is_body(data: str) -> bool:
    """Tell whether a set of scans is of people."""
    return data in SCANS


def cases(config: Config) -> list[dict[str, Any]]:
    """Return the part of a spec that says which scan."""
    if is_body(config.data):
        unknown = [number for number in config.scans or () if not 0 <= number < SCANS[config.data]]
        if unknown:
            raise UserError(
                f"scans: {config.data} has no scan {unknown[0]}: they count from 0 to {SCANS[config.data] - 1}"
            )
        numbers = range(10) if config.scans is None else config.scans
        return [
            {"scan": number, "scan_name": f"{number:03d}", "scan_file": None, "truth_file": None}
            for number in numbers
        ]
    pairs = read_pairs(Path(config.data))
    rows = range(len(pairs)) if config.scans is None else config.scans
    beyond = [row for row in rows if not 0 <= row < len(pairs)]
    if beyond:
        raise UserError(f"{config.data} has no row {beyond[0]}: its rows count from 0 to {len(pairs) - 1}")
    return [
        {
            "scan": row,
            "scan_name": pairs[row].name,
            "scan_file": str(pairs[row].scan),
            "truth_file": None if pairs[row].truth is None else str(pairs[row].truth),
        }
        for row in rows
    ]


def _read(
    spec: ScanSpec,
) -> tuple[Float[np.ndarray, "n 3"], trimesh.Trimesh | Float[np.ndarray, "m 3"] | None]:
    """Return the scan's points, and the truth if it is known."""
    if spec.scan_file is not None:
        truth = None if spec.truth_file is None else read_surface(Path(spec.truth_file))
        return read_cloud(Path(spec.scan_file), spec.seed).points, truth
    (pair,) = load_scans(Path(spec.data_root), spec.data, [spec.scan])
    return read_points(pair.scan), read_mesh(pair.registration)
