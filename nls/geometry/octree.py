"""Values of a field on a regular grid, computed only near its zero level set."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from nls.levelset import Field, values_and_jacobian, values_of

# Rows in one evaluation of the network: 8 × 512 activations of them stay below 600 MB.
_ROWS = 1 << 15
# Cubes that are opened at once: a rough level set of a fine grid has tens of millions of nodes near it.
_OPENED = 1 << 17
# The octree starts with about this many cubes along an axis.
_COARSE_CUBES = 24
# How far the largest gradient may exceed the largest one at the centres of the coarsest cubes.
_SAFETY = 1.5


@dataclass(frozen=True)
class Grid:
    """A cube of ``resolution³`` nodes around the origin, its faces at ``±half_width``."""

    resolution: int
    half_width: float = 1.1

    @property
    def spacing(self) -> float:
        """Distance of neighbouring nodes."""
        return 2 * self.half_width / (self.resolution - 1)

    def points(self, nodes: Tensor) -> Float[Tensor, "n 3"]:
        """Return the places of nodes ``(n, 3)``, counted from the corner; fractions lie in between."""
        return nodes.to(torch.float32) * self.spacing - self.half_width


@dataclass(frozen=True)
class Level:
    """Cubes of one level of the octree: all of the coarsest one, a part of a finer one.

    Attributes:
        corners: first node of every cube, ``(n, 3)``.
        stride: nodes along a cube's edge; at 1 a cube is a node.
        values: F at the centres, ``(n, l)``; at the nodes themselves if the stride is 1.
        lipschitz: the bound on the gradient of every output that decided which cubes were opened, ``(l,)``.
    """

    corners: Int[Tensor, "n 3"]
    stride: int
    values: Float[Tensor, "n l"]
    lipschitz: Float[Tensor, " l"]


def descend(field: Field, grid: Grid, device: torch.device | str = "cpu") -> Iterator[Level]:
    """Yield the levels of an octree around the zero level set, from the whole grid to nodes, finer ones in parts.

    A cube is opened if every output at its centre is within reach of zero: at most the output's gradient bound
    times half the diagonal of the cube and one cell around it, so that both ends of every edge with a sign
    change become nodes. The bound is 1.5 times the largest gradient at the centres of the coarsest cubes; as
    long as the field obeys it, nothing that a dense evaluation finds is missed.
    """
    stride = 1 << max(0, round(math.log2(grid.resolution / _COARSE_CUBES)))
    axis = torch.arange(0, grid.resolution, stride, device=device, dtype=torch.int32)
    corners = torch.cartesian_prod(axis, axis, axis)
    values, lipschitz = _values_and_bound(field, grid, corners, stride)
    level = Level(corners, stride, values, lipschitz)
    yield level
    opened = _near(level, grid)
    octants = torch.cartesian_prod(*[torch.arange(2, device=device, dtype=torch.int32)] * 3)
    while stride > 1:
        stride //= 2
        near = []
        for block in opened.split(_OPENED):
            corners = (block[:, None, :] + stride * octants).reshape(-1, 3)
            corners = corners[(corners < grid.resolution).all(dim=1)]
            values = _values(field, grid, corners, stride, len(lipschitz))
            level = Level(corners, stride, values, lipschitz)
            yield level
            if stride > 1:
                near.append(_near(level, grid))
        opened = torch.cat(near) if near else corners[:0]


def _near(level: Level, grid: Grid) -> Int[Tensor, "m 3"]:
    """Return the first nodes of the cubes that the level set may touch."""
    reach = level.lipschitz * (grid.spacing * (level.stride / 2 + 1) * math.sqrt(3))
    return level.corners[(level.values.abs() <= reach).all(dim=1)]


def _centres(grid: Grid, corners: Tensor, stride: int) -> Float[Tensor, "n 3"]:
    return grid.points(corners + stride / 2 if stride > 1 else corners)


def _values_and_bound(field: Field, grid: Grid, corners: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    parts, largest = [], []
    for block in corners.split(_ROWS):
        values, jacobian = values_and_jacobian(field, _centres(grid, block, stride))
        parts.append(values)
        largest.append(torch.linalg.vector_norm(jacobian, dim=2).amax(dim=0))
    return torch.cat(parts), _SAFETY * torch.stack(largest).amax(dim=0)


@torch.no_grad()
def _values(field: Field, grid: Grid, corners: Tensor, stride: int, outputs: int) -> Float[Tensor, "n l"]:
    parts = [values_of(field, _centres(grid, block, stride)) for block in corners.split(_ROWS)]
    return torch.cat(parts) if len(corners) else torch.empty(0, outputs, device=corners.device)


def sample_volume(
    field: Field, grid: Grid, device: torch.device | str = "cpu"
) -> Float32[np.ndarray, "r r r"]:
    """Return F within a cell of every sign change, elsewhere a number with F's sign; see :func:`descend`."""
    levels = descend(field, grid, device)
    values = _spread(next(levels), grid.resolution)
    for level in levels:
        _fill(values, level)
    return values


def _spread(level: Level, resolution: int) -> Float32[np.ndarray, "r r r"]:
    """Return a volume in which every node has the value of its coarse cube's centre."""
    cubes = -(-resolution // level.stride)
    coarse = level.values.reshape(cubes, cubes, cubes).cpu().numpy()
    volume = np.empty((resolution,) * 3, dtype=np.float32)
    for plane in range(resolution):
        rows = coarse[plane // level.stride].repeat(level.stride, axis=0)[:resolution]
        volume[plane] = rows.repeat(level.stride, axis=1)[:, :resolution]
    return volume


def _fill(volume: Float32[np.ndarray, "r r r"], level: Level) -> None:
    """Give the nodes of every cube the value of its centre."""
    # In blocks: index arrays of all nodes of a fine grid would be larger than the grid.
    for corners, values in zip(level.corners.split(_ROWS), level.values[:, 0].split(_ROWS), strict=True):
        for offset in np.ndindex(level.stride, level.stride, level.stride):
            nodes = corners.cpu().numpy() + np.array(offset, dtype=np.int32)
            inside = (nodes < len(volume)).all(axis=1)
            x, y, z = nodes[inside].T
            volume[x, y, z] = values.cpu().numpy()[inside]
