"""Keep the decision boundary away from the samples: Eq. 12 with the distance to the projected sample."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nls.attacks import Norm
from nls.levelset import SampleNetwork, project

ORDER: dict[Norm, float] = {"linf": torch.inf, "l2": 2.0}


def distance(a: Float[Tensor, "n *shape"], b: Float[Tensor, "n *shape"], norm: Norm) -> Float[Tensor, " n"]:
    """Return ``‖a − b‖`` sample by sample."""
    between = (a - b).flatten(1)
    if norm == "linf":  # vector_norm takes four times as long
        return between.abs().amax(dim=1)
    return torch.linalg.vector_norm(between, dim=1)


@dataclass(frozen=True)
class BoundaryDistance:
    """``mean max(0, ε − sign(y F(x)) d(x, S))`` for a scalar field, with d the distance to samples of S: F = 0.

    The projection of x need not be the boundary point nearest to x. So points around x are projected as well,
    and the sample p(θ) nearest to x stands for the boundary. Where no projection converges there is no boundary
    sample to move, and the output-space hinge ``max(0, 1 − y F(x))`` draws the boundary back.

    Attributes:
        eps: the wanted distance, in input units.
        norm: of the distance d.
        starts: points projected for each x: itself, and others uniform in the box of half-width 2ε around it.
        tolerance: a projection counts if ``|F(p)|`` is below it.
        max_iterations: Newton steps of a projection.
    """

    eps: float
    norm: Norm
    starts: int = 16
    tolerance: float = 1e-4
    max_iterations: int = 10

    def __call__(
        self, network: nn.Module, points: Float[Tensor, "n *shape"], labels: Float[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch; labels are −1 and +1."""
        copies = points.repeat(self.starts, *[1] * (points.dim() - 1))
        offsets = 2 * self.eps * (2 * torch.rand_like(copies) - 1)
        offsets[: len(points)] = 0
        found = project(
            network, copies + offsets, tolerance=self.tolerance, max_iterations=self.max_iterations
        )
        away = torch.where(found.converged, distance(copies, found.points, self.norm), torch.inf)
        nearest, copy = away.reshape(self.starts, -1).min(dim=0)
        row = copy * len(points) + torch.arange(len(points), device=points.device)
        sample = SampleNetwork(network, found.points[row], found.levels[row], found.jacobian[row])
        margin = labels * network(points).flatten()
        signed = torch.sign(margin.detach()) * distance(points, sample(), self.norm)
        return (
            torch.where(nearest.isfinite() & (nearest > 0), self.eps - signed, 1 - margin).clamp_min(0).mean()
        )
