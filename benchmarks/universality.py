"""Theorem 1's networks: sparse layers against dense ones, and what a mesh costs as its faces grow.

    python -m benchmarks.universality MESH.ply|bunny|bunny-FACES [--points 20000] [--million]

builds the network of a mesh by ``nls represent`` in a process of its own and prints its seconds and peak memory;
reads the file, and compares the signs of points spread around and near the surface with winding numbers, which know
nothing of the construction; with ``--million``, evaluates a million points and prints seconds and memory. ``bunny``
is the Stanford bunny that the package pymeshfix carries (``pip install pymeshfix``; 99,785 faces with holes), closed
by that package: 101,754 faces, or as many as are asked for after decimation by pymeshlab.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import trimesh

from benchmarks.rows import Growth, Row, growth_of, peak_megabytes, peak_rate, taking_turns
from nls.universality import Hypersurface, evaluate, load_network, load_solid, represent, shape
from nls.universality.checks import check_signs
from nls.universality.shapes import torus

CPU = torch.device("cpu")


def rows(quick: bool, device: torch.device) -> Iterator[Row]:
    surface = shape("body_with_cavity") if quick else torus(40, 20)
    network = represent(surface).to(device)
    dense = network.dense()
    points = _around(surface, 20_000 if quick else 100_000).to(device)
    found = {}

    def ours():
        found["ours"] = evaluate(network, points)

    def theirs():
        found["theirs"] = evaluate(dense, points)

    evaluate(network, points[:1000])
    evaluate(dense, points[:1000])
    mine, other = taking_turns(ours, theirs, device, 1 if quick else 3)
    work = 2 * network.nonzeros * len(points)
    gap = float((found["ours"] - found["theirs"]).abs().max())
    yield Row(
        f"Theorem 1, {len(surface.facets)} faces, {len(points):,} points in float64", mine,
        "the same of torch.nn.Linear", other, work / mine / peak_rate(device),
        f"values differ by at most {gap:.0e}", gap < 1e-12,
    )  # fmt: skip


def growth(quick: bool, device: torch.device) -> Iterator[Growth]:
    sections = (20, 28, 40) if quick else (20, 28, 40, 56, 80)
    surfaces = {len(surface.facets): surface for surface in (torus(s, s // 2) for s in sections)}
    yield growth_of(
        "building the network of a torus", "faces", tuple(surfaces),
        lambda faces: lambda: represent(surfaces[faces]), CPU,
    )  # fmt: skip


def _around(surface: Hypersurface, count: int) -> torch.Tensor:
    low, high = surface.vertices.min(axis=0), surface.vertices.max(axis=0)
    return torch.from_numpy(np.random.default_rng(0).uniform(low, high, (count, surface.dimension)))


def measure_mesh(mesh: Path, points: int, million: bool) -> dict[str, float | str | None]:
    """Build, read back and check the network of a mesh file; see the head of this file."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "net.safetensors"
        start = time.perf_counter()
        child = os.posix_spawnp(
            sys.executable,
            [sys.executable, "-m", "nls", "represent", str(mesh), "-o", str(out)],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)],
        )
        _, status, usage = os.wait4(child, 0)
        wall = time.perf_counter() - start
        if status != 0:
            raise SystemExit(os.waitstatus_to_exitcode(status))
        network = load_network(out)
        size = out.stat().st_size
    numbers: dict[str, float | str | None] = {
        "mesh": mesh.name,
        "neurons": network.neurons,
        "hidden_layers": network.depth,
        "weights": network.nonzeros,
        "file_megabytes": size / 1e6,
        "seconds": wall,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        # Linux counts in KiB, macOS in bytes.
        "peak_gigabytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9,
    }
    surface = load_solid(mesh).surface
    numbers |= check_signs(network, surface, points)
    if million:
        batch = _around(surface, 1_000_000)
        start = time.perf_counter()
        numbers["million_points_megabytes"] = peak_megabytes(lambda: evaluate(network, batch), CPU)
        numbers["million_points_seconds"] = time.perf_counter() - start
    return numbers


def bunny(faces: int | None, out: Path) -> None:
    """Write the closed bunny as PLY, decimated if a number of faces is given."""
    import pymeshfix
    import pymeshlab

    meshes = pymeshlab.MeshSet()
    scan = trimesh.load_mesh(
        Path(pymeshfix.__file__).parent / "examples" / "StanfordBunny.ply", process=False
    )
    closed = pymeshfix.MeshFix(np.asarray(scan.vertices), np.asarray(scan.faces))
    closed.repair()
    mesh = trimesh.Trimesh(closed.points, closed.faces, process=False)
    if faces is not None:
        meshes.add_mesh(pymeshlab.Mesh(mesh.vertices, mesh.faces))
        meshes.meshing_decimation_quadric_edge_collapse(
            targetfacenum=faces,
            qualitythr=0.5,
            preservetopology=True,
            preservenormal=True,
            planarquadric=True,
        )
        decimated = meshes.current_mesh()
        mesh = trimesh.Trimesh(decimated.vertex_matrix(), decimated.face_matrix(), process=False)
    mesh.export(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mesh", help="a file, bunny, or bunny-FACES")
    parser.add_argument("--points", type=int, default=20_000, help="points whose signs are compared")
    parser.add_argument("--million", action="store_true", help="evaluate a million points too")
    chosen = parser.parse_args()
    name, _, faces = chosen.mesh.partition("-")
    with tempfile.TemporaryDirectory() as folder:
        mesh = Path(chosen.mesh)
        if name == "bunny" and (faces.isdigit() or not faces):
            mesh = Path(folder) / f"{chosen.mesh}.ply"
            bunny(int(faces) if faces else None, mesh)
        print(json.dumps(measure_mesh(mesh, chosen.points, chosen.million), indent=2))


if __name__ == "__main__":
    main()
