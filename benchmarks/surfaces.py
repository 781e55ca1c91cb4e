"""A training step of surface reconstruction, the Chamfer distance and meshing, each against plain code with SciPy.

The plain step (Eq. 13) moves all its points in every Newton iteration and asks ``scipy.spatial.cKDTree`` for nearest
points. Both start from the same weights and train; the means of their losses are compared, since each draws its own
samples.
"""

from collections.abc import Iterator
from copy import deepcopy

import numpy as np
import torch
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from benchmarks.inputs import scan
from benchmarks.rows import Growth, Row, growth_of, operations, peak_rate, taking_turns
from nls.geometry.meshing import mesh_zero_level
from nls.geometry.metrics import chamfer
from nls.geometry.octree import Grid
from nls.networks.implicit import ImplicitMLP
from nls.reconstruction.levelset import Sampling, level_set_loss
from nls.reconstruction.training import Training, make_optimizers

WIDTH, DEPTH, BATCH = 256, 4, 2000
CPU = torch.device("cpu")


def rows(quick: bool, device: torch.device) -> Iterator[Row]:
    points = scan(30_000 if quick else 100_000, device)
    network = _network(device)
    warm_up = Step(network, points)
    for _ in range(30 if quick else 150):
        warm_up()
    yield _step(network, points, device, 5 if quick else 20)
    yield _chamfer()
    yield _meshing(network, device, 64 if quick else 128)


class Step:
    """A training step as ``nls reconstruct`` takes it."""

    def __init__(self, network, points, batch=BATCH):
        self.network, self.points, self.batch = network, points, batch
        self.loss_of = level_set_loss(Sampling(), network, points)
        self.optimizers = make_optimizers(network, Training(learning_rate=1e-3))
        self.draws = torch.Generator(points.device).manual_seed(0)
        self.losses = []

    def __call__(self):
        chosen = torch.randint(
            len(self.points), (self.batch,), generator=self.draws, device=self.points.device
        )
        loss = self.loss(self.points[chosen])
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        self.losses.append(loss.detach())

    def loss(self, batch):
        return self.loss_of(batch, self.draws)[0]


class PlainStep(Step):
    """The same step as one would first write it, with the settings of ``Sampling``."""

    def __init__(self, network, points):
        super().__init__(network, points)
        self.tree = cKDTree(points.cpu().numpy())

    def loss(self, batch):
        half, quarter = len(batch) // 2, len(batch) // 4
        moved = round(0.8 * half)
        near = batch[:moved] + 0.1 * torch.randn_like(batch[:moved])
        uniform = 1.1 * (2 * torch.rand_like(batch[moved:half]) - 1)
        others = batch[half:].clone()
        others[:quarter] += 0.01 * torch.randn_like(others[:quarter])
        others[quarter:] += 0.2 * torch.randn_like(others[quarter:])
        seeds = torch.cat([near, uniform])
        for _ in range(10):
            values, gradient = self._evaluate(seeds)
            seeds = seeds - values * gradient / gradient.square().sum(dim=1, keepdim=True)
        points = torch.cat([seeds, others])
        levels, gradient = self._evaluate(points)
        direction = gradient / gradient.square().sum(dim=1, keepdim=True)
        samples = points - direction * (self.network(points).reshape(-1, 1) - levels)
        _, nearest = self.tree.query(samples.detach().cpu().numpy())
        distance = (samples - self.points[torch.as_tensor(nearest, device=points.device)]).norm(dim=1)
        error = (distance - levels[:, 0].abs()).abs()
        return error[:half].mean() + error[half:].mean() + 3 * self.network(batch).abs().mean()

    def _evaluate(self, points):
        points = points.detach().requires_grad_(True)
        values = self.network(points).reshape(-1, 1)
        (gradient,) = torch.autograd.grad(values.sum(), points)
        return values.detach(), gradient


def _network(device, width=WIDTH, depth=DEPTH):
    torch.manual_seed(0)
    return ImplicitMLP(width, depth).to(device)


def _step(network, points, device, steps):
    ours, plain = Step(deepcopy(network), points), PlainStep(deepcopy(network), points)
    ours()
    plain()
    mine, other = taking_turns(ours, plain, device, steps)
    first, second = (float(torch.stack(step.losses).mean()) for step in (ours, plain))
    share = operations(ours) / mine / peak_rate(device)
    return Row(
        f"surface step, MLP {DEPTH} × {WIDTH}, {BATCH} of {len(points)} points", mine,
        "plain step with scipy.spatial.cKDTree", other, share,
        f"mean loss of {steps + 1} steps: {first:.4f} and {second:.4f}", abs(first - second) < 0.1 * second,
    )  # fmt: skip


def _chamfer():
    first, second = scan(60_000, CPU).double().numpy().reshape(2, 30_000, 3)
    found = {}

    def ours():
        distance = chamfer(first, second)
        found["ours"] = distance.l1, distance.l2

    def theirs():
        trees = cKDTree(first), cKDTree(second)
        found["theirs"] = tuple(
            (trees[0].query(second, p=p)[0].mean() + trees[1].query(first, p=p)[0].mean()) / 2 for p in (1, 2)
        )

    ours()
    mine, other = taking_turns(ours, theirs, CPU)
    return Row(
        "Chamfer L1 and L2, 30,000 against 30,000 points", mine, "scipy.spatial.cKDTree", other, None,
        f"L2 {found['ours'][1]:.6f} and {found['theirs'][1]:.6f}",
        np.allclose(found["ours"], found["theirs"], rtol=1e-9),
    )  # fmt: skip


def _meshing(network, device, resolution):
    found = {}

    def ours():
        found["ours"] = len(mesh_zero_level(network, Grid(resolution), device).faces)

    @torch.no_grad()
    def theirs():
        axis = torch.linspace(-1.1, 1.1, resolution, device=device)
        blocks = torch.cartesian_prod(axis, axis, axis).split(100_000)
        values = torch.cat([network(block).flatten() for block in blocks]).reshape([resolution] * 3)
        found["theirs"] = len(marching_cubes(values.cpu().numpy(), 0.0)[1])

    mine, other = taking_turns(ours, theirs, device, 1)
    return Row(
        f"meshing at {resolution}³", mine, "every node, then skimage.measure.marching_cubes", other, None,
        f"faces: {found['ours']} and {found['theirs']}",
        abs(found["ours"] - found["theirs"]) <= 0.01 * found["theirs"],
    )  # fmt: skip


def growth(quick: bool, device: torch.device) -> Iterator[Growth]:
    clouds = (10_000, 30_000, 100_000) if quick else (10_000, 30_000, 100_000, 300_000)
    yield growth_of(
        "surface step, MLP 4 × 64", "points of the cloud", clouds,
        lambda count: Step(_network(device, 64), scan(count, device)), device,
    )  # fmt: skip
    widths = (64, 128, 256) if quick else (64, 128, 256, 512)
    points = scan(10_000, device)
    yield growth_of(
        "surface step, MLP of 4 layers", "width", widths,
        lambda width: Step(_network(device, width), points), device,
    )  # fmt: skip
