"""The convolutional network of the small-data experiment (Figure 2), and its derivatives from one evaluation."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from nls.networks.strided_conv import HalvingConv2d, input_gradient, input_gradient_taps

# Pixels of a side whose derivatives one position of a convolution gives: 16 of an image's channel fill the widest
# vectors of a CPU, the 4 of a smaller cell a quarter of one.
_CELL = 4


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

    def traceable(self) -> "TraceableConvNet":
        """Return the network at its parameters of now, for evaluations that may be given their graph later."""
        return TraceableConvNet(self)


class TraceableConvNet:
    """A :class:`SmallConvNet` at its parameters of now, as a :class:`nls.levelset.Traceable`.

    It is laid out for a CPU, where convolutions are quickest if a pixel's channels lie side by side. So they do here
    in images, maps, what enters the first linear layer, and that layer's weights.
    """

    @torch.no_grad()
    def __init__(self, network: SmallConvNet) -> None:
        first, _, second, _, _, third, _, last = network
        self.first, self.second = cast(nn.Conv2d, first), cast(nn.Conv2d, second)
        self.third, self.last = cast(nn.Linear, third), cast(nn.Linear, last)
        self.parameters = list(network.parameters())
        self.first_taps = input_gradient_taps(self.first.weight, _CELL)
        # torch's own gradient of this layer's entry takes a fifth longer than one in cells.
        self.second_taps = input_gradient_taps(self.second.weight, 2)
        self.second_weight = self.second.weight.contiguous(memory_format=torch.channels_last)
        self.by_channel = self.third.weight.unflatten(1, (self.second.out_channels, -1))
        self.third_weight = self.by_channel.transpose(1, 2).flatten(1)

    @torch.no_grad()
    def evaluate(
        self, images: Float[Tensor, "n c h w"]
    ) -> tuple[Float[Tensor, "n 1"], Float[Tensor, "n 1 c h w"], list[Tensor]]:
        """Return F and ``D_x F``, without a graph, and the trace that :meth:`live_values` makes it of.

        The trace is what enters the four layers, and the derivatives of F in what leaves the first three; of images
        and their maps the channels come last.
        """
        images = _channels_first(images.permute(0, 2, 3, 1).contiguous())
        maps = self.first(images).relu_()
        second = self.second
        cells = functional.conv2d(
            maps, self.second_weight, second.bias, second.stride, second.padding
        ).relu_()
        flat = _channels_last(cells).flatten(1)
        hidden = torch.addmm(self.third.bias, flat, self.third_weight.T).relu_()
        by_hidden = (hidden > 0) * self.last.weight
        by_flat = _where_positive(flat, by_hidden @ self.third_weight)
        by_cells = by_flat.view(_channels_last(cells).shape)
        by_maps = input_gradient(_channels_first(by_cells), self.second_taps, 2, *maps.shape[-2:])
        by_maps = _where_positive(maps, by_maps)
        jacobian = input_gradient(by_maps, self.first_taps, _CELL, *images.shape[-2:])
        inside = [_channels_last(images), _channels_last(maps), flat, hidden]
        return self.last(hidden), jacobian[:, None], [*inside, _channels_last(by_maps), by_cells, by_hidden]

    def live_values(self, values: Float[Tensor, "n 1"], trace: Sequence[Tensor]) -> Float[Tensor, "n 1"]:
        """Give values that :meth:`evaluate` found their graph in the parameters, or those of some of its rows.

        The derivatives that ``D_x F`` was made of are those that the parameters' gradients are made of, times the
        derivative of the loss in F: so the network is gone through neither forwards nor backwards again.
        """
        live: Tensor = _LiveValues.apply(self, values, *trace, *self.parameters)
        return live


class _LiveValues(torch.autograd.Function):
    """Values with their graph, from an evaluation without one."""

    @staticmethod
    def forward(ctx: Any, network: TraceableConvNet, values: Tensor, *trace_and_parameters: Tensor) -> Tensor:
        ctx.network = network
        ctx.save_for_backward(*trace_and_parameters[:7])
        return values.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, maps, flat, hidden, by_maps, by_cells, by_hidden = ctx.saved_tensors
        network = ctx.network
        by_hidden = gradient * by_hidden
        each = gradient[:, :, None, None]
        by_first, by_second = (_channels_first(each * by) for by in (by_maps, by_cells))
        by_third = (by_hidden.T @ flat).unflatten(1, (-1, network.second.out_channels))
        return (
            *[None] * 9,
            *_parameter_gradients(by_first, _channels_first(images), network.first),
            *_parameter_gradients(by_second, _channels_first(maps), network.second),
            by_third.transpose(1, 2).flatten(1),
            by_hidden.sum(dim=0),
            gradient.T @ hidden,
            gradient.sum(dim=0),
        )


def _channels_last(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1)


def _channels_first(images: Tensor) -> Tensor:
    """Return ``(n, c, h, w)`` of contiguous ``(n, h, w, c)``, with strides that say so even for one channel."""
    n, h, w, c = images.shape
    return images.as_strided((n, c, h, w), (h * w * c, 1, w * c, c))


def _where_positive(values: Tensor, gradient: Tensor) -> Tensor:
    """Keep the gradient, in its own memory, where a ReLU let the values pass."""
    kept: Tensor = torch.ops.aten.threshold_backward(gradient, values, 0, grad_input=gradient)
    return kept


def _parameter_gradients(gradient: Tensor, entry: Tensor, layer: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Return the gradients of a layer's weight and bias."""
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, entry, layer.weight, [layer.out_channels], layer.stride, layer.padding, layer.dilation,
        False, [0, 0], 1, [False, True, True],
    )  # fmt: skip
    return found[1:]
