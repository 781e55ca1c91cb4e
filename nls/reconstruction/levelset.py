"""The level set of Section 3.3: a network trained by Eq. 13, meshed by marching cubes."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from nls.engine.optimizers import SGD
from nls.engine.settings import Settings
from nls.geometry.neighbours import Neighbours, noise, spacing
from nls.networks.detail import DetailedMLP
from nls.networks.implicit import ImplicitMLP
from nls.objectives.reconstruction import ReconstructionLoss
from nls.reconstruction.session import SurfaceSession
from nls.reconstruction.surface import Surface, trained_surface
from nls.reconstruction.training import Loss, Scheduled, Training, make_optimizers, rate_factor


class Sampling(Settings):
    """Samples and weights of Eq. 13."""

    fit_weight: float = Field(3.0, ge=0, description="λ")
    power: float = Field(1.0, gt=0, description="p")
    seed_sigma: float = Field(0.1, ge=0, description="noise of the seeds of the zero level, unit ball")
    uniform_share: float = Field(
        0.2, ge=0, le=1, description="part of the seeds that is uniform in [−1.1, 1.1]³"
    )
    level_sigmas: list[Annotated[float, Field(ge=0)]] = Field(
        [0.01, 0.2], description="noise of the samples of other levels; an empty list stands for T = {0}"
    )
    newton_iterations: int = Field(10, ge=0, description="the most Newton steps of a seed")
    newton_tolerance: float = Field(1e-3, gt=0, description="largest |F| of a converged sample")


class Detail(Settings):
    """Grids of corrections near the cloud, let in from coarse to fine once the MLP has settled.

    On a body that is none of Table 2's, the mean error of the hands is 0.8 mm, screened Poisson's 2.6. Grids under
    Adam left 80 pieces there, and under SGD 4, most of them specks (trials: docs/surfaces.md). Adam divides a
    gradient by its size, so a node that one sample in fifty steps touches moves as far for it as others for fifty.
    """

    cells: list[Annotated[float, Field(gt=0)]] = Field(
        [6.0, 3.0, 1.5],
        description="widths of the grids' cells, in spacings of the points, more where they are noisy; an empty "
        "list: no grids",
    )
    noise_factor: float = Field(
        4.0,
        ge=0,
        description="cells are in units of this × √(noise × spacing), if that is more than a spacing; at most two",
    )
    begin: float = Field(0.33, gt=0, lt=1, description="share of the steps before the first grid is let in")
    pause: float = Field(0.1, ge=0, lt=1, description="share of the steps from one grid to the next")
    ramp: float = Field(
        0.03, gt=0, le=1, description="share of the steps in which a grid's corrections grow in"
    )
    learning_rate: float = Field(0.03, gt=0, description="of the corrections, by SGD with momentum 0.9")
    weight_decay: float = Field(0.01, ge=0, description="of the corrections")
    mlp_rate: float = Field(0.1, ge=0, description="learning rate of the MLP beside the grids, in its own")
    sampling: Sampling = Sampling(seed_sigma=0.05, uniform_share=0.1, level_sigmas=[0.01, 0.03, 0.2])
    # Without these two the soles of a person, which no camera sees, are pulled up into the feet, and the toes fray.
    reach: float = Field(
        2.5,
        gt=0,
        description="with the grids, a sample whose foot on the surface is farther from the cloud, in spacings "
        "of the points, lies at a hole",
    )
    hole_weight: float = Field(0.1, ge=0, le=1, description="what the error of a sample at a hole counts")

    def shares(self, done: float) -> list[float]:
        """Return what share of its corrections every grid gives after a share of the steps."""
        starts = [self.begin + number * self.pause for number in range(len(self.cells))]
        return [min(1.0, max(0.0, (done - start) / self.ramp)) for start in starts]

    def widths(self, points: Float[Tensor, "n 3"], space: float) -> list[float]:
        """Return the widths of the grids' cells for points with a spacing.

        A cell of width w averages the noise σ of (w / spacing)² points, so noise tilts the surface by about
        σ·spacing / w². If w grows with √(σ·spacing), surfaces of clouds with little and much noise are as smooth.
        """
        unit = min(max(space, self.noise_factor * math.sqrt(noise(points) * space)), 2 * space)
        return [cell * unit for cell in self.cells]

    def optimizers(self, network: DetailedMLP, training: Training) -> list[Scheduled]:
        """Return those of the MLP, whose learning rate falls to its least before the grids open, and of the grids."""
        corrections = SGD(
            [network.corrections],
            self.learning_rate,
            momentum=0.9,
            nesterov=True,
            weight_decay=self.weight_decay,
        )

        def alone(done: float) -> float:
            return rate_factor(training.schedule, done / self.begin)

        def beside(done: float) -> float:
            return rate_factor(training.schedule, (done - self.begin) / (1 - self.begin))

        def of_mlp(done: float) -> float:
            return alone(done) if done < self.begin else self.mlp_rate * beside(done)

        return [
            *(Scheduled(optimizer, of_mlp) for optimizer in make_optimizers(network.mlp, training)),
            Scheduled(corrections, beside),
        ]


class LevelSet(Settings):
    """The method of Section 3.3."""

    method: Literal["levelset"] = "levelset"
    width: int = Field(128, ge=1, description="units of a hidden layer")
    depth: int = Field(4, ge=1, description="hidden layers")
    detail: Detail = Detail()
    training: Training = Training()
    # The third level keeps the MLP from leaving sheets in mid-air.
    sampling: Sampling = Sampling(uniform_share=0.3, level_sigmas=[0.01, 0.2, 0.5])

    def network_for(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """Return a network for the weights of a trained one.

        Raises:
            KeyError: they are those of another kind of network.
        """
        mlp = ImplicitMLP(self.width, self.depth)
        return DetailedMLP.fitting(weights, mlp) if self.detail.cells else mlp

    def surface(
        self, points: Float[Tensor, "n 3"], resolution: int, seed: int, session: SurfaceSession
    ) -> Surface:
        """Reconstruct; see :class:`SurfaceMethod`."""
        mlp = ImplicitMLP(self.width, self.depth).to(points.device)
        coarse = level_set_loss(self.sampling, mlp, points)
        if not self.detail.cells:
            return trained_surface(mlp, coarse, points, self.training, resolution, seed, session)
        space = spacing(points)
        network = DetailedMLP.around(points, self.detail.widths(points, space), mlp)
        reach, weight = self.detail.reach * space, self.detail.hole_weight
        fine = level_set_loss(self.detail.sampling, network, points, reach, weight)
        optimizers = self.detail.optimizers(network, self.training)

        def let_in(done: float) -> None:
            network.let_in(self.detail.shares(done))

        def loss(batch: Tensor, draws: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
            return (fine if network.open else coarse)(batch, draws)

        return trained_surface(
            network, loss, points, self.training, resolution, seed, session, let_in, optimizers
        )


# The settings of the authors' release.
LEVELSET_PAPER = LevelSet(
    width=512,
    depth=8,
    detail=Detail(cells=[]),
    training=Training(steps=50_000, batch=10_000, optimizer="adam", learning_rate=1e-4, schedule="constant"),
    sampling=Sampling(newton_tolerance=1e-5),
)


def level_set_loss(
    sampling: Sampling,
    network: nn.Module,
    points: Float[Tensor, "n d"],
    reach: float = math.inf,
    hole_weight: float = 1.0,
) -> Loss:
    """Return Eq. 13 for a network and a cloud, with ``reach`` and ``hole_weight`` of ReconstructionLoss."""
    objective = ReconstructionLoss(**sampling.model_dump(), reach=reach, hole_weight=hole_weight)
    cloud = Neighbours(points)

    def loss(batch: Tensor, draws: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        terms = objective(network, batch, cloud, draws)
        shown = {"zero": terms.zero, "others": terms.others, "fit": terms.fit, "converged": terms.converged}
        return objective.total(terms), shown

    return loss
