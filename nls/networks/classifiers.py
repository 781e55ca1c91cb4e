"""Classifiers by name, for configs: this package's, and a user's own."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from nls.engine.user_code import is_user_code, load_user_code, told_as_theirs
from nls.errors import UserError
from nls.levelset import evaluation_mode
from nls.networks.convnet import convnet4a, convnet4a_linear_head, convnet4b, convnet_small
from nls.networks.resnet import resnet8, resnet8_group, resnet18

# Each takes channels, side and classes.
CLASSIFIERS: Mapping[str, Callable[[int, int, int], nn.Module]] = {
    "convnet4a": convnet4a,
    "convnet4a-linear-head": convnet4a_linear_head,
    "convnet4b": convnet4b,
    "resnet18": resnet18,
    "resnet8": resnet8,
    "resnet8-group": resnet8_group,
    "convnet-small": convnet_small,
}
# The side that the convolutions and poolings of a network leave a pixel of; the others take any.
_SMALLEST = {"convnet4a": 16, "convnet4a-linear-head": 16, "convnet4b": 4, "convnet-small": 2}


def build_classifier(name: str, channels: int, side: int, classes: int) -> nn.Module:
    """Build a network of :data:`CLASSIFIERS`, or a user's ``file.py:Factory``, for images of ``side`` × ``side``.

    A factory is a function or class that returns the network. It gets ``channels``, ``side`` and ``classes`` as far
    as it has parameters of these names; one that needs three arguments of other names gets them in this order.

    Raises:
        UserError: an unknown name, images smaller than the network takes, a file that cannot be loaded, a factory
            that fails, or a network that does not return one row of ``classes`` finite logits an image.
    """
    if is_user_code(name):
        return _build_own(name, channels, side, classes)
    if name not in CLASSIFIERS:
        raise UserError(f"unknown network {name!r}: take one of {', '.join(CLASSIFIERS)}, or FILE.py:FACTORY")
    if side < _SMALLEST.get(name, 1):
        raise UserError(
            f"{name} takes images of {_SMALLEST[name]} x {_SMALLEST[name]} pixels or more, not {side} x {side}"
        )
    return CLASSIFIERS[name](channels, side, classes)


def _build_own(name: str, channels: int, side: int, classes: int) -> nn.Module:
    factory = load_user_code(name)
    remedy = "it may have the parameters channels, side and classes, and no others without a default"
    with told_as_theirs(name, "the factory failed", remedy):
        network = _call(factory, {"channels": channels, "side": side, "classes": classes})
    if not isinstance(network, nn.Module):
        raise UserError(f"{name}: returned {type(network).__name__}, not a torch.nn.Module")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise UserError(f"{name}: the network has no parameters to train")
    _require_logits(name, network, (channels, side, side), classes)
    return network


def _call(factory: Callable[..., Any], facts: Mapping[str, int]) -> Any:
    signature = inspect.signature(factory)
    named = {key: value for key, value in facts.items() if key in signature.parameters}
    try:
        signature.bind(**named)
    except TypeError:
        return factory(*facts.values())
    return factory(**named)


def _require_logits(name: str, network: nn.Module, shape: tuple[int, int, int], classes: int) -> None:
    """Try two images, so that a network that does not fit fails before an hour of training, not after it."""
    with (
        evaluation_mode(network),
        told_as_theirs(name, f"the network does not take images of shape {shape}", "mend the file"),
    ):
        logits = network(torch.zeros(2, *shape))
    found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if found != (2, classes):
        raise UserError(
            f"{name}: the network returns {found} for 2 images, not logits of shape {(2, classes)}"
        )
    if not (logits.is_floating_point() and logits.requires_grad):
        raise UserError(
            f"{name}: the logits, of {logits.dtype}, have no gradient in the weights; mend the file"
        )
    if not torch.isfinite(logits).all():
        raise UserError(
            f"{name}: the network returns NaN or infinite logits for a black image; mend the file"
        )
