"""A loss that takes its time, so that a job can be caught in its training on any machine."""

import os
import time

from jaxtyping import Float
from torch import Tensor, nn


class Paced:
    """The hinge loss, after a pause of ``NLS_TEST_PAUSE`` seconds (default: none); ``name`` tells runs apart."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(
        self, network: nn.Module, points: Float[Tensor, "n *shape"], labels: Float[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        time.sleep(float(os.environ.get("NLS_TEST_PAUSE", "0")))
        return (1 - labels * network(points).flatten()).clamp_min(0).mean()


class OutOfTime(Paced):
    """For the run that hits its time limit."""


class Cancelled(Paced):
    """For the run that is cancelled."""
