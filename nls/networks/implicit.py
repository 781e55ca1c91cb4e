"""The implicit network: an MLP ``F: R^d → R^l`` that starts as a sphere (Section 3.3)."""

import itertools
import math
from typing import Any, Literal

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

    def live_values_and_jacobian(
        self, points: Float[Tensor, "n d"]
    ) -> tuple[Float[Tensor, "n l"], Float[Tensor, "n l d"]] | None:
        """Return what :func:`nls.levelset.fields.live_values_and_jacobian` does; None unless the units are ReLUs."""
        if self.activation is not torch.relu_:
            return None
        layers = [
            (layer.hidden.weight, layer.entry.weight, layer.entry.bias) for layer in (*self.layers, self.last)
        ]
        return evaluate(points.detach(), self.first.weight, self.first.bias, *itertools.chain(*layers))


def evaluate(
    entry: Float[Tensor, "n e"], *parameters: Tensor
) -> tuple[Float[Tensor, "n l"], Float[Tensor, "n l e"]]:
    """Return a ReLU network's values, with their graph, and their derivatives in its entry, without one.

    Args:
        entry: what every layer sees.
        parameters: ``U_0, b_0``, and ``W_i, U_i, b_i`` of every further layer.
    """
    values, jacobian = _Evaluation.apply(entry, *parameters)
    return values, jacobian


class _Evaluation(torch.autograd.Function):
    """F and ``D_x F`` of a ReLU network.

    The derivatives ``δ_i = ∂F/∂(W_i h_{i−1} + U_i x + b_i)`` that ``D_x F`` is made of are, times the derivative g
    of the loss in F, those that the parameters' gradients are made of, sample by sample:
    ``∂L/∂W_i = Σ_j g_j δ_ij h_{i−1,j}ᵀ``. So they are kept, and the network is gone through backwards once.
    """

    @staticmethod
    def forward(
        ctx: Any, points: Tensor, *parameters: Tensor
    ) -> tuple[Float[Tensor, "n l"], Float[Tensor, "n l d"]]:
        first, bias = parameters[:2]
        layers = list(zip(parameters[2::3], parameters[3::3], parameters[4::3], strict=True))
        hidden = [torch.addmm(bias, points, first.T).relu_()]
        for weight, entry, bias in layers:
            hidden.append(torch.addmm(bias, points, entry.T).addmm_(hidden[-1], weight.T))
            if len(hidden) <= len(layers):
                hidden[-1].relu_()
        values = hidden.pop()
        outputs = values.shape[1]
        identity = torch.eye(outputs, device=points.device, dtype=points.dtype)
        deltas = [identity[:, None].expand(outputs, len(points), outputs)]
        jacobian = points.new_zeros(outputs, *points.shape)
        for (weight, entry, _), units in zip(reversed(layers), reversed(hidden), strict=True):
            jacobian += deltas[-1] @ _by_column(entry)
            delta = deltas[-1] @ weight
            deltas.append(torch.ops.aten.threshold_backward(delta, units, 0, grad_input=delta))
        jacobian += deltas[-1] @ _by_column(first)
        jacobian = jacobian.transpose(0, 1)
        ctx.save_for_backward(points, jacobian, *hidden, *deltas)
        ctx.mark_non_differentiable(jacobian)
        return values, jacobian

    @staticmethod
    def backward(ctx: Any, slope: Float[Tensor, "n l"], _: Tensor) -> tuple[Tensor | None, ...]:
        points, jacobian, *kept = ctx.saved_tensors
        hidden, deltas = kept[: len(kept) // 2], kept[: len(kept) // 2 - 1 : -1]
        entries = torch.cat([points, points.new_ones(len(points), 1)], dim=1).T
        of_points = (slope[:, None] @ jacobian)[:, 0] if ctx.needs_input_grad[0] else None
        gradients: list[Tensor | None] = [of_points]
        for number, delta in enumerate(deltas):
            scaled = slope[:, :1] * delta[0]
            for output in range(1, len(delta)):
                scaled.addcmul_(slope[:, output : output + 1], delta[output])
            if number:
                gradients.append(scaled.T @ hidden[number - 1])
            entry = (entries @ scaled).T
            gradients += [entry[:, :-1], entry[:, -1]]
        return tuple(gradients)


def _by_column(matrix: Tensor) -> Tensor:
    """Return the matrix with each column contiguous: so a CPU multiplies by few columns four times as fast."""
    return matrix.T.contiguous().T


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
