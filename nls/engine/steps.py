"""What the training loops share: how often they look at the loss, what they stop at, and the cosine schedule."""

import math

from torch import Tensor

from nls.errors import RunError

# Steps between two looks at the loss: a look waits for the GPU.
LOOK = 20


def require_finite(loss: Tensor | float, **where: int) -> float:
    """Return the loss as a number.

    Raises:
        RunError: the loss is not finite; ``where`` (step, seed) is in the message.
    """
    value = float(loss.detach() if isinstance(loss, Tensor) else loss)
    if not math.isfinite(value):
        place = ", ".join(f"{name} {number}" for name, number in where.items())
        # No rate has changed the weights before the first step.
        first = where.get("step") == 0
        remedy = "look at the loss and at the data" if first else "a smaller learning rate may help"
        raise RunError(f"the loss is {value} at {place}; {remedy}")
    return value


def cosine(done: float) -> float:
    """Return the factor of a learning rate that falls to 0 along half a cosine, after a share of the steps."""
    return (1 + math.cos(math.pi * min(done, 1.0))) / 2
