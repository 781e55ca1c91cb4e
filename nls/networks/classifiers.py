"""Classifiers by name, for configs."""

from collections.abc import Callable, Mapping

from torch import nn

from nls.errors import UserError
from nls.networks.convnet import convnet4a, convnet4a_linear_head, convnet4b, convnet_small
from nls.networks.resnet import ResNet18

# Each takes channels, side and classes.
CLASSIFIERS: Mapping[str, Callable[[int, int, int], nn.Module]] = {
    "convnet4a": convnet4a,
    "convnet4a-linear-head": convnet4a_linear_head,
    "convnet4b": convnet4b,
    "resnet18": ResNet18,
    "convnet-small": convnet_small,
}


def build_classifier(name: str, channels: int, side: int, classes: int) -> nn.Module:
    """Build a network of :data:`CLASSIFIERS` for square images of ``side`` pixels.

    Raises:
        UserError: an unknown name.
    """
    if name not in CLASSIFIERS:
        raise UserError(f"unknown network {name!r}: take one of {', '.join(CLASSIFIERS)}")
    return CLASSIFIERS[name](channels, side, classes)
