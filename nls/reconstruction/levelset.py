"""The level set of Section 3.3: a network trained by Eq. 13, meshed by marching cubes."""

from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from nls.engine.settings import Settings
from nls.geometry.meshing import mesh_zero_level
from nls.geometry.neighbours import Neighbours, spacing
from nls.geometry.octree import Grid
from nls.networks.detail import DetailedMLP
from nls.networks.implicit import ImplicitMLP
from nls.objectives.reconstruction import ReconstructionLoss
from nls.reconstruction.session import SurfaceSession
from nls.reconstruction.surface import Surface, eikonal_error
from nls.reconstruction.training import Loss, Training, fit


class Sampling(Settings):
    """Samples and weights of Eq. 13."""

    fit_weight: float = Field(3.0, ge=0, description="λ")
    power: float = Field(1.0, gt=0, description="p")
    seed_sigma: float = Field(0.1, ge=0, description="noise of the seeds of the zero level, unit ball")
    uniform_share: float = Field(
        0.2, ge=0, le=1, description="part of the seeds that is uniform in [−1.1, 1.1]³"
    )
    level_sigmas: list[float] = Field(
        [0.01, 0.2], description="noise of the samples of other levels; an empty list stands for T = {0}"
    )
    newton_iterations: int = Field(10, ge=0, description="the most Newton steps of a seed")
    newton_tolerance: float = Field(1e-3, gt=0, description="largest |F| of a converged sample")


class Detail(Settings):
    """Grids of features near the cloud, let in one after the other, from coarse to fine."""

    cells: list[float] = Field(
        [],
        description="widths of the grids' cells, in spacings of the points, such as 6, 3, 1.5; empty: no grids",
    )
    features: int = Field(4, ge=1, description="numbers that a grid gives")
    begin: float = Field(0.3, ge=0, lt=1, description="share of the steps before the first grid is let in")
    pause: float = Field(0.12, ge=0, lt=1, description="share of the steps from one grid to the next")
    ramp: float = Field(0.05, gt=0, le=1, description="share of the steps in which a grid's features grow in")

    def shares(self, done: float) -> list[float]:
        """Return what share of its features every grid gives after a share of the steps."""
        starts = [self.begin + number * self.pause for number in range(len(self.cells))]
        return [min(1.0, max(0.0, (done - start) / self.ramp)) for start in starts]


class LevelSet(Settings):
    """The method of Section 3.3."""

    method: Literal["levelset"] = "levelset"
    width: int = Field(256, ge=1, description="units of a hidden layer")
    depth: int = Field(4, ge=1, description="hidden layers")
    detail: Detail = Detail()
    training: Training = Training()
    sampling: Sampling = Sampling()

    def network(self) -> nn.Module:
        """Return a network without grids as it is before training; a saved one is put into it."""
        return ImplicitMLP(self.width, self.depth)

    def surface(
        self, points: Float[Tensor, "n 3"], resolution: int, seed: int, session: SurfaceSession
    ) -> Surface:
        """Reconstruct; see :class:`SurfaceMethod`."""
        network: nn.Module
        if self.detail.cells:
            cells = [cell * spacing(points) for cell in self.detail.cells]
            detailed = DetailedMLP(points, cells, self.width, self.depth, self.detail.features)
            network = detailed.to(points.device)
        else:
            network = self.network().to(points.device)

        def before_step(done: float) -> None:
            if isinstance(network, DetailedMLP):
                network.let_in(self.detail.shares(done))

        loss_of = level_set_loss(self.sampling, network, points)
        mesh = partial(mesh_zero_level, network, Grid(resolution), points.device)
        look = partial(session.look, mesh=mesh)
        figures = fit(network, loss_of, points, self.training, seed, session, look, before_step)
        figures["eikonal_error"] = eikonal_error(network, points, seed)
        return Surface(mesh(), network, figures)


# Nearer to hands and face than the default, but in several components: docs/surfaces.md has the trials. With more
# steps there are more of them. An MLP of this size is a quarter of the default's work; the grids give what it lacks.
LEVELSET_DETAIL = LevelSet(
    width=128,
    detail=Detail(cells=[6.0, 3.0, 1.5]),
    training=Training(steps=700),
    sampling=Sampling(uniform_share=0.3),
)
# The settings of the authors' release.
LEVELSET_PAPER = LevelSet(
    width=512,
    depth=8,
    training=Training(steps=50_000, batch=10_000, optimizer="adam", learning_rate=1e-4, schedule="constant"),
    sampling=Sampling(newton_tolerance=1e-5),
)


def level_set_loss(sampling: Sampling, network: nn.Module, points: Float[Tensor, "n d"]) -> Loss:
    """Return Eq. 13 for a network and a cloud."""
    objective = ReconstructionLoss(**sampling.model_dump())
    cloud = Neighbours(points)

    def loss(batch: Tensor, draws: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        terms = objective(network, batch, cloud, draws)
        shown = {"zero": terms.zero, "others": terms.others, "fit": terms.fit, "converged": terms.converged}
        return objective.total(terms), shown

    return loss
