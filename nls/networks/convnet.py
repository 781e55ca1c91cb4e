"""Convolutional classifiers of the robustness experiments (Section 5.2), and a small one for small images."""

from collections import OrderedDict

from torch import nn


def convnet4a(channels: int = 1, side: int = 28, classes: int = 10) -> nn.Sequential:
    """ConvNet-4a as published: four 3×3 convolutions, two poolings, head 200-200-``classes`` with ReLUs.

    312,202 parameters for 28 × 28 grey images. Source: the MNIST network of Carlini and Wagner, *Towards
    evaluating the robustness of neural networks* (2017), as used by TRADES (Zhang et al., 2019).
    """
    return _convnet4a(channels, side, classes, activation=True)


def convnet4a_linear_head(channels: int = 1, side: int = 28, classes: int = 10) -> nn.Sequential:
    """ConvNet-4a without ReLUs between the fully connected layers; the parameters are the same.

    This is what produced Table 1: in the released code both ReLUs of the head vanish.
    """
    return _convnet4a(channels, side, classes, activation=False)


def convnet4b(channels: int = 3, side: int = 32, classes: int = 10) -> nn.Sequential:
    """ConvNet-4b: convolutions 3×3, 4×4/2, 3×3, 4×4/2 of 32, 32, 64, 64 channels, head 512-512-``classes``.

    2,466,858 parameters for 32 × 32 colour images. Source: the large network of Wong et al., *Scaling provable
    adversarial defenses* (2018).
    """
    convolutions = [
        nn.Conv2d(channels, 32, 3, padding=1),
        nn.Conv2d(32, 32, 4, stride=2, padding=1),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.Conv2d(64, 64, 4, stride=2, padding=1),
    ]
    body = [layer for convolution in convolutions for layer in (convolution, nn.ReLU())]
    head = _head(64 * (side // 4) ** 2, 512, classes, activation=True)
    return _he_initialised(nn.Sequential(*body, nn.Flatten(), *head))


def convnet_small(channels: int = 1, side: int = 8, classes: int = 10) -> nn.Sequential:
    """Two 3×3 convolutions of 16 and 32 channels, one pooling, head 64-``classes``; for images of a few pixels."""
    network = nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (side // 2) ** 2, 64),
        nn.ReLU(),
        nn.Linear(64, classes),
    )
    return _he_initialised(network)


def _convnet4a(channels: int, side: int, classes: int, activation: bool) -> nn.Sequential:
    left = ((side - 4) // 2 - 4) // 2
    features = nn.Sequential(
        nn.Conv2d(channels, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
    head = nn.Sequential(*_head(64 * left**2, 200, classes, activation))
    network = nn.Sequential(OrderedDict(features=features, flatten=nn.Flatten(), head=head))
    return _he_initialised(network)


def _he_initialised(network: nn.Sequential) -> nn.Sequential:
    """Draw the weights by He et al. (2015) with zero biases, so that signals keep their size through the layers.

    PyTorch's default shrinks them until the largest logit is the same for all images; then no decision boundary
    is near any sample, and a loss on boundary samples has nothing to start from.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def _head(inputs: int, width: int, classes: int, activation: bool) -> list[nn.Module]:
    between: list[nn.Module] = [nn.ReLU()] if activation else []
    return [
        nn.Linear(inputs, width),
        *between,
        nn.Linear(width, width),
        *between,
        nn.Linear(width, classes),
    ]
