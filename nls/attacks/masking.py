"""Signs that a model hides its gradient instead of being robust (Athalye et al., 2018)."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nls.attacks.model import under_attack
from nls.attacks.pgd import LOSSES, Loss

# Below this, rounding in float32 decides the sign of a cross-entropy gradient: 1 − p_y is lost beside 1.
VANISHED = 1e-7

# Flagged when the gradient vanishes for at least this share of the examples.
VANISHED_SHARE = 0.05

WHITE_BOX = ("pgd-xent", "pgd-margin", "apgd-ce", "apgd-dlr", "apgd-t", "fab-t")
BLACK_BOX = ("square", "transfer")


def vanishing_share(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    loss: Loss,
    batch_size: int = 250,
) -> float:
    """Return the share of images where no entry of the loss's gradient exceeds :data:`VANISHED`."""
    if len(images) == 0:
        return 0.0
    vanished = 0
    with under_attack(model), torch.enable_grad():
        for batch, answers in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            points = batch.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(LOSSES[loss](model(points), answers).sum(), points)
            vanished += int((gradient.flatten(1).abs().amax(dim=1) <= VANISHED).sum())
    return vanished / len(images)


def masking_reasons(robust_accuracy: Mapping[str, float], vanishing: Mapping[str, float]) -> list[str]:
    """Return one line for every sign of gradient masking; none where the figures give no reason for doubt.

    A white-box attack knows more than a black-box one, so it should not find fewer adversarial examples.

    Args:
        robust_accuracy: attack to robust accuracy, fractions, all on the same examples.
        vanishing: attack to the share of :func:`vanishing_share`.
    """
    reasons = [
        f"{black} leaves {robust_accuracy[black]:.2%}, less than {white} with {robust_accuracy[white]:.2%}"
        for black in BLACK_BOX
        for white in WHITE_BOX
        if black in robust_accuracy and white in robust_accuracy
        if robust_accuracy[black] < robust_accuracy[white]
    ]
    reasons += [
        f"the gradient of {attack} vanishes on {share:.1%} of the correct examples"
        for attack, share in vanishing.items()
        if share >= VANISHED_SHARE
    ]
    return reasons
