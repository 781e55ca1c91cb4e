"""Plain multilayer perceptrons."""

import itertools

from torch import nn


def mlp(inputs: int, outputs: int, width: int, depth: int) -> nn.Sequential:
    """Return ``depth`` hidden layers of ``width`` ReLU units and a linear output, ``(n, inputs) → (n, outputs)``."""
    sizes = [inputs] + [width] * depth
    hidden = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(sizes[-1], outputs))
