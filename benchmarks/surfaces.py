"""Speed of the surface reconstruction, as ratios within one run.

    nls data fetch bodies --root data
    python benchmarks/surfaces.py [--data-root data] [--threads 2] [--steps 20]

1. A training step (Eq. 13; 4 × 256, 2,000 points of a scan of 100K) against the machine's matrix product: floating
   point operations of the step's products over its time, as a share of the rate at which (2000 × 256)(256 × 256)
   products run, measured right before and after.
2. The same step against a plain implementation, which moves all points in every Newton iteration and takes nearest
   distances from torch.cdist with its gradient, from the same draws; the loss curves are printed.
3. Chamfer distance of 30K against 30K points.
4. Meshing at 256³: evaluations against a dense grid; at 512³: time and memory.

Process time is given beside wall time: on a shared machine it is the steadier of the two.
"""

import argparse
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from nls.data import load_scans, read_points
from nls.engine.seeds import torch_stream
from nls.geometry.files import read_mesh
from nls.geometry.meshing import mesh_zero_level
from nls.geometry.metrics import chamfer, sample_surface
from nls.geometry.neighbours import Neighbours
from nls.geometry.octree import Grid, sample_volume
from nls.levelset import SampleNetwork
from nls.levelset.newton import pseudo_inverse
from nls.networks.implicit import ImplicitMLP
from nls.objectives.reconstruction import ReconstructionLoss, Terms
from nls.reconstruction.frame import Frame

WIDTH, DEPTH, BATCH, POINTS = 256, 4, 2000, 100_000


class PlainLoss(ReconstructionLoss):
    """Eq. 13 as one would first write it."""

    def __call__(self, field, batch, cloud, generator):  # noqa: D102
        half = len(batch) // 2
        points = torch.cat([self._seeds(batch[:half], generator), self._around(batch[half:], generator)])
        values, jacobian = self._evaluate(field, points)
        for _ in range(self.newton_iterations):
            step = (pseudo_inverse(jacobian) * values[:, :, None])[:, 0]
            points = torch.cat([points[:half] - step[:half], points[half:]])
            values, jacobian = self._evaluate(field, points)
        samples = SampleNetwork(field, points, values, jacobian)()
        nearest = torch.cdist(samples, cloud.points).amin(dim=1)
        error = (nearest - values[:, 0].abs()).abs()
        converged = (values[:half].abs() < self.newton_tolerance).double().mean()
        return Terms(error[:half].mean(), error[half:].mean(), field(batch).abs().mean(), converged)

    @staticmethod
    def _evaluate(field, points):
        points = points.detach().requires_grad_(True)
        values = field(points)
        (gradient,) = torch.autograd.grad(values.sum(), points)
        return values.detach()[:, None], gradient[:, None]


class Operations(TorchDispatchMode):
    """Count the floating point operations of matrix products."""

    total = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        value = function(*arguments, **(options or {}))
        formula = flop_registry.get(function._overloadpacket)
        if formula is not None:
            self.total += formula(*arguments, **(options or {}), out_val=value)
        return value


def product_rate(repeats=60):
    """Return operations a second, by wall and by process time, of the products that a step is made of."""
    a, b = torch.randn(BATCH, WIDTH), torch.randn(WIDTH, WIDTH)
    times = []
    for _ in range(repeats):
        wall, process = time.perf_counter(), time.process_time()
        for _ in range(4):
            a @ b
        times.append((time.perf_counter() - wall, time.process_time() - process))
    return [4 * 2 * BATCH * WIDTH**2 / statistics.median(column) for column in zip(*times, strict=True)]


