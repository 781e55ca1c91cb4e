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
        self.entries = nn.ModuleList(nn.Linear(dimension, width) for _ in range(depth))
        self.layers = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(depth - 1))
        self.last_entry = nn.Linear(dimension, outputs)
        self.last = nn.Linear(width, outputs, bias=False)
        self._start_as_sphere(radius)

    @torch.no_grad()
    def _start_as_sphere(self, radius: float) -> None:
        first, *others = self.entries
        width, dimension = first.weight.shape
        for entry in (*others, self.last_entry):
            nn.init.zeros_(entry.weight)
            nn.init.zeros_(entry.bias)
        nn.init.zeros_(first.bias)
        for weight in (first.weight, *(layer.weight for layer in self.layers)):
            nn.init.normal_(weight, std=math.sqrt(2 / width))
        nn.init.normal_(self.last.weight, std=1e-5)
        # Units of the last hidden layer are about relu(N(0, 2‖x‖²/width)), of mean ‖x‖ / √(π width).
        self.last.weight[0] += math.sqrt(math.pi / width)
        self.last_entry.bias[0] = -radius
        for output in range(1, self.outputs):
            self.last_entry.weight[output, dimension - output] = 1.0

    def forward(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n l"]:
        """Return the values of the points, ``(n,)`` where l = 1."""
        hidden = self.activation(self.entries[0](points))
        for entry, layer in zip(self.entries[1:], self.layers, strict=True):
            hidden = self.activation(torch.addmm(entry(points), hidden, layer.weight.T))
        values = self.last_entry(points) + functional.linear(hidden, self.last.weight)
        return values[:, 0] if self.outputs == 1 else values


def _smooth_relu(values: Tensor) -> Tensor:
    return functional.softplus(values, beta=100)
