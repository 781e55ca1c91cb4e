"""Losses that take their time, so that a job can be caught in its training on any machine."""

import os
import time

from jaxtyping import Float
from torch import Tensor, nn


class Hinge:
    """The hinge loss, after a pause of ``NLS_TEST_PAUSE`` seconds (default: none)."""

    power = 1

    def __call__(
        self, network: nn.Module, points: Float[Tensor, "n *shape"], labels: Float[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        time.sleep(float(os.environ.get("NLS_TEST_PAUSE", "0")))
        return ((1 - labels * network(points).flatten()).clamp_min(0) ** self.power).mean()


class SquaredHinge(Hinge):
    power = 2


class Broken:
    def __call__(
        self, network: nn.Module, points: Float[Tensor, "n *shape"], labels: Float[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        raise ValueError("no such luck")
