"""A convolution of stride 2 whose gradient with respect to its input is cheap on a CPU."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class HalvingConv2d(nn.Conv2d):
    """A convolution of stride 2 and odd kernel that halves images of ``(n, channels, h, w)``, rounded up.

    Values and parameters are those of ``nn.Conv2d(…, stride=2, padding=kernel_size // 2)``. A projection on a level
    set asks for the gradient of images of one or three channels again and again; oneDNN has no quick kernel for
    it (five times the time of the forward pass), whereas the same sum, written as an ordinary convolution that gives
    the four pixels of every 2 × 2 cell as channels, costs about as much as the forward pass.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride=2, padding=kernel_size // 2)

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h/2 w/2"]:
        """Return the convolution."""
        if not input.requires_grad:
            return super().forward(input)
        # The parameters' gradients stay with torch's own operation, which forms only those that are asked for.
        return _InputGradient.apply(input, super().forward(input.detach()), self.weight)


class _InputGradient(torch.autograd.Function):
    """Hands on what the convolution gave, and gives its input the gradient that torch would be slow to form."""

    generate_vmap_rule = True

    @staticmethod
    def forward(input: Tensor, output: Tensor, weight: Tensor) -> Tensor:
        return output.view_as(output)

    @staticmethod
    def setup_context(context: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        input, _, weight = inputs
        context.size = input.shape[-2:]
        context.save_for_backward(weight)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        (weight,) = context.saved_tensors
        return input_gradient(gradient, weight, *context.size), gradient, None


def input_gradient(gradient: Tensor, weight: Tensor, height: int, width: int) -> Tensor:
    """Return ``x̄[2q + r] = Σ_d ȳ[q + d] w[r + k//2 − 2d]``, the sum over the outputs that pixel ``2q + r`` enters."""
    half = weight.shape[-1] // 2
    reach = (half + 1) // 2  # d runs over −reach … reach
    before = 2 * reach - half
    taps = functional.pad(weight, (before, 1 + before, before, 1 + before))
    cells = functional.pixel_unshuffle(taps, 2).flip(2, 3).transpose(0, 1)
    image = functional.pixel_shuffle(functional.conv2d(gradient, cells, padding=reach), 2)
    return image[..., :height, :width]
