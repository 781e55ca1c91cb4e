"""Evaluations of a field that are given their graph afterwards, where they turn out to count."""

from collections.abc import Sequence
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Traceable(Protocol):
    """A scalar field that can give an evaluation its graph in the parameters after the fact."""

    def evaluate(
        self, points: Float[Tensor, "n *shape"]
    ) -> tuple[Float[Tensor, "n 1"], Float[Tensor, "n 1 *shape"], list[Tensor]]:
        """Return F, ``D_x F``, both without a graph, and the trace: tensors of one row a point."""

    def live_values(self, values: Float[Tensor, "n 1"], trace: Sequence[Tensor]) -> Float[Tensor, "n 1"]:
        """Return the values with their graph, from rows of what :meth:`evaluate` returned."""


class Tape:
    """A field that remembers, for each of a number of places, the last evaluation of a point that was there.

    Its context is the places of the points, ``(n,)``. A projection leaves at each point's place the evaluation of
    where it ended, in whichever iteration that was. Calling the tape for these places gives the values their graph,
    and evaluates nothing. An evaluation that is no longer the last of any place is forgotten.

    Args:
        field: what is evaluated.
        places: how many places there are.
    """

    def __init__(self, field: Traceable, places: int) -> None:
        self.field = field
        # Of each evaluation of a batch: values and trace. The first stands for none.
        self._traces: list[list[Tensor]] = [[]]
        # Of each place: the evaluation that it holds, and the row there.
        self._held = torch.zeros(places, dtype=torch.int64)
        self._rows = torch.zeros(places, dtype=torch.int64)

    def live_values_and_jacobian(
        self, points: Float[Tensor, "n *shape"], places: Int[Tensor, " n"]
    ) -> tuple[Float[Tensor, "n 1"], Float[Tensor, "n 1 *shape"]]:
        """Return F and ``D_x F`` of the points, which are now at these places; both have no graph yet."""
        values, jacobian, trace = self.field.evaluate(points)
        self._held[places] = len(self._traces)
        self._rows[places] = torch.arange(len(points))
        self._traces.append([values, *trace])
        users = self._held.bincount().tolist()
        self._traces = [trace if count > 0 else [] for trace, count in zip(self._traces, users, strict=False)]
        return values, jacobian

    def __call__(
        self, points: Float[Tensor, "n *shape"], *context: Int[Tensor, " n"]
    ) -> Float[Tensor, "n 1"]:
        """Return the values of the points at these places, with their graph."""
        (places,) = context
        held, order = self._held[places].sort()
        rows = self._rows[places][order]
        some = next(trace for trace in self._traces if trace)
        values, *trace = (tensor.new_empty(len(rows), *tensor.shape[1:]) for tensor in some)
        start = 0
        counts = held.bincount(minlength=len(self._traces)).tolist()
        for found, count in zip(self._traces, counts, strict=True):
            if count > 0:
                piece = slice(start, start + count)
                for tensor, chosen in zip(found, (values, *trace), strict=True):
                    torch.index_select(tensor, 0, rows[piece], out=chosen[piece])
                start += count
        return self.field.live_values(values, trace)[order.argsort()]
