"""At which resolution the figures of Table 2 stop changing: one reconstruction, meshed again and again.

    python -m benchmarks.resolution RUN_DIRECTORY... [--data-root data] [--resolutions 64 100 ...] [--depths 6 7 ...]

A run directory is one of Table 2's on a virtual body or on FAUST. The network that it left is meshed on grids of each
resolution; screened Poisson is carried out anew at each depth of its octree, with the run's own points. Before them
stands the signed distance of the truth itself, meshed on the same grids: what the grid alone costs. Each row has the
Chamfer distance (L2) and the mean distance at the hands to the truth, ×10³ of the scan's unit.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
from pydantic import TypeAdapter
from torch import Tensor

from nls.data import load_scans, read_points
from nls.engine.seeds import numpy_stream
from nls.engine.yaml_files import read_yaml
from nls.experiments.table2 import Spec
from nls.geometry.files import read_mesh
from nls.geometry.hands_and_face import detail_metrics
from nls.geometry.landmarks import landmarks_of
from nls.geometry.meshing import mesh_zero_level
from nls.geometry.metrics import chamfer_of_meshes
from nls.geometry.octree import Grid
from nls.geometry.poisson import screened_poisson
from nls.networks.weights import load_weights, read
from nls.reconstruction.frame import Frame
from nls.reconstruction.igr import Igr
from nls.reconstruction.levelset import LevelSet
from nls.reconstruction.poisson import Poisson
from nls.reconstruction.surface import mesh_level_set

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Row:
    """The figures of one surface at one resolution: nodes along an axis, or the depth of the octree."""

    name: str
    resolution: int
    chamfer_l2: float
    hands: float | None

    def __str__(self) -> str:
        hands = "" if self.hands is None else f"{1e3 * self.hands:.2f}"
        return f"| {self.name} | {self.resolution} | {1e3 * self.chamfer_l2:.3f} | {hands} |"


class SignedDistance:
    """The signed distance of a closed mesh, in the unit ball's coordinates of a frame; negative inside."""

    def __init__(self, mesh: trimesh.Trimesh, frame: Frame) -> None:
        self._vertices = np.ascontiguousarray(frame.inside(np.asarray(mesh.vertices, dtype=np.float64)))
        self._faces = np.ascontiguousarray(mesh.faces, dtype=np.int64)

    def __call__(self, points: Tensor) -> Tensor:
        """Return the distances ``(n, 1)`` of points ``(n, 3)``, with a unit gradient."""
        import igl

        places = points.detach().numpy().astype(np.float64)
        _, _, nearest = igl.point_mesh_squared_distance(places, self._vertices, self._faces)
        inside = igl.fast_winding_number(self._vertices, self._faces, places) > 0.5
        sign = torch.from_numpy(np.where(inside, -1.0, 1.0)).to(points)
        offset = points - torch.from_numpy(np.asarray(nearest)).to(points)
        return (sign * torch.linalg.vector_norm(offset, dim=1))[:, None]


def rows(
    directories: Sequence[Path], data_root: Path, resolutions: Sequence[int], depths: Sequence[int]
) -> Iterator[Row]:
    """Yield the rows of each run, those of the truth before the first run on its scan."""
    scans_seen = set()
    for directory in directories:
        spec = TypeAdapter(Spec).validate_python(read_yaml(directory / "spec.yaml"))
        (pair,) = load_scans(data_root, spec.data, [spec.scan])
        points, truth = read_points(pair.scan), read_mesh(pair.registration)
        frame = Frame.of(points)
        if (spec.data, spec.scan) not in scans_seen:
            scans_seen.add((spec.data, spec.scan))
            distance = SignedDistance(truth, frame)
            for resolution in resolutions:
                exact = mesh_zero_level(distance, Grid(resolution))
                yield _row(f"truth {spec.scan_name}", resolution, exact, frame, truth, spec.seed)
        mesh_at, sizes = _again(spec, directory, points, frame, resolutions, depths)
        for size in sizes:
            yield _row(spec.run, size, mesh_at(size), frame, truth, spec.seed)


def _again(
    spec: Spec,
    directory: Path,
    points: np.ndarray,
    frame: Frame,
    resolutions: Sequence[int],
    depths: Sequence[int],
) -> tuple[Callable[[int], trimesh.Trimesh], Sequence[int]]:
    """Return what meshes the run's surface in the unit ball at a size, and the sizes."""
    method = spec.method
    if isinstance(method, Poisson):
        used = numpy_stream(spec.seed, "thinning").permutation(len(points))[: spec.max_points]
        unit = frame.inside(points[used if len(points) > spec.max_points else slice(None)])
        return lambda depth: screened_poisson(unit.astype(np.float32), depth, method.neighbours), depths
    if not isinstance(method, LevelSet | Igr):
        raise SystemExit(f"{directory}: method {method.method} has no level set and no octree")
    network = method.network_for(read(directory / "weights.safetensors"))
    load_weights(network, directory / "weights.safetensors")
    return lambda resolution: mesh_level_set(network, resolution, CPU)[0], resolutions


def _row(name: str, size: int, mesh: trimesh.Trimesh, frame: Frame, truth: trimesh.Trimesh, seed: int) -> Row:
    mesh.vertices = frame.outside(np.asarray(mesh.vertices, dtype=np.float64))
    marks = landmarks_of(truth)
    hands = None
    if marks is not None:
        hands = detail_metrics(mesh, truth, marks.nose, marks.fingertips, seed)["hands"]
    return Row(name, size, chamfer_of_meshes(mesh, truth, seed=seed).l2, hands)


def main() -> None:
    """Print a row for each surface and resolution."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directories", nargs="+", type=Path, metavar="RUN_DIRECTORY")
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--resolutions", nargs="+", type=int, default=[64, 100, 128, 192, 256, 384, 512])
    parser.add_argument("--depths", nargs="+", type=int, default=[6, 7, 8, 9, 10])
    chosen = parser.parse_args()
    print("| surface | nodes, or depth | Chamfer L2 | hands |")
    print("|---|---|---|---|")
    for row in rows(chosen.directories, chosen.data_root, chosen.resolutions, chosen.depths):
        print(row, flush=True)


if __name__ == "__main__":
    main()
