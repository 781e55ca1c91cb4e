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
        # Of each evaluation of a batch: values and trace, the number of its first row, and how many places hold it.
        self._traces: list[list[Tensor]] = []
        self._firsts: list[int] = [0]
        self._users: list[int] = []
        self._rows = torch.full((places,), -1)

    def live_values_and_jacobian(
        self, points: Float[Tensor, "n *shape"], places: Int[Tensor, " n"]
    ) -> tuple[Float[Tensor, "n 1"], Float[Tensor, "n 1 *shape"]]:
        """Return F and ``D_x F`` of the points, which are now at these places; both have no graph yet."""
        values, jacobian, trace = self.field.evaluate(points)
        self._traces.append([values, *trace])
        self._users.append(len(points))
        left = self._counts(self._rows[places].sort().values)
        self._firsts.append(self._firsts[-1] + len(points))
        self._rows[places] = torch.arange(*self._firsts[-2:])
        for i, count in enumerate(left):
            self._users[i] -= count
            if self._users[i] == 0:
                self._traces[i] = []
        return values, jacobian

    def __call__(
        self, points: Float[Tensor, "n *shape"], *context: Int[Tensor, " n"]
    ) -> Float[Tensor, "n 1"]:
        """Return the values of the points at these places, with their graph."""
        (places,) = context
        rows, order = self._rows[places].sort()
        held = next(trace for trace in self._traces if trace)
        values, *trace = (tensor.new_empty(len(rows), *tensor.shape[1:]) for tensor in held)
        pieces = zip(self._traces, self._firsts, rows.split(self._counts(rows)), strict=False)
        start = 0
        for found, first, piece in pieces:
            if len(piece) > 0:
                for tensor, chosen in zip(found, (values, *trace), strict=True):
                    torch.index_select(tensor, 0, piece - first, out=chosen[start : start + len(piece)])
                start += len(piece)
        return self.field.live_values(values, trace)[order.argsort()]

    def _counts(self, rows: Tensor) -> list[int]:
        """Return how many of some sorted rows are of each evaluation."""
        counts: list[int] = torch.searchsorted(rows, torch.tensor(self._firsts)).diff().tolist()
        return counts
