"""The sample network: points of a level set as differentiable functions of θ (Section 2.2, Eq. 9)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nls.levelset.dual_norm import StepNorm, least_step_inverse
from nls.levelset.fields import Field, values_of
from nls.levelset.newton import Projection


class SampleNetwork(nn.Module):
    """``p(θ) = p − J†[F(p; θ) − c]``: the field followed by one fixed linear layer.

    ``p``, ``J† = D_xF(p; θ₀)†`` and ``c`` are numbers, ``θ`` is live: the value at θ₀ is p, and the
    derivative there is ``−J† D_θF`` (Eq. 8), the motion of the level set along its normal.

    Args:
        field: the field; parameters of a module are the sample network's parameters.
        points: ``p``, ``(n, *shape)``.
        levels: ``c``, ``(n, l)``.
        jacobian: ``D_xF(p; θ₀)``, ``(n, l, *shape)``; points where it has lost its rank do not move with θ.
        context: further tensors of the field, one row a point.
        norm: in which the samples move as little as they can; L2, along the normal, in the paper. In another norm
            ``J†`` is :func:`least_step_inverse`.
    """

    points: Tensor
    levels: Tensor
    inverse: Tensor

    def __init__(
        self,
        field: Field,
        points: Float[Tensor, "n *shape"],
        levels: Float[Tensor, "n l"],
        jacobian: Float[Tensor, "n l *shape"],
        context: Sequence[Tensor] = (),
        norm: StepNorm = "l2",
    ) -> None:
        super().__init__()
        self.field = field
        self.context = tuple(context)
        self.register_buffer("points", points.detach())
        self.register_buffer("levels", levels.detach())
        self.register_buffer("inverse", least_step_inverse(jacobian.detach(), norm))

    @classmethod
    def of(cls, field: Field, projection: Projection, context: Sequence[Tensor] = ()) -> "SampleNetwork":
        """Build the sample network of projected points."""
        return cls(field, projection.points, projection.levels, projection.jacobian, context)

    def forward(self) -> Float[Tensor, "n *shape"]:
        """Return ``p(θ)``."""
        residual = values_of(self.field, self.points, self.context) - self.levels
        moved = torch.einsum("nld,nl->nd", self.inverse.flatten(2), residual)
        return self.points - moved.reshape(self.points.shape)
