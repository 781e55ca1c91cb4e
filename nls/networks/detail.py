"""An implicit network with detail: an MLP, and grids of corrections near the point cloud."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nls.networks.implicit import ImplicitMLP

# Cells along an axis that have a number of their own; the middle one touches the origin.
_AXIS = 4096
# A cell is near the cloud if it and its neighbours hold at least this share of the median number of points.
_SHARE = 0.1


class DetailedMLP(nn.Module):
    """``F(x) = MLP(x) + Σ_g s_g C_g(x)``, with corrections ``C_g`` on grids near a cloud and shares ``s_g``.

    A correction is trilinear in the cells of its grid. It is learnt at the nodes around the cells that hold points
    and their neighbours, and 0 at all others; so two cells away from the points F is the MLP alone, and detail cannot
    make a piece of surface far from them. Initially all corrections are 0, and F is the MLP's sphere.

    Args:
        mlp: the network without detail.
        grids: how many grids.
        near: how many of their cells are near the cloud, together.
        nodes: how many of their nodes are learnt, together.
    """

    corners: Tensor
    cells: Tensor
    keys: Tensor
    nodes: Tensor
    shares: Tensor

    def __init__(self, mlp: ImplicitMLP, grids: int, near: int, nodes: int) -> None:
        super().__init__()
        self.mlp = mlp
        self.register_buffer("corners", torch.cartesian_prod(*[torch.arange(2)] * 3))
        self.register_buffer("cells", torch.ones(grids))
        # The last row stands for all cells that are not near the cloud, and the last node for all that stay 0.
        self.register_buffer("keys", torch.full((near + 1,), torch.iinfo(torch.int64).max))
        self.register_buffer("nodes", torch.full((near + 1, 8), nodes))
        self.register_buffer("shares", torch.zeros(grids))
        self.corrections = nn.Parameter(torch.zeros(nodes + 1))
        self.open = True

    @classmethod
    def around(cls, points: Float[Tensor, "n 3"], cells: Sequence[float], mlp: ImplicitMLP) -> "DetailedMLP":
        """Return a network on the points' device with a grid near them for each of ``cells``, the widths of cells."""
        keys, nodes, count = [], [], 0
        for grid, cell in enumerate(cells):
            found, corners = _grid(points, cell)
            keys.append(found + grid * _AXIS**3)
            nodes.append(torch.where(corners >= 0, corners + count, -1))
            count += int(corners.max()) + 1
        network = cls(mlp, len(cells), sum(len(found) for found in keys), count).to(points.device)
        network.cells.copy_(torch.tensor(list(cells)))
        network.keys[:-1] = torch.cat(keys)
        network.nodes[:-1] = torch.cat(nodes) % (count + 1)
        return network

    @classmethod
    def fitting(cls, weights: Mapping[str, Tensor], mlp: ImplicitMLP) -> "DetailedMLP":
        """Return a network into which the weights of another one fit.

        Raises:
            KeyError: they are not the weights of such a network.
        """
        return cls(mlp, len(weights["cells"]), len(weights["keys"]) - 1, len(weights["corrections"]) - 1)

    def let_in(self, shares: Sequence[float]) -> None:
        """Multiply the corrections of every grid by its share, 0 to 1; while all are 0, the grids cost nothing."""
        self.open = any(shares)
        for grid, share in enumerate(shares):
            self.shares[grid].fill_(share)

    def forward(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Return the values of the points."""
        values = self.mlp(points)
        return values + self._corrections(points)[0] if self.open else values

    def live_values_and_jacobian(
        self, points: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, "n 1"], Float[Tensor, "n 1 3"]] | None:
        """Return what :func:`nls.levelset.fields.live_values_and_jacobian` does."""
        found = self.mlp.live_values_and_jacobian(points)
        if found is None or not self.open:
            return found
        values, slopes = self._corrections(points.detach())
        return found[0] + values[:, None], found[1] + slopes[:, None]

    def _corrections(self, points: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Return the sum of the corrections, and its derivatives in x without a graph."""
        places = points.detach()[:, None] / self.cells[:, None]
        first = places.floor()
        grids = torch.arange(len(self.cells), device=points.device)
        keys = _key(first.long()) + grids * _AXIS**3
        row = torch.searchsorted(self.keys, keys)
        row = torch.where(self.keys[row] == keys, row, len(self.keys) - 1)
        values, slopes = _Interpolation.apply(
            points,
            self.corrections,
            self.nodes[row],
            places - first,
            self.corners,
            self.shares,
            self.shares / self.cells,
        )
        return values, slopes


class _Interpolation(torch.autograd.Function):
    """The sum of trilinear interpolations in all grids, and its derivatives in x."""

    @staticmethod
    def forward(
        ctx: Any,
        points: Float[Tensor, "n 3"],
        corrections: Float[Tensor, " m"],
        nodes: Int[Tensor, "n g 8"],
        places: Float[Tensor, "n g 3"],
        corners: Int[Tensor, "8 3"],
        shares: Float[Tensor, " g"],
        steepness: Float[Tensor, " g"],
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        x, y, z = torch.where(corners.bool(), places[:, :, None], 1 - places[:, :, None]).unbind(3)
        weights = x * y * z * shares[:, None]
        there = corrections[nodes]
        changes = torch.stack([y * z, x * z, x * y], dim=3) * (2 * corners - 1).to(places)
        slopes = torch.einsum("ngk,ngkd,g->nd", there, changes, steepness)
        ctx.save_for_backward(nodes, weights, slopes)
        ctx.size = len(corrections)
        ctx.mark_non_differentiable(slopes)
        return (weights * there).sum(dim=(1, 2)), slopes

    @staticmethod
    def backward(ctx: Any, slope: Float[Tensor, " n"], _: Tensor) -> tuple[Tensor | None, ...]:
        nodes, weights, slopes = ctx.saved_tensors
        of_points = slope[:, None] * slopes if ctx.needs_input_grad[0] else None
        of_corrections = slope.new_zeros(ctx.size)
        of_corrections.index_add_(0, nodes.flatten(), (weights * slope[:, None, None]).flatten())
        of_corrections[-1] = 0
        return of_points, of_corrections, None, None, None, None, None


def _key(cells: Int[Tensor, "*n 3"]) -> Int[Tensor, "*n"]:
    """Return one number for each cell of a grid."""
    x, y, z = (cells + _AXIS // 2).clamp(0, _AXIS - 1).unbind(-1)
    return (x * _AXIS + y) * _AXIS + z


def _cells(keys: Int[Tensor, "*n"]) -> Int[Tensor, "*n 3"]:
    """Return the cells of a grid that have these numbers."""
    return torch.stack([keys // _AXIS**2, keys // _AXIS % _AXIS, keys % _AXIS], dim=-1) - _AXIS // 2


def _grid(points: Float[Tensor, "n 3"], cell: float) -> tuple[Int[Tensor, " c"], Int[Tensor, "c 8"]]:
    """Return the sorted keys of the cells near a cloud, and the numbers of their corners, -1 for those at the rim."""
    steps = torch.arange(-1, 2, device=points.device)
    around = torch.cartesian_prod(steps, steps, steps)
    keys, members = torch.unique(_key(torch.floor(points / cell).long()), return_counts=True)
    neighbours = _key(_cells(keys)[:, None] + around)
    found = torch.searchsorted(keys, neighbours).clamp(max=len(keys) - 1)
    held = torch.where(keys[found] == neighbours, members[found], 0).sum(dim=1)
    near = torch.unique(neighbours[held >= _SHARE * held.median()])

    corners = torch.cartesian_prod(*[torch.arange(2, device=points.device)] * 3)
    corners_of_near = _key(_cells(near)[:, None] + corners)
    _, node, sharing = torch.unique(corners_of_near, return_inverse=True, return_counts=True)
    inner = sharing == len(corners)
    number = torch.where(inner, inner.cumsum(0) - 1, -1)
    return near, number[node]
