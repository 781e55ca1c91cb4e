"""Signs that standard attacks do not fit a model, as AutoAttack's documentation names them (Croce and Hein, 2020)."""

from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nls.attacks.model import under_attack
from nls.attacks.pgd import LOSSES

Sign = Literal["randomised", "probabilities", "optimises", "zero_gradient"]

# Passes compared, and the largest change of logits of length 1 that rounding explains.
_PASSES = 5
_CHANGE = 1e-4

# How near 1 the outputs of a softmax sum up.
_SUM = 1e-4


def model_warnings(
    model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"]
) -> dict[Sign, str]:
    """Return what in a model may mislead standard attacks, each with a line that says what to do.

    - ``randomised``: the logits change from pass to pass.
    - ``probabilities``: the outputs are in [0, 1] and sum to 1.
    - ``optimises``: the forward pass computes gradients of its own.
    - ``zero_gradient``: the margin's gradient is exactly zero at an image that is classified correctly.
    """
    warnings: dict[Sign, str] = {}
    with under_attack(model):
        with torch.no_grad(), _WatchingBackward() as backward:
            logits = model(images)
        if _is_randomised(model, images):
            warnings["randomised"] = (
                "the model's outputs change from pass to pass: gradients and verdicts are means over several passes"
            )
        if logits.min() >= -_SUM and ((logits.sum(dim=1) - 1).abs() <= _SUM).all():
            warnings["probabilities"] = (
                "the outputs look like probabilities: return logits, since a softmax flattens gradients"
            )
        if backward.seen:
            warnings["optimises"] = (
                "the forward pass computes gradients: robustness is likely overstated; attack it adaptively"
            )
        still = _without_gradient(model, images, labels)
        if still:
            warnings["zero_gradient"] = (
                f"the margin's gradient is zero at {still} of {len(images)} images: "
                "only attacks without gradients (square) say something about them"
            )
    return warnings


@torch.no_grad()
def _is_randomised(model: nn.Module, images: Tensor) -> bool:
    outputs = torch.stack([nn.functional.normalize(model(images), dim=1) for _ in range(_PASSES)])
    return bool((outputs - outputs[0]).norm(dim=2).max() > _CHANGE)


class _WatchingBackward(TorchFunctionMode):
    """Sees whether autograd's engine is asked for gradients, whoever asks.

    Every way to it in Python, ``torch.func`` too, passes one of three functions.

    Attributes:
        seen: whether it was asked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), options: dict[str, Any] | None = None
    ) -> Any:
        if function in (torch.autograd.grad, torch.autograd.backward, Tensor.backward):
            self.seen = True
        return function(*arguments, **(options or {}))


def _without_gradient(model: nn.Module, images: Tensor, labels: Tensor) -> int:
    """Return for how many correct images no entry of the margin's gradient differs from 0."""
    with torch.enable_grad():
        points = images.detach().requires_grad_(True)
        logits = model(points)
        if not logits.requires_grad:
            return len(images)
        (gradient,) = torch.autograd.grad(LOSSES["margin"](logits, labels).sum(), points, allow_unused=True)
    correct = logits.argmax(dim=1) == labels
    zero = torch.ones_like(correct) if gradient is None else (gradient == 0).flatten(1).all(dim=1)
    return int((correct & zero).sum())
