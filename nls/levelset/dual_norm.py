"""The least step onto a scalar field's linearised level set, in L1, L2 or L∞."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from nls.levelset.newton import pseudo_inverse

StepNorm = Literal["l1", "l2", "linf"]


def least_step_inverse(
    jacobian: Float[Tensor, "n l *shape"], norm: StepNorm = "l2"
) -> Float[Tensor, "n l *shape"]:
    """Return the vector ``v`` for which ``v r`` is the solution of ``J s = r`` with the least norm.

    In L2 it is ``J†``. For one output, a step of length 1 in a norm changes the field by at most the dual norm of
    the gradient ``g``, and by as much along

    - ``g / ‖g‖₂²`` in L2,
    - ``sign(g) / ‖g‖₁`` in L∞,
    - ``e_i / g_i`` with ``i = argmax |g_i|`` in L1.

    So the level set's distance from a point on it changes by ``−D_θF / ‖g‖_*`` in that norm when θ moves.

    Args:
        jacobian: ``D_xF``; one output (l = 1) unless the norm is ``l2``.
        norm: in which the step is least.

    Returns:
        As the pseudo-inverse, with the axis of size l first; 0 where the gradient vanishes.

    Raises:
        ValueError: several outputs in a norm other than ``l2``.
    """
    if norm == "l2":
        return pseudo_inverse(jacobian)
    if jacobian.shape[1] != 1:
        raise ValueError(f"the least step in {norm} needs one output, not {jacobian.shape[1]}")
    flat = jacobian.flatten(2)
    if norm == "linf":
        direction, dual = flat.sign(), flat.abs().sum(dim=2, keepdim=True)
    else:
        dual, axis = flat.abs().max(dim=2, keepdim=True)
        direction = torch.zeros_like(flat).scatter(2, axis, flat.gather(2, axis).sign())
    usable = dual > torch.finfo(flat.dtype).tiny ** 0.5
    inverse = torch.where(usable, direction / torch.where(usable, dual, 1.0), 0.0)
    return inverse.reshape(jacobian.shape)
