"""From the max and min of affine functions to ReLU layers.

The partition's functions are folded to a network from its output backwards: a node whose value is needed in layer
``t`` takes its own values from layer ``t - 1`` or ``t - 2``, so no value but the input waits for another and only the
input is carried through the layers, in 2d units ``relu(±(x - centre))``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float

from nls.errors import UserError
from nls.geometry.hypersurface import Hypersurface
from nls.universality.network import ReLUNetwork, SparseLinear
from nls.universality.tree import Fold, Node, Partition, partition


def represent(surface: Hypersurface, dtype: torch.dtype = torch.float64) -> ReLUNetwork:
    """Build the network that is zero exactly on a hypersurface, positive inside and negative outside (Theorem 1).

    Near the hypersurface its slope is 1 on every facet, and nowhere more: ``|F(x)|`` is at most the distance to it.
    Unless the solid or its complement is convex, ``F`` is cut off below at a quarter of the diameter or less.

    Args:
        surface: the boundary of a solid, bounded or not. Whether it is one is not checked here: a mesh with a hole
            gives a network too, whose zeros are not the mesh. ``find_defect`` tells, of triangles or segments.
        dtype: of the weights, float32 or float64. Its rounding is the only error: signs are right farther than
            some tens of machine epsilons times the diameter from the surface.

    Raises:
        UserError: if a facet is degenerate, the facets are seen to contradict each other on what is inside, or the
            type is another one.
    """
    if dtype not in (torch.float32, torch.float64):
        raise UserError(f"weights are float32 or float64, not {dtype}")
    return compile_partition(partition(surface), dtype)


def compile_partition(partitioned: Partition, dtype: torch.dtype) -> ReLUNetwork:
    """Write a partition's function as ReLU layers."""
    return _Compiler(partitioned).network(dtype)


@dataclass(frozen=True)
class _Value:
    """An affine function of the input plus a weighted sum of one layer's units, all of which are at least 0."""

    affine: Float[np.ndarray, " h"]
    units: dict[int, float] = field(default_factory=dict)

    def __add__(self, other: _Value) -> _Value:
        units = dict(self.units)
        for unit, weight in other.units.items():
            units[unit] = units.get(unit, 0.0) + weight
        return _Value(self.affine + other.affine, units)

    def __sub__(self, other: _Value) -> _Value:
        return self + other.scaled(-1.0)

    def scaled(self, factor: float) -> _Value:
        return _Value(factor * self.affine, {unit: factor * weight for unit, weight in self.units.items()})