def train(objective, points, cloud, steps, rate=1e-3, before=None):
    """Train from the same start and draws; return losses, wall and process times, and operations of the steps."""
    torch.manual_seed(0)
    network = ImplicitMLP(WIDTH, DEPTH)
    if before is not None:
        network.load_state_dict(before)
    optimizer = torch.optim.Adam(network.parameters(), rate, fused=True)
    draws = torch_stream(0, "benchmark")
    losses, walls, processes, operations = [], [], [], []
    for step in range(steps):
        counter = Operations()
        # Counting slows a step down, so every fourth is counted and the others are timed.
        counted = step % 4 == 3
        wall, process = time.perf_counter(), time.process_time()
        with counter if counted else torch.enable_grad():
            batch = points[torch.randint(len(points), (BATCH,), generator=draws)]
            loss = objective.total(objective(network, batch, cloud, draws))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if counted:
            operations.append(counter.total)
        elif step:
            walls.append(time.perf_counter() - wall)
            processes.append(time.process_time() - process)
        losses.append(loss.item())
    return network, losses, statistics.median(walls), statistics.median(processes), operations


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--steps", type=int, default=20, help="steps that are compared with the plain program"
    )
    parser.add_argument(
        "--warm-up", type=int, default=150, help="steps before, so that the level set is a body's"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pair = load_scans(arguments.data_root, "bodies")[0]
    scan = read_points(pair.scan)
    scan = np.random.default_rng(0).permutation(Frame.of(scan).inside(scan))[:POINTS]
    points = torch.as_tensor(scan, dtype=torch.float32)
    cloud = Neighbours(points)
    print(f"{arguments.threads} threads, {len(points)} points, MLP {DEPTH} × {WIDTH}, batch {BATCH}")

    ours, plain = ReconstructionLoss(), PlainLoss()
    network, *_ = train(ours, points, cloud, arguments.warm_up)
    warm = network.state_dict()
    rate = product_rate()
    _, losses, wall, process, operations = train(ours, points, cloud, arguments.steps, 1e-4, warm)
    rate = [(before + after) / 2 for before, after in zip(rate, product_rate(), strict=True)]
    work = statistics.mean(operations)
    shares = work / wall / rate[0], work / process / rate[1]
    print(f"matrix product: {rate[0] / 1e9:.0f} GFLOP/s (process {rate[1] / 1e9:.0f})")
    print(
        f"step: {1e3 * wall:.0f} ms (process {1e3 * process:.0f} ms), {work / 1e9:.1f} GFLOP in its products"
    )
    print(f"share of the product rate: {shares[0]:.0%} (process {shares[1]:.0%})")
    _, plain_losses, plain_wall, plain_process, _ = train(plain, points, cloud, arguments.steps, 1e-4, warm)
    gap = max(abs(a - b) / b for a, b in zip(losses, plain_losses, strict=True))
    print(
        f"plain step: {1e3 * plain_wall:.0f} ms (process {1e3 * plain_process:.0f} ms); "
        f"ratio {plain_wall / wall:.1f} (process {plain_process / process:.1f})"
    )
    print(f"loss curves differ by at most {gap:.1%}: {losses[0]:.4f} … {losses[-1]:.4f}")

    mesh = read_mesh(pair.registration)
    first, second = (sample_surface(mesh, 30_000, seed)[0] for seed in (0, 1))
    times = []
    for _ in range(5):
        began = time.perf_counter()
        chamfer(first, second)
        times.append(time.perf_counter() - began)
    print(f"Chamfer L1 and L2 of 30K against 30K points: {statistics.median(times):.3f} s")

    volume = sample_volume(network, Grid(256))
    print(
        f"meshing at 256³: {volume.evaluations} evaluations, {256**3 / volume.evaluations:.0f} times fewer than dense"
    )
    # A process of its own, because the peak of this one was in the plain program.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        seconds, faces, peak = pool.submit(mesh_finely, warm, arguments.threads).result()
    print(
        f"meshing at 512³: {seconds:.1f} s, {faces} faces, {peak:.2f} GiB at the peak of a process of its own"
    )


def mesh_finely(weights, threads):
    """Mesh at 512³; return seconds, faces and the peak memory of the process in GiB."""
    torch.set_num_threads(threads)
    network = ImplicitMLP(WIDTH, DEPTH)
    network.load_state_dict(weights)
    began = time.perf_counter()
    faces = len(mesh_zero_level(network, Grid(512)).faces)
    # Not ru_maxrss, which starts at the size of the process that this one was started from.
    status = Path("/proc/self/status").read_text()
    (peak,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    return time.perf_counter() - began, faces, peak / 2**20


if __name__ == "__main__":
    main()
