"""The implicit network: an MLP ``F: R^d → R^l`` that starts as a sphere (Section 3.3)."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class ImplicitMLP(nn.Module):
    """A ReLU MLP whose every layer also sees the input.

    Layer i computes ``h_i = relu(W_i h_{i−1} + U_i x + b_i)``, which is the layer of a network that concatenates
    its input at every layer; the last one has no ReLU.

    Initially (SAL, Atzmon and Lipman 2020) the first output is about ``‖x‖ − radius`` and output k ≥ 1 is the
    coordinate ``x_{d−k}``, so that the zero level set of l outputs is a sphere of dimension d − l: a closed
    surface for l = 1, a closed curve for d = 3 and l = 2.

    Args:
        width: units of a hidden layer.
        depth: hidden layers.
        dimension: d.
        outputs: l, at most d.
        radius: radius of the initial sphere.
        activation: ``relu``, or ``softplus`` with β = 100, a smooth ReLU.

    Raises:
        ValueError: ``outputs`` exceeds ``dimension``, or a size is below 1.
    """

    def __init__(
        self,
        width: int = 512,
        depth: int = 8,
        dimension: int = 3,
        outputs: int = 1,
        radius: float = 1.0,
        activation: Literal["relu", "softplus"] = "relu",
    ) -> None:
        super().__init__()
        if min(width, depth, dimension, outputs) < 1 or outputs > dimension:
            raise ValueError(
                f"sizes must be positive and outputs at most dimension, not width {width}, depth {depth}, "
                f"dimension {dimension}, outputs {outputs}"
            )
        self.outputs = outputs
        self.activation = torch.relu_ if activation == "relu" else _smooth_relu
        self.first = nn.Linear(dimension, width)
        self.layers = nn.Sequential(*(_Layer(width, dimension, width) for _ in range(depth - 1)))
        self.last = _Layer(width, dimension, outputs)
        self._start_as_sphere(radius)

    @torch.no_grad()
    def _start_as_sphere(self, radius: float) -> None:
        width, dimension = self.first.weight.shape
        nn.init.zeros_(self.first.bias)
        nn.init.normal_(self.first.weight, std=math.sqrt(2 / width))
        # Units of the last hidden layer are about relu(N(0, 2‖x‖²/width)), of mean ‖x‖ / √(π width).
        nn.init.normal_(self.last.hidden.weight, std=1e-5)
        self.last.hidden.weight[0] += math.sqrt(math.pi / width)
        self.last.entry.bias[0] = -radius
        for output in range(1, self.outputs):
            self.last.entry.weight[output, dimension - output] = 1.0

    def forward(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n l"]:
        """Return the values of the points, ``(n,)`` where l = 1."""
        hidden = self.activation(self.first(points))
        for layer in self.layers:
            hidden = self.activation(layer(hidden, points))
        values = self.last(hidden, points)
        return values[:, 0] if self.outputs == 1 else values


class _Layer(nn.Module):
    """``W h + U x + b``, with W at He's initialisation, and U and b at zero."""

    def __init__(self, units: int, dimension: int, outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(units, outputs, bias=False)
        self.entry = nn.Linear(dimension, outputs)
        nn.init.normal_(self.hidden.weight, std=math.sqrt(2 / outputs))
        nn.init.zeros_(self.entry.weight)
        nn.init.zeros_(self.entry.bias)

    def forward(self, hidden: Tensor, points: Tensor) -> Tensor:
        return torch.addmm(self.entry(points), hidden, self.hidden.weight.T)


def _smooth_relu(values: Tensor) -> Tensor:
    return functional.softplus(values, beta=100)
