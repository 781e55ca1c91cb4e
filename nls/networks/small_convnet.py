"""The convolutional network of the small-data experiment (Figure 2)."""

from torch import nn

from nls.networks.strided_conv import HalvingConv2d


def small_convnet(channels: int, height: int, width: int) -> nn.Sequential:
    """Return a scalar network of ``(n, channels, height, width)`` images: two convolutions, two linear layers.

    5×5 kernels with stride 2 and 16 and 32 channels, 128 hidden units, ReLU; 214,081 parameters for MNIST.
    """
    cells = -(-height // 4) * -(-width // 4)
    return nn.Sequential(
        HalvingConv2d(channels, 16, kernel_size=5),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=5, stride=2, padding=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * cells, 128),
        nn.ReLU(),
        nn.Linear(128, 1),
    )
