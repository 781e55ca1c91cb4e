"""Muon (Jordan et al. 2024): momentum whose step is orthogonalised, in float32."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nls.engine.optimizers import Eager

# Coefficients of the quintic iteration, its steps, and the momentum, as in torch.optim.Muon.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5
_MOMENTUM = 0.95


class Muon(Eager):
    """Muon with Nesterov momentum, without weight decay; a step is as long as one of Adam at the same rate.

    The arithmetic is that of ``torch.optim.Muon(..., weight_decay=0, adjust_lr_fn="match_rms_adamw")``, except that
    the Newton–Schulz iteration runs in the parameters' own precision instead of bfloat16, which takes a processor
    without bfloat16 in hardware twenty times as long (docs/surfaces.md). So results do not depend on that.

    Args:
        parameters: matrices.
        learning_rate: length of a step, as the root mean square over the matrix's entries divided by about 0.2.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        super().__init__(parameters, {"lr": learning_rate})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(matrix)
                momentum = state["momentum_buffer"].lerp_(matrix.grad, 1 - _MOMENTUM)
                direction = orthogonalised(matrix.grad.lerp(momentum, _MOMENTUM))
                matrix.sub_(direction, alpha=0.2 * math.sqrt(max(matrix.shape)) * group["lr"])


def orthogonalised(matrix: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """Return about ``U Vᵀ`` of the singular value decomposition ``U S Vᵀ``: singular values of 0.7 to 1.2."""
    turned = len(matrix) > matrix.shape[1]
    current = matrix.T if turned else matrix
    current = current / torch.linalg.matrix_norm(current).clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = current @ current.T
        current = torch.addmm(current, torch.addmm(gram, gram, gram, beta=_B, alpha=_C), current, beta=_A)
    return current.T if turned else current
