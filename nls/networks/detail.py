"""An implicit network with detail: an MLP that also sees features of grids near the point cloud."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nls.networks.implicit import ImplicitMLP, evaluate

# Cells along an axis that have a number of their own; the middle one touches the origin.
_AXIS = 4096
# A cell is near the cloud if it and its neighbours hold at least this share of the median number of points.
_SHARE = 0.1
# Standard deviation of the weights through which a layer sees a feature, times the root of the features of a grid.
_SPREAD = 0.3


class DetailedMLP(nn.Module):
    """``F(x) = MLP(x, φ(x))``, with features ``φ`` interpolated between the nodes of grids near a cloud.

    Every grid gives ``features`` numbers, trilinear in its cells. They are learnt at the nodes around the cells that
    hold points and their neighbours, and 0 at the others; so two cells away from the points F is the MLP alone, and
    detail cannot make a piece of surface far from them. Initially φ = 0, and F is the MLP's sphere.

    Args:
        points: the cloud, ``(n, 3)``.
        cells: widths of the grids' cells, from coarse to fine.
        width: units of a hidden layer.
        depth: hidden layers.
        features: numbers that a grid gives.
    """

    corners: Tensor
    cells: Tensor
    keys: Tensor
    nodes: Tensor
    shares: Tensor

    def __init__(
        self,
        points: Float[Tensor, "n 3"],
        cells: Sequence[float],
        width: int = 128,
        depth: int = 4,
        features: int = 4,
    ) -> None:
        super().__init__()
        device = points.device
        self.mlp = ImplicitMLP(width, depth)
        keys, nodes, count = [], [], 0
        for grid, cell in enumerate(cells):
            found, corners = _grid(points, cell)
            keys.append(found + grid * _AXIS**3)
            nodes.append(torch.where(corners >= 0, corners + count, -1))
            count += int(corners.max()) + 1
        # The last row stands for all cells that are not near the cloud, and the last node for all that stay 0.
        keys.append(torch.full((1,), torch.iinfo(torch.int64).max, device=device))
        nodes.append(torch.full((1, 8), -1, device=device))
        self.register_buffer("corners", torch.cartesian_prod(*[torch.arange(2, device=device)] * 3))
        self.register_buffer("cells", torch.tensor(list(cells), dtype=points.dtype, device=device))
        self.register_buffer("keys", torch.cat(keys))
        self.register_buffer("nodes", torch.cat(nodes) % (count + 1))
        self.register_buffer("shares", torch.zeros(len(cells), dtype=points.dtype, device=device))
        self.table = nn.Parameter(torch.zeros(count + 1, features))
        spread = _SPREAD / math.sqrt(features)
        self.entries = nn.ParameterList(
            nn.Parameter(spread * torch.randn(width, len(cells) * features)) for _ in range(depth)
        )
        self.open = True
        self.out = nn.Parameter(torch.full((1, len(cells) * features), 1 / math.sqrt(features)))

    def let_in(self, shares: Sequence[float]) -> None:
        """Multiply the features of every grid by its share, from 0 to 1; while all are 0, the grids cost nothing."""
        self.open = any(shares)
        for grid, share in enumerate(shares):
            self.shares[grid].fill_(share)

    def forward(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Return the values of the points."""
        if not self.open:
            return self.mlp(points)
        features, _ = self._features(points)
        entry = torch.cat([points, features], dim=1)
        first, bias, *layers = self._layers()
        hidden = torch.addmm(bias, entry, first.T).relu_()
        for weight, seen, bias in zip(layers[:-3:3], layers[1:-3:3], layers[2:-3:3], strict=True):
            hidden = torch.addmm(torch.addmm(bias, entry, seen.T), hidden, weight.T).relu_()
        weight, seen, bias = layers[-3:]
        return torch.addmm(torch.addmm(bias, entry, seen.T), hidden, weight.T)[:, 0]

    def live_values_and_jacobian(
        self, points: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, "n 1"], Float[Tensor, "n 1 3"]]:
        """Return what :func:`nls.levelset.fields.live_values_and_jacobian` does."""
        if not self.open and (found := self.mlp.live_values_and_jacobian(points)) is not None:
            return found
        points = points.detach()
        features, slopes = self._features(points)
        values, jacobian = evaluate(torch.cat([points, features], dim=1), *self._layers())
        return values, torch.baddbmm(jacobian[:, :, :3], jacobian[:, :, 3:], slopes)

    def _layers(self) -> list[Tensor]:
        """Return the parameters as :func:`evaluate` takes them."""
        mlp = self.mlp
        found = [torch.cat([mlp.first.weight, self.entries[0]], dim=1), mlp.first.bias]
        for layer, entry in zip((*mlp.layers, mlp.last), (*self.entries[1:], self.out), strict=True):
            found += [layer.hidden.weight, torch.cat([layer.entry.weight, entry], dim=1), layer.entry.bias]
        return found

    def _features(self, points: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, "n f"], Float[Tensor, "n f 3"]]:
        """Return the features and their derivatives in x, the latter without a graph."""
        places = points.detach()[:, None] / self.cells[:, None]
        first = places.floor()
        grids = torch.arange(len(self.cells), device=points.device)
        keys = _key(first.long()) + grids * _AXIS**3
        row = torch.searchsorted(self.keys, keys)
        row = torch.where(self.keys[row] == keys, row, len(self.keys) - 1)
        features, slopes = _Interpolation.apply(
            points, self.table, self.nodes[row], places - first, self.corners, self.cells, self.shares
        )
        return features, slopes


