"""Many networks of equal shape as one field, evaluated together."""

import copy
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state


class Ensemble(nn.Module):
    """Networks of equal shape that take turns with the rows of their input: row r goes through network ``r mod k``.

    Values and gradients are those of the networks one by one, to rounding: a GPU that would wait for Python between
    the small kernels of one network does the k networks' work in one kernel each. The parameters are those of the
    networks, stacked along a new first axis, in their order; the networks themselves are copied and stay as they are.

    Args:
        networks: modules of one architecture, without buffers (no running statistics) and without randomness.

    Attributes:
        members: k, as :func:`nls.levelset.members` reads it.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        stacked, buffers = stack_module_state(list(networks))
        if buffers:
            raise ValueError(f"networks with buffers ({', '.join(buffers)}) cannot be evaluated together")
        self.members = len(networks)
        self._names = list(stacked)
        self.stacked = nn.ParameterList(stacked.values())
        # In a list, so that its parameters are not registered: they are places for those of the members.
        self._architecture = [copy.deepcopy(networks[0]).to("meta")]

    def forward(self, points: Float[Tensor, "n_k *shape"]) -> Float[Tensor, "n_k l"]:
        """Return the values of ``n`` turns of rows."""
        turns = points.unflatten(0, (-1, self.members))
        values = torch.vmap(self._one, in_dims=(0, 1), out_dims=1)(tuple(self.stacked), turns)
        return values.flatten(0, 1)

    def _one(self, parameters: Sequence[Tensor], points: Tensor) -> Tensor:
        named = dict(zip(self._names, parameters, strict=True))
        return cast(Tensor, functional_call(self._architecture[0], named, (points,)))
