"""Residual networks for 28 × 28 and 32 × 32 images."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

Normalisation = Callable[[int], nn.Module]


class ResNet(nn.Module):
    """Residual blocks of two 3×3 convolutions behind a 3×3 stem without pooling; each stage but the first halves.

    Source: He et al., *Deep residual learning for image recognition* (2016).

    Args:
        channels: of the images.
        classes: logits.
        widths: channels of the stages.
        blocks: of a stage.
        normalisation: layer after each convolution, of so many channels.
    """

    def __init__(
        self, channels: int, classes: int, widths: tuple[int, ...], blocks: int, normalisation: Normalisation
    ) -> None:
        super().__init__()
        first, last = widths[0], widths[-1]
        self.stem = nn.Sequential(
            nn.Conv2d(channels, first, 3, padding=1, bias=False), normalisation(first), nn.ReLU()
        )
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    _Block(before, width, 1 if number == 0 else 2, normalisation),
                    *(_Block(width, width, 1, normalisation) for _ in range(blocks - 1)),
                )
                for number, (before, width) in enumerate(zip((first, *widths), widths, strict=False))
            )
        )
        self.head = nn.Linear(last, classes)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Return the logits."""
        return self.head(self.stages(self.stem(images)).mean(dim=(2, 3)))


def resnet18(channels: int = 3, side: int = 32, classes: int = 10) -> ResNet:
    """ResNet-18 with the stem that TRADES (Zhang et al., 2019) uses on CIFAR10; 11,173,962 parameters."""
    return ResNet(channels, classes, (64, 128, 256, 512), blocks=2, normalisation=nn.BatchNorm2d)


def resnet8(channels: int = 1, side: int = 28, classes: int = 10) -> ResNet:
    """ResNet-8: blocks of 16, 32 and 64 channels with batch normalisation; 77,754 parameters for grey images."""
    return ResNet(channels, classes, (16, 32, 64), blocks=1, normalisation=nn.BatchNorm2d)


def resnet8_group(channels: int = 1, side: int = 28, classes: int = 10) -> ResNet:
    """ResNet-8 with group normalisation (Wu and He, 2018), whose images do not depend on one another."""
    return ResNet(
        channels, classes, (16, 32, 64), blocks=1, normalisation=lambda width: nn.GroupNorm(4, width)
    )


class _Block(nn.Module):
    """Two 3×3 convolutions beside an identity, or a 1×1 convolution where the shape changes."""

    def __init__(self, inputs: int, width: int, stride: int, normalisation: Normalisation) -> None:
        super().__init__()
        self.straight = nn.Sequential(
            nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False),
            normalisation(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            normalisation(width),
        )
        self.beside: nn.Module = nn.Identity()
        if stride != 1 or inputs != width:
            self.beside = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), normalisation(width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.straight(x) + self.beside(x))