class _Interpolation(torch.autograd.Function):
    """Trilinear interpolation in every grid, and its derivative in x."""

    @staticmethod
    def forward(
        ctx: Any,
        points: Float[Tensor, "n 3"],
        table: Float[Tensor, "m c"],
        nodes: Int[Tensor, "n g 8"],
        places: Float[Tensor, "n g 3"],
        corners: Int[Tensor, "8 3"],
        cells: Float[Tensor, " g"],
        shares: Float[Tensor, " g"],
    ) -> tuple[Float[Tensor, "n gc"], Float[Tensor, "n gc 3"]]:
        count = len(nodes)
        high = corners.bool()
        x, y, z = torch.where(high, places[:, :, None], 1 - places[:, :, None]).unbind(3)
        weights = x * y * z * shares[:, None]
        signs = (2 * corners - 1).to(places) * (shares / cells)[:, None, None]
        changes = torch.stack([y * z, x * z, x * y], dim=3) * signs
        there = table[nodes]
        features = (weights[:, :, None] @ there).reshape(count, -1)
        slopes = (there.mT @ changes).reshape(count, -1, 3)
        ctx.save_for_backward(nodes, weights, slopes)
        ctx.size = len(table)
        ctx.mark_non_differentiable(slopes)
        return features, slopes

    @staticmethod
    def backward(ctx: Any, slope: Float[Tensor, "n gc"], _: Tensor) -> tuple[Tensor | None, ...]:
        nodes, weights, slopes = ctx.saved_tensors
        of_points = (slope[:, None] @ slopes)[:, 0] if ctx.needs_input_grad[0] else None
        parts = weights[..., None] * slope.reshape(*nodes.shape[:2], 1, -1)
        of_table = slope.new_zeros(ctx.size, parts.shape[3])
        of_table.index_add_(0, nodes.flatten(), parts.flatten(0, 2))
        of_table[-1] = 0
        return of_points, of_table, None, None, None, None, None


def _key(cells: Int[Tensor, "*n 3"]) -> Int[Tensor, "*n"]:
    """Return one number for each cell of a grid."""
    x, y, z = (cells + _AXIS // 2).clamp(0, _AXIS - 1).unbind(-1)
    return (x * _AXIS + y) * _AXIS + z


def _grid(points: Float[Tensor, "n 3"], cell: float) -> tuple[Int[Tensor, " c"], Int[Tensor, "c 8"]]:
    """Return the sorted keys of the cells near a cloud, and the numbers of their corners, -1 for those at the rim."""
    steps = torch.arange(-1, 2, device=points.device)
    around = torch.cartesian_prod(steps, steps, steps)
    occupied, members = torch.unique(torch.floor(points / cell).long(), dim=0, return_counts=True)
    neighbours = _key(occupied[:, None] + around)
    keys = _key(occupied)
    order = keys.argsort()
    place = torch.searchsorted(keys[order], neighbours).clamp(max=len(keys) - 1)
    found = order[place]
    held = torch.where(keys[found] == neighbours, members[found], 0).sum(dim=1)
    dense = occupied[held >= _SHARE * held.median()]

    near = torch.unique((dense[:, None] + around).reshape(-1, 3), dim=0)
    near = near[_key(near).argsort()]
    corners = torch.cartesian_prod(*[torch.arange(2, device=points.device)] * 3)
    _, node, sharing = torch.unique(_key(near[:, None] + corners), return_inverse=True, return_counts=True)
    inner = sharing == len(corners)
    number = torch.where(inner, inner.cumsum(0) - 1, -1)
    return _key(near), number[node]
