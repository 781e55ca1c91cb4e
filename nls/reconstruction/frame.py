"""The frame of reference in which every method sees its cloud."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Frame:
    """The map of a cloud's coordinates into the unit ball: ``(x − centre) / radius``."""

    centre: Float[np.ndarray, " d"]
    radius: float

    @classmethod
    def of(cls, points: Float[np.ndarray, "n d"]) -> "Frame":
        """Return the frame in which the cloud's box is centred and its farthest point has length 1."""
        centre = (points.min(axis=0) + points.max(axis=0)) / 2
        return cls(centre, float(np.linalg.norm(points - centre, axis=1).max()))

    def inside(self, points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Return points of the cloud's coordinates in the unit ball's."""
        return (points - self.centre) / self.radius

    def outside(self, points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Return points of the unit ball in the cloud's coordinates."""
        return points * self.radius + self.centre
