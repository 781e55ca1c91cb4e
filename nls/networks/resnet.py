"""ResNet-18 for 32 × 32 images."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ResNet18(nn.Module):
    """ResNet-18 with a 3×3 stem and no first pooling, for 32 × 32 images; 11,173,962 parameters.

    Source: He et al., *Deep residual learning for image recognition* (2016), with the stem that TRADES
    (Zhang et al., 2019) uses on CIFAR10.
    """

    def __init__(self, channels: int = 3, side: int = 32, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()
        )
        widths = (64, 64, 128, 256, 512)
        self.stages = nn.Sequential(
            *(
                nn.Sequential(_Block(before, width, stride), _Block(width, width, 1))
                for before, width, stride in zip(widths, widths[1:], (1, 2, 2, 2), strict=False)
            )
        )
        self.head = nn.Linear(512, classes)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Return the logits."""
        return self.head(self.stages(self.stem(images)).mean(dim=(2, 3)))


class _Block(nn.Module):
    """Two 3×3 convolutions beside an identity, or a 1×1 convolution where the shape changes."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.straight = nn.Sequential(
            nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.beside: nn.Module = nn.Identity()
        if stride != 1 or inputs != width:
            self.beside = nn.Sequential(
                nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.straight(x) + self.beside(x))
