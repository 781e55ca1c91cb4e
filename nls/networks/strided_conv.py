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
        return input_gradient(gradient, input_gradient_taps(weight, 2), 2, *context.size), gradient, None


def input_gradient(
    gradient: Float[Tensor, "n d h/2 w/2"], taps: Tensor, cell: int, height: int, width: int
) -> Float[Tensor, "n c height width"]:
    """Return the gradient of the input, ``x̄[m] = Σ_o ȳ[o] w[m + k//2 − 2o]``, from that of the output.

    ``taps`` are those of :func:`input_gradient_taps` for the same cells.
    """
    spare = [-side % (cell // 2) for side in gradient.shape[-2:]]
    if any(spare):
        gradient = functional.pad(gradient, (0, spare[1], 0, spare[0]))
    padding = (taps.shape[-1] - cell // 2) // 2
    cells = functional.conv2d(gradient, taps, stride=cell // 2, padding=padding).permute(0, 2, 3, 1)
    # A row of a cell's pixels stays together; only rows change places.
    pixels = cells.unflatten(3, (cell, -1)).transpose(2, 3).contiguous()
    n, h, _, w, _ = pixels.shape
    return pixels.view(n, h * cell, w * cell, -1)[:, :height, :width].permute(0, 3, 1, 2)


def input_gradient_taps(weight: Float[Tensor, "d c k k"], cell: int) -> Float[Tensor, "cell*cell*c d t t"]:
    """Return the weights of a convolution that gives the gradients of ``cell × cell`` pixels as channels.

    Pixel r of a cell's side gets, of output o of those around the cell's own, the tap ``r + k//2 − 2o``, if there is
    one. A cell of an even side 2s is s outputs wide.
    """
    size = weight.shape[-1]
    reach = (size // 2 + 1) // 2
    outputs = torch.arange(-reach, cell // 2 + reach, device=weight.device)
    tap = torch.arange(cell, device=weight.device)[:, None] + size // 2 - 2 * outputs
    tap = torch.where((tap >= 0) & (tap < size), tap, size)
    taps = functional.pad(weight, (0, 1, 0, 1))[:, :, tap][..., tap]  # (d, c, r, o, r', o')
    return taps.permute(2, 4, 1, 0, 3, 5).flatten(0, 2).contiguous(memory_format=torch.channels_last)
