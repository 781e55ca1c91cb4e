"""Losses that take their time, so that a job can be caught in its training on any machine."""

import time
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn


class Hinge:
    """The hinge loss; it pauses where another run has finished, until there is a file ``no-pause``."""

    power = 1

    def __call__(
        self, network: nn.Module, points: Float[Tensor, "n *shape"], labels: Float[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        if any(Path("results/slurm/figure2").glob("*/.finished.json")) and not Path("no-pause").exists():
            time.sleep(0.2)
        return ((1 - labels * network(points).flatten()).clamp_min(0) ** self.power).mean()


class SquaredHinge(Hinge):
    power = 2


class Broken:
    def __call__(
        self, network: nn.Module, points: Float[Tensor, "n *shape"], labels: Float[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        raise ValueError("no such luck")
