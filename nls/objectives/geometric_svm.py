"""The geometric SVM loss (Section 3.1, Eq. 11)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nls.levelset import SampleNetwork, project
from nls.objectives.boundary_distance import Norm, distance


class GeometricSVM:
    """``mean max(0, 1 − sign(y F(x)) d(x, p₀)/Δ) + λ mean Δ^α`` with ``Δ = min(d(p₀, p₋₁), d(p₀, p₁))``.

    ``p₀`` is the projection of x on the level set F = 0, ``p_t`` the projection of ``p₀`` on F = t, all three
    functions of θ through the sample network. For an affine F, α = −2 and d = L2 this is the soft-margin SVM.

    Where a projection does not converge, or lands farther away than the data extend, the distances say nothing
    about the boundary between the samples: a flat network early in training has its level sets outside the
    data, λ Δ^α then rewards making it flatter, and once the boundary has left the data no gradient brings it
    back. Such a sample takes the output-space hinge ``max(0, 1 − y F(x))``, which is what the first term is for
    an affine F (``d(x, p₀)/Δ = |F(x)|``), and no second term. The share of such samples since the construction
    is ``fallback_share``.

    Args:
        regularization: λ.
        alpha: α; −1 in the paper's experiments.
        norm: of the distance d; L∞ in the paper's experiments.
        radius: largest believed distance, in units of d; 1 is the L∞ diameter of images in [0, 1].
        tolerance: a projection on level t counts if ``|F(p_t) − t|`` is within it.
        max_iterations: Newton steps of a projection.
    """

    def __init__(
        self,
        regularization: float = 0.01,
        alpha: float = -1.0,
        norm: Norm = "linf",
        radius: float = 1.0,
        tolerance: float = 1e-3,
        max_iterations: int = 15,
    ) -> None:
        self.regularization = regularization
        self.alpha = alpha
        self.norm: Norm = norm
        self.radius = radius
        self.tolerance = tolerance
        self.max_iterations = max_iterations
        self._samples = 0
        self._fallbacks = 0

    @property
    def fallback_share(self) -> float:
        """Share of the samples so far that took the output-space hinge."""
        return self._fallbacks / max(self._samples, 1)

    def state_dict(self) -> dict[str, int]:
        """Return the counts behind ``fallback_share``, for checkpoints."""
        return {"samples": self._samples, "fallbacks": self._fallbacks}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Put the counts back."""
        self._samples, self._fallbacks = state["samples"], state["fallbacks"]

    def __call__(
        self, network: nn.Module, points: Float[Tensor, "n *shape"], labels: Float[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch; labels are −1 and +1, the network is scalar."""
        p_zero, p_minus, p_plus, sampled = self._level_samples(network, points)
        x, y = points[sampled], labels[sampled]
        delta = torch.minimum(distance(p_zero, p_minus, self.norm), distance(p_zero, p_plus, self.norm))
        margin = labels * network(points).flatten()
        geometric = 1 - torch.sign(margin[sampled].detach()) * distance(x, p_zero, self.norm) / delta
        output = 1 - margin[~sampled]
        self._samples += len(y) + len(output)
        self._fallbacks += len(output)
        hinge = torch.cat([geometric, output]).clamp_min(0).mean()
        return hinge + self.regularization * (delta**self.alpha).sum() / len(points)

    def _level_samples(self, network: nn.Module, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return ``p₀(θ), p₋₁(θ), p₁(θ)`` of the samples that have all three, and which samples these are."""
        zero = project(network, points, 0.0, tolerance=self.tolerance, max_iterations=self.max_iterations)
        levels = torch.ones_like(zero.levels)
        both = project(
            network,
            torch.cat([zero.points, zero.points]),
            torch.cat([-levels, levels]),
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )
        p_minus, p_plus = both.points.tensor_split(2)
        delta = torch.minimum(
            distance(zero.points, p_minus, self.norm), distance(zero.points, p_plus, self.norm)
        )
        away = distance(points, zero.points, self.norm)
        converged = zero.converged & both.converged.reshape(2, -1).all(dim=0)
        # A sample on the boundary itself (away = 0) has no direction in which its distance grows.
        sampled = converged & (away > 0) & (away <= self.radius) & (delta <= self.radius)
        three = torch.cat([sampled, sampled, sampled])
        samples = SampleNetwork(
            network,
            torch.cat([zero.points, both.points])[three],
            torch.cat([zero.levels, both.levels])[three],
            torch.cat([zero.jacobian, both.jacobian])[three],
        )()
        p_zero, p_minus, p_plus = samples.tensor_split(3)
        return p_zero, p_minus, p_plus, sampled
