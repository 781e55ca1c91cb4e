"""Signs that standard attacks do not fit a model, as AutoAttack's documentation names them (Croce and Hein, 2020)."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

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
        with torch.no_grad(), _watching_backward() as seen:
            logits = model(images)
        if _is_randomised(model, images):
            warnings["randomised"] = (
                "the model's outputs change from pass to pass: gradients and verdicts are means over several passes"
            )
        if logits.min() >= -_SUM and ((logits.sum(dim=1) - 1).abs() <= _SUM).all():
            warnings["probabilities"] = (
                "the outputs look like probabilities: return logits, since a softmax flattens gradients"
            )
        if seen:
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


@contextmanager
def _watching_backward() -> Iterator[list[str]]:
    """Fill the list when autograd's engine runs, whoever calls it."""
    seen: list[str] = []

    def watch(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and getattr(called, "__name__", "") == "run_backward":
            seen.append(frame.f_code.co_filename)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield seen
    finally:
        sys.setprofile(before)


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
