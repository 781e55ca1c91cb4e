"""Random tensors of a stream, like a given one in shape, device and precision."""

import torch
from jaxtyping import Float
from torch import Tensor


def normal_like(like: Float[Tensor, "*shape"], generator: torch.Generator) -> Float[Tensor, "*shape"]:
    """Draw from the standard normal distribution."""
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def uniform_like(like: Float[Tensor, "*shape"], generator: torch.Generator) -> Float[Tensor, "*shape"]:
    """Draw uniformly from [0, 1)."""
    return torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)
