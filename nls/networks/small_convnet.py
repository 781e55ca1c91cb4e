"""The convolutional network of the small-data experiment (Figure 2), and its derivatives from one evaluation."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nls.networks.strided_conv import HalvingConv2d, input_gradient


class SmallConvNet(nn.Sequential):
    """A scalar network of ``(n, channels, height, width)`` images: two convolutions, two linear layers.

    5×5 kernels with stride 2 and 16 and 32 channels, 128 hidden units, ReLU; 214,081 parameters for MNIST.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        cells = -(-height // 4) * -(-width // 4)
        super().__init__(
            HalvingConv2d(channels, 16, kernel_size=5),
            nn.ReLU(),
            nn.Conv2d(16, 32, kernel_size=5, stride=2, padding=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * cells, 128),
            nn.ReLU(),
            nn.Linear(128, 1),
        )

    @torch.no_grad()
    def evaluate(
        self, images: Float[Tensor, "n c h w"]
    ) -> tuple[Float[Tensor, "n 1"], Float[Tensor, "n 1 c h w"], list[Tensor]]:
        """Return F and ``D_x F``, without a graph, and the trace that :meth:`live_values` makes it of.

        The trace is what enters the four layers, and the derivatives of F in what leaves the first three; of images
        and their maps the channels come last.
        """
        first, _, second, _, _, third, _, last = self
        # On a CPU convolutions are quickest where a pixel's channels lie side by side; of images of one channel only
        # the strides can say that they do.
        images = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        maps = first(images).relu_()
        cells = second(maps).relu_()
        flat = cells.flatten(1)
        hidden = third(flat).relu_()
        by_hidden = (hidden > 0) * last.weight
        by_flat = torch.ops.aten.threshold_backward(by_hidden @ third.weight, flat, 0)
        by_cells = by_flat.view(cells.shape)
        by_maps = _conv_gradients(by_cells, maps, cast(nn.Conv2d, second), [True, False, False])[0]
        by_maps = torch.ops.aten.threshold_backward(by_maps, maps, 0)
        jacobian = input_gradient(by_maps, cast(Tensor, first.weight), *images.shape[-2:])
        inside, by_inside = (
            [maps.permute(0, 2, 3, 1) for maps in each] for each in ((images, maps), (by_maps,))
        )
        return last(hidden), jacobian[:, None], [*inside, flat, hidden, *by_inside, by_cells, by_hidden]

    def live_values(self, values: Float[Tensor, "n 1"], trace: Sequence[Tensor]) -> Float[Tensor, "n 1"]:
        """Give values that :meth:`evaluate` found their graph in the parameters, or those of some of its rows.

        The derivatives that ``D_x F`` was made of are those that the parameters' gradients are made of, times the
        derivative of the loss in F: so the network is gone through neither forwards nor backwards again.
        """
        live: Tensor = _LiveValues.apply(self, values, *trace, *self.parameters())
        return live


class _LiveValues(torch.autograd.Function):
    """Values with their graph, from an evaluation without one."""

    @staticmethod
    def forward(ctx: Any, network: SmallConvNet, values: Tensor, *trace_and_parameters: Tensor) -> Tensor:
        ctx.network = network
        ctx.save_for_backward(*trace_and_parameters[:7])
        return values.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, maps, flat, hidden, by_maps, by_cells, by_hidden = ctx.saved_tensors
        first, _, second, _, _, _, _, _ = ctx.network
        images, maps, by_maps = (each.permute(0, 3, 1, 2) for each in (images, maps, by_maps))
        by_hidden = gradient * by_hidden
        each = gradient[:, :, None, None]
        return (
            *[None] * 9,
            *_conv_gradients(each * by_maps, images, first, [False, True, True])[1:],
            *_conv_gradients(each * by_cells, maps, second, [False, True, True])[1:],
            by_hidden.T @ flat,
            by_hidden.sum(dim=0),
            gradient.T @ hidden,
            gradient.sum(dim=0),
        )


def _conv_gradients(
    gradient: Tensor, entry: Tensor, layer: nn.Conv2d, wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients in the layer's entry, weight and bias, those that are wanted."""
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, entry, layer.weight, [layer.out_channels], layer.stride, layer.padding, layer.dilation,
        False, [0, 0], 1, wanted,
    )  # fmt: skip
    return found
