"""The scale of a trained classifier's logits, from images that it was not trained on."""

import math

import torch
from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn import functional

from nls.errors import UserError
from nls.levelset import evaluation_mode

_LARGEST = 100.0
# Images in one forward pass.
_BATCH = 250


def output_layer(network: nn.Module, images: Float[Tensor, "n c h w"]) -> nn.Linear:
    """Return the linear layer whose output the network returns, as these images show.

    Raises:
        UserError: the network does not end in a linear layer.
    """
    seen = dict[nn.Linear, Tensor]()
    hooks = [
        layer.register_forward_hook(lambda layer, _, output: seen.update({layer: output}))
        for layer in network.modules()
        if isinstance(layer, nn.Linear)
    ]
    try:
        with evaluation_mode(network), torch.no_grad():
            logits = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    for layer, output in seen.items():
        if output.shape == logits.shape and torch.equal(output, logits):
            return layer
    raise UserError("training.calibrate: the network does not end in a linear layer; leave the key out")


def calibrate(network: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"]) -> float:
    """Divide a network's logits by the temperature whose cross-entropy on the images is least; return it.

    This is temperature scaling (Guo et al., *On calibration of modern neural networks*, 2017). It changes no
    decision. A network that is far too sure of itself has a softmax of exactly 1 in float32, where the gradient of
    the cross-entropy vanishes and attacks that climb it stand still; afterwards they work. The temperature is 1 or
    more: where nearly all images are right, no mistake would keep it from 0.

    Args:
        network: its last layer's weights are divided.
        images: pixels in [0, 1], not trained on.
        labels: true classes.

    Raises:
        UserError: see :func:`output_layer`.
    """
    layer = output_layer(network, images[:1])
    with evaluation_mode(network), torch.no_grad():
        logits = torch.cat([network(batch) for batch in images.split(_BATCH)]).double()

    def loss(logarithm: float) -> float:
        return float(functional.cross_entropy(logits / math.exp(logarithm), labels.long()))

    temperature = math.exp(minimize_scalar(loss, bounds=(0, math.log(_LARGEST)), method="bounded").x)
    with torch.no_grad():
        for values in (layer.weight, layer.bias):
            if values is not None:
                values /= temperature
    return temperature
