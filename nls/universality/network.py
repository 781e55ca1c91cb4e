"""Networks of sparse linear layers and ReLU, and nothing else."""

import warnings
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

# The first CSR tensor of a process warns that its kind is "in beta state"; products with it are all we need.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch.eye(1).to_sparse_csr()


# Activations of the widest layer in a block of points: 2 MiB in float64.
_ACTIVATIONS = 1 << 18


class SparseLinear(nn.Module):
    """``torch.nn.Linear`` with a sparse weight in compressed rows: ``y = x Wᵀ + b``.

    Activations keep one column a point in memory (a transposed view), so layers follow one another without copies.

    Args:
        weight: a sparse CSR tensor of shape (out, in).
        bias: shape (out,).
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, weight: Tensor, bias: Float[Tensor, " out"]) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.register_buffer("rows", weight.crow_indices())
        self.register_buffer("columns", weight.col_indices())
        self.values = nn.Parameter(weight.values(), requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)

    @property
    def weight(self) -> Tensor:
        """The weight as a sparse CSR tensor of shape (out, in)."""
        size = (self.out_features, self.in_features)
        return torch.sparse_csr_tensor(self.rows, self.columns, self.values, size, check_invariants=False)

    def forward(self, x: Float[Tensor, "n in"]) -> Float[Tensor, "n out"]:
        """Apply the layer to a batch of points."""
        return torch.addmm(self.bias[:, None], self.weight, x.T).T

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return f"in_features={self.in_features}, out_features={self.out_features}, nonzeros={self.values.numel()}"


class ReLUNetwork(nn.Sequential):
    """A multilayer perceptron ``R^d → R`` of alternating ``SparseLinear`` and ``torch.nn.ReLU``.

    Args:
        layers: the linear layers, in order.
    """

    def __init__(self, layers: Sequence[SparseLinear]) -> None:
        modules: list[nn.Module] = [layers[0]]
        for layer in layers[1:]:
            modules += [nn.ReLU(), layer]
        super().__init__(*modules)

    @property
    def layers(self) -> list[SparseLinear]:
        """The linear layers, in order."""
        return [module for module in self if isinstance(module, SparseLinear)]

    @property
    def dimension(self) -> int:
        """The dimension of the points it takes."""
        return self.layers[0].in_features

    @property
    def dtype(self) -> torch.dtype:
        """The type of its weights."""
        return self.layers[0].values.dtype

    @property
    def depth(self) -> int:
        """The number of hidden layers."""
        return len(self.layers) - 1

    @property
    def neurons(self) -> int:
        """The number of ReLU units."""
        return sum(layer.out_features for layer in self.layers[:-1])

    @property
    def nonzeros(self) -> int:
        """The number of stored weights, biases not counted."""
        return sum(layer.values.numel() for layer in self.layers)

    def dense(self) -> nn.Sequential:
        """The same network of ``torch.nn.Linear`` and ``torch.nn.ReLU``, for tools that know no sparse weights."""
        modules: list[nn.Module] = []
        for module in self:
            if isinstance(module, SparseLinear):
                linear = nn.Linear(module.in_features, module.out_features, device="meta", dtype=self.dtype)
                linear.weight = nn.Parameter(module.weight.detach().to_dense(), requires_grad=False)
                linear.bias = nn.Parameter(module.bias.detach().clone(), requires_grad=False)
                modules.append(linear)
            else:
                modules.append(nn.ReLU())
        return nn.Sequential(*modules)


@torch.no_grad()
def evaluate(network: nn.Module, points: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """Values at many points, in blocks for which a layer's activations stay in the processor's cache.

    The memory that it takes beside points and values is that of a block, however many points there are.
    """
    width = max(getattr(module, "out_features", 1) for module in network.modules())
    block = min(max(_ACTIVATIONS // width, 16), 2048)
    values = points.new_empty(len(points))
    for start in range(0, len(points), block):
        values[start : start + block] = network(points[start : start + block])[:, 0]
    return values