class _Compiler:
    """Collects the units of each layer; layer 0 holds nothing but the input.

    A node's value ``F`` is kept as ``F + floor >= 0``, cut off at 0: cutting off below changes no sign, and a value
    that is not negative passes a ReLU in one unit instead of two.
    """

    def __init__(self, partitioned: Partition) -> None:
        self._arrangement = partitioned.arrangement
        self._zero = np.zeros(self._arrangement.dimension + 1)
        self._floor = self._constant(2.0 ** math.floor(math.log2(self._arrangement.diameter / 4)))
        root = partitioned.root
        if isinstance(root, Fold) and root.rest is None:
            self._layers: list[list[_Value]] = [[] for _ in range(_bits(len(root.planes)) + 1)]
            self._output = self._folded(root, len(self._layers) - 1)
        else:
            self._layers = [[] for _ in range(_depth(root) + 1)]
            self._output = self._node(root, len(self._layers) - 1) - self._floor

    def _constant(self, value: float) -> _Value:
        affine = self._zero.copy()
        affine[-1] = value
        return _Value(affine)

    def _plane(self, index: int, factor: int = 1) -> _Value:
        return _Value(factor * self._arrangement.plane(index))

    def _relu(self, layer: int, value: _Value) -> _Value:
        """A new unit of a layer; its argument reads the layer before."""
        self._layers[layer].append(value)
        return _Value(self._zero, {len(self._layers[layer]) - 1: 1.0})

    def _node(self, node: Node, layer: int) -> _Value:
        """The node's ``F + floor``, cut off at 0, as a value of a layer."""
        if isinstance(node, Fold):
            folded = self._folded(node, layer - 1) + self._floor
            if node.rest is None:
                return self._relu(layer, folded)
            rest = self._node(node.rest, layer - 1)
            if node.lowest:
                # min(m, rest), cut off at 0 since rest >= 0.
                return self._relu(layer, folded) - self._relu(layer, folded - rest)
            return self._relu(layer, rest) + self._relu(layer, folded - rest)
        # max(min(a, b), min(a, h), min(b, -h)): at most one of the last two exceeds the first; add by how much.
        a, b = self._node(node.positive, layer - 2), self._node(node.negative, layer - 2)
        h = self._plane(node.plane) + self._floor
        minus_h = self._plane(node.plane, -1) + self._floor
        a_over_b, b_over_a = self._relu(layer - 1, a - b), self._relu(layer - 1, b - a)
        a_over_h, b_over_h = self._relu(layer - 1, a - h), self._relu(layer - 1, b - minus_h)
        least = self._relu(layer - 1, b) - b_over_a
        return (
            self._relu(layer, least)
            + self._relu(layer, a_over_b - a_over_h)
            + self._relu(layer, b_over_a - b_over_h)
        )

    def _folded(self, node: Fold, layer: int) -> _Value:
        """The minimum or maximum of a node's affine functions in a balanced tree."""
        sign = 1.0 if node.lowest else -1.0
        values = [self._plane(plane, factor) for plane, factor in node.planes]
        return self._least([value.scaled(sign) for value in values], layer).scaled(sign)

    def _least(self, values: list[_Value], layer: int) -> _Value:
        """``min(a, b) = a - relu(a - b)``, halves first; always an affine function less some units."""
        if len(values) == 1:
            return values[0]
        half = len(values) // 2
        a, b = self._least(values[:half], layer - 1), self._least(values[half:], layer - 1)
        lowered = _Value(a.affine) - self._relu(layer, a - b)
        if a.units:
            lowered = lowered - self._relu(layer, _Value(self._zero, a.units).scaled(-1.0))
        return lowered

    def network(self, dtype: torch.dtype) -> ReLUNetwork:
        """Write the collected units as layers; before them go those that carry the input while it is needed."""
        dimension = self._arrangement.dimension
        identity = np.vstack([np.eye(dimension), -np.eye(dimension)])
        carrying = [_Value(np.append(row, 0.0)) for row in identity]
        steps = [*self._layers[1:], [self._output]]
        reads = [any(value.affine[:-1].any() for value in step) for step in steps]
        rows, columns = identity.nonzero()
        layers = [
            _layer(
                (rows, columns),
                identity[rows, columns],
                -identity @ self._arrangement.centre,
                dimension,
                dtype,
            )
        ]
        for t, step in enumerate(steps):
            carried = any(reads[t:])
            values = [*(carrying if any(reads[t + 1 :]) else []), *step]
            entries: list[tuple[int, int, float]] = []
            for row, value in enumerate(values):
                of_row = {unit + 2 * dimension * carried: weight for unit, weight in value.units.items()}
                for axis in np.flatnonzero(value.affine[:-1]).tolist():
                    of_row |= {axis: value.affine[axis], axis + dimension: -value.affine[axis]}
                entries += [(row, column, of_row[column]) for column in sorted(of_row)]
            biases = np.array([value.affine[-1] for value in values])
            rows, columns = np.array([entry[:2] for entry in entries]).T
            weights = np.array([entry[2] for entry in entries])
            layers.append(_layer((rows, columns), weights, biases, layers[-1].out_features, dtype))
        return ReLUNetwork(layers)


def _bits(count: int) -> int:
    """The number of rounds in which pairs leave one of ``count`` values."""
    return (count - 1).bit_length()


def _depth(node: Node) -> int:
    """The number of layers after the input's that a node's value needs."""
    if isinstance(node, Fold):
        own = _bits(len(node.planes)) + 1
        return own if node.rest is None else max(own, _depth(node.rest) + 1)
    return max(_depth(node.positive), _depth(node.negative)) + 2


def _layer(
    places: tuple[np.ndarray, np.ndarray],
    weights: np.ndarray,
    biases: np.ndarray,
    width: int,
    dtype: torch.dtype,
) -> SparseLinear:
    """A layer from its weights in the order of rows and, within rows, columns."""
    rows, columns = places
    starts = np.searchsorted(rows, np.arange(len(biases) + 1))
    weight = torch.sparse_csr_tensor(
        torch.from_numpy(starts).int(),
        torch.from_numpy(np.ascontiguousarray(columns)).int(),
        torch.from_numpy(weights).to(dtype),
        (len(biases), width),
        check_invariants=True,
    )
    return SparseLinear(weight, torch.from_numpy(biases).to(dtype))
