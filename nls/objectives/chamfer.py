"""The squared Chamfer distance as a training loss (AtlasNet)."""

import torch
from jaxtyping import Float
from torch import Tensor

from nls.geometry.neighbours import Neighbours


def squared_chamfer(first: Float[Tensor, "n d"], second: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    """Return the sum of the two directed means of squared nearest distances, differentiable in both clouds.

    The neighbours are found outside the graph; only the pairs of neighbours are differentiated through.
    """
    onward = Neighbours(second).nearest(first)
    back = Neighbours(first).nearest(second)
    return _mean_square(first - second[onward]) + _mean_square(second - first[back])


def _mean_square(difference: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    return torch.einsum("nd,nd->n", difference, difference).mean()
