"""The geometric SVM loss (Section 3.1, Eq. 11)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nls.attacks import Norm
from nls.levelset import (
    Field,
    SampleNetwork,
    Tape,
    as_column,
    members,
    project,
    rows_where,
    values_and_jacobian,
    values_of,
)
from nls.objectives.binary import by_member
from nls.objectives.boundary_distance import distance
from nls.objectives.settings import BelowHalf, Count, NotNegative, Positive

_Places = Callable[[Tensor], tuple[Tensor, ...]]


class GeometricSVM:
    """``mean max(0, 1 − sign(y F(x)) d(x, p₀)/Δ) + λ mean Δ^α`` with ``Δ = min(d(p₀, p₋₁), d(p₀, p₁))``.

    ``p₀`` is the projection of x on the level set F = 0, ``p_t`` the projection of ``p₀`` on F = t, all three
    functions of θ through the sample network. For an affine F, α = −2 and d = L2 this is the soft-margin SVM.

    Where a projection does not converge, or lands farther away than the data extend, the distances say nothing
    about the boundary between the samples: a flat network early in training has its level sets outside the
    data, λ Δ^α then rewards making it flatter, and once the boundary has left the data no gradient brings it
    back. Such a sample takes the output-space hinge ``max(0, 1 − y F(x))``, which is what the first term is for
    an affine F (``d(x, p₀)/Δ = |F(x)|``), and no second term. The share of such samples since the construction
    is ``fallback_share``; of each member of an ensemble, ``fallback_shares``.

    Args:
        regularization: λ.
        alpha: α; −1 in the paper's experiments.
        norm: of the distance d; L∞ in the paper's experiments.
        radius: largest believed distance, in units of d; 1 is the L∞ diameter of images in [0, 1].
        tolerance: a projection on level t counts if ``|F(p_t) − t|`` is within it.
        max_iterations: Newton steps of a projection.

    Raises:
        ValueError: the tolerance is so large that p₀ would count as a point of the levels ±1.
    """

    def __init__(
        self,
        regularization: NotNegative = 0.01,
        alpha: float = -1.0,
        norm: Norm = "linf",
        radius: Positive = 1.0,
        tolerance: BelowHalf = 1e-3,
        max_iterations: Count = 15,
    ) -> None:
        if not tolerance < 0.5:
            raise ValueError(f"tolerance must be below 0.5, not {tolerance}")
        self.regularization = regularization
        self.alpha = alpha
        self.norm: Norm = norm
        self.radius = radius
        self.tolerance = tolerance
        self.max_iterations = max_iterations
        self._samples = 0
        self._fallbacks = torch.zeros((), dtype=torch.int64)

    @property
    def fallback_share(self) -> float:
        """Share of the samples so far that took the output-space hinge."""
        return sum(self.fallback_shares) / len(self.fallback_shares)

    @property
    def fallback_shares(self) -> list[float]:
        """The same of each member; of a single network, one number."""
        return [count / max(self._samples, 1) for count in self._fallbacks.reshape(-1).tolist()]

    def state_dict(self) -> dict[str, int | Tensor]:
        """Return the counts behind ``fallback_share``, for checkpoints."""
        return {"samples": self._samples, "fallbacks": self._fallbacks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put the counts back."""
        self._samples, self._fallbacks = state["samples"], torch.as_tensor(state["fallbacks"])

    def __call__(
        self, network: nn.Module, points: Float[Tensor, "n *shape"], labels: Float[Tensor, " n"]
    ) -> Float[Tensor, "*k"]:
        """Return the loss of a batch; labels are −1 and +1, the network is scalar."""
        field, places = _with_places(network, points)
        everyone = torch.arange(len(points), device=points.device)
        values, jacobian = values_and_jacobian(field, points, places(everyone))
        p_zero, p_near, rows, sampled = self._level_samples(field, places, points, values, jacobian)
        delta = torch.where(sampled[rows], distance(p_zero, p_near, self.norm), 1)
        side = torch.sign(labels * values[:, 0])[rows]
        geometric = (1 - side * distance(points[rows], p_zero, self.norm) / delta).clamp_min(0)
        geometric = geometric + self.regularization * delta**self.alpha
        others = rows_where(~sampled, members(network))
        outputs = values_of(field, points[others], places(others))
        output = (1 - labels[others] * outputs.flatten()).clamp_min(0)
        samples = len(points) // members(network)
        self._samples += samples
        before = torch.as_tensor(self._fallbacks, device=points.device)
        self._fallbacks = before + by_member(network, ~sampled).sum(dim=0)
        return (
            by_member(network, torch.where(sampled[rows], geometric, 0)).sum(dim=0)
            + by_member(network, torch.where(sampled[others], 0, output)).sum(dim=0)
        ) / samples

    def _level_samples(
        self, field: Field, places: _Places, points: Tensor, values: Tensor, jacobian: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return ``p₀(θ)`` and the nearer of ``p₋₁(θ)``, ``p₁(θ)`` in some rows, these rows, and who has all three.

        ``values`` and ``jacobian`` are those of the points. Only the nearer of the two decides Δ, so only that one
        needs a graph.
        """
        reach = partial(project, field, tolerance=self.tolerance, max_iterations=self.max_iterations)
        count = len(points)
        everyone = torch.arange(count, device=points.device)
        zero = reach(points, 0.0, known=(values, jacobian), context=places(count + everyone))
        away = distance(points, zero.points, self.norm)
        # A sample on the boundary itself (away = 0) has no direction in which its distance grows.
        sampled = zero.converged & (away > 0) & (away <= self.radius)

        rows = rows_where(sampled, members(field))
        origin, level, slope = zero.points[rows], zero.levels[rows], zero.jacobian[rows]
        ones = torch.ones_like(level)
        both = reach(
            torch.cat([origin, origin]),
            torch.cat([-ones, ones]),
            known=(torch.cat([level, level]), torch.cat([slope, slope])),
            context=places(torch.cat([2 * count + rows, 3 * count + rows])),
        )
        apart = distance(torch.cat([origin, origin]), both.points, self.norm).reshape(2, -1)
        complete = both.converged.reshape(2, -1).all(dim=0) & (apart.amin(dim=0) <= self.radius)
        sampled = sampled.index_put((rows,), sampled[rows] & complete)

        kept = rows_where(complete, members(field))
        rows, side = rows[kept], apart.argmin(dim=0)[kept]
        nearer = side * len(complete) + kept
        # A row without samples holds the point itself and no derivative, so that nothing undefined enters the graph.
        held, still = as_column(sampled[rows], points), torch.zeros_like(slope[:1])
        samples = SampleNetwork(
            field,
            torch.cat(
                [torch.where(held, found, points[rows]) for found in (origin[kept], both.points[nearer])]
            ),
            torch.cat([level[kept], both.levels[nearer]]),
            torch.cat(
                [torch.where(held[:, None], found, still) for found in (slope[kept], both.jacobian[nearer])]
            ),
            places(
                torch.cat(
                    [
                        torch.where(sampled[rows], place * count + rows, rows)
                        for place in (torch.ones_like(side), 2 + side)
                    ]
                )
            ),
        )()
        p_zero, p_near = samples.tensor_split(2)
        return p_zero, p_near, rows, sampled


def _with_places(network: nn.Module, points: Tensor) -> tuple[Field, _Places]:
    """Return the field that is evaluated, and its context where it remembers what has been evaluated.

    On a CPU that is a :class:`~nls.levelset.Tape` if the network allows it. Of sample i of n, the evaluations of the
    sample itself, p₀, p₋₁ and p₁ are at its places i, n + i, 2n + i and 3n + i.
    """
    traceable = getattr(network, "traceable", None)
    if points.device.type == "cpu" and traceable is not None:
        return Tape(traceable(), 4 * len(points)), lambda places: (places,)
    return network, lambda places: ()
