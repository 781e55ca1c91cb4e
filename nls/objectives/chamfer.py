"""The squared Chamfer distance as a training loss (AtlasNet)."""

import torch
from jaxtyping import Float
from torch import Tensor

from nls.geometry.neighbours import Neighbours


def squared_chamfer(
    images: Float[Tensor, "n d"], batch: Float[Tensor, "m d"], cloud: Neighbours
) -> Float[Tensor, ""]:
    """Return the mean squared distance of the images to the cloud, plus that of a batch of the cloud to the images.

    It is differentiable in the images. The neighbours are found outside the graph; only the pairs of neighbours are
    differentiated through. AtlasNet's release looks for an image's neighbour in the batch, whose points are so far
    apart that this distance says more of the batch than of the surface.
    """
    onward = cloud.points[cloud.nearest(images)]
    back = images[Neighbours(images).nearest(batch)]
    return _mean_square(images - onward) + _mean_square(batch - back)


def _mean_square(difference: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    return torch.einsum("nd,nd->n", difference, difference).mean()
