"""Generalized Newton projection onto level sets (Section 2.1, Eq. 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from nls.levelset.fields import Field, members, values_and_jacobian


@dataclass(frozen=True)
class Projection:
    """Points after the projection and everything that the sample network needs of them.

    Attributes:
        points: the final points, ``(n, *shape)``.
        levels: the value ``c = F(p)`` reached, ``(n, l)``; the wanted level up to the tolerance where the
            iteration converged, and the level that the point is a sample of where it did not.
        jacobian: ``D_x F(p)``, ``(n, l, *shape)``.
        converged: whether ``|F(p) − level|∞`` is within the tolerance, ``(n,)``.
    """

    points: Float[Tensor, "n *shape"]
    levels: Float[Tensor, "n l"]
    jacobian: Float[Tensor, "n l *shape"]
    converged: Bool[Tensor, " n"]


def project(
    field: Field,
    points: Float[Tensor, "n *shape"],
    level: float | Float[Tensor, "n l"] = 0.0,
    *,
    context: Sequence[Tensor] = (),
    known: tuple[Float[Tensor, "n l"], Float[Tensor, "n l *shape"]] | None = None,
    tolerance: float = 1e-5,
    max_iterations: int = 20,
) -> Projection:
    """Move every point to the level set by ``p ← p − J†(F(p) − level)`` with ``J† = Jᵀ(J Jᵀ)⁻¹``.

    A point whose Jacobian has lost its rank stops where it is. Nothing is differentiated through, parameters
    keep their gradients as they were, and the module behind the field keeps its mode.

    On a CPU each iteration evaluates the points that have not converged. A GPU would wait for their number, so
    there every iteration evaluates all points, and those that have converged stay where they are.

    Args:
        field: the field; see ``Field``.
        points: where to start, floating point.
        level: the wanted level, one number or a value for each point and output.
        context: further tensors of the field, one row a point.
        known: F and ``D_x F`` at ``points``, if they have been evaluated already.
        tolerance: largest accepted ``|F(p) − level|``, in units of F.
        max_iterations: the most Newton steps of a point (10 to 20 in the paper).

    Raises:
        ValueError: ``points`` is not floating point, or ``max_iterations`` is negative.
    """
    if not points.is_floating_point():
        raise ValueError(f"points must be floating point, not {points.dtype}")
    if max_iterations < 0:
        raise ValueError(f"max_iterations must not be negative, not {max_iterations}")
    points = points.detach().clone()
    levels, jacobian = values_and_jacobian(field, points, context) if known is None else known
    target = (
        level.to(levels).expand_as(levels) if isinstance(level, Tensor) else torch.full_like(levels, level)
    )
    moving = torch.arange(len(points), device=points.device)
    at, found = points, (levels, jacobian)
    levels, jacobian = levels.clone(), jacobian.clone()
    for _ in range(max_iterations):
        residual = found[0] - target[moving]
        step, regular = minimal_norm_solution(found[1], residual)
        onward = (residual.abs().amax(dim=1) > tolerance) & regular
        step = torch.where(as_column(onward, step), step, 0)
        chosen = rows_where(onward, members(field))
        moving = moving[chosen]
        if len(moving) == 0:
            break
        at = at[chosen] - step[chosen]
        found = values_and_jacobian(field, at, [rows[moving] for rows in context])
        for values, new in ((points, at), (levels, found[0]), (jacobian, found[1])):
            write_rows(values, moving, new)
    converged = (levels - target).abs().amax(dim=1) <= tolerance
    return Projection(points, levels, jacobian, converged)


def approach(
    field: Field, points: Float[Tensor, "n *shape"], *, trust: float, max_iterations: int
) -> Float[Tensor, "n *shape"]:
    """Return points after the iteration of :func:`project` towards level 0, its landing not looked at.

    A point whose ``|F|∞`` is at most ``trust`` takes its last step, and whoever evaluates the field there next sees
    how near it came: for a sample network, which needs F and ``D_x F`` at its points with their graph anyway, that is
    an evaluation less for every point.

    Args:
        field: the field; see ``Field``.
        points: where to start, floating point.
        trust: largest ``|F|`` from which one step is trusted to land; Newton's error is about squared by a step.
        max_iterations: the most Newton steps of a point.
    """
    points = points.detach().clone()
    moving = torch.arange(len(points), device=points.device)
    onward = torch.ones(len(points), dtype=torch.bool, device=points.device)
    for _ in range(max_iterations):
        values, jacobian = values_and_jacobian(field, points[moving])
        step, regular = minimal_norm_solution(jacobian, values)
        write_rows(points, moving, points[moving] - torch.where(as_column(onward, step), step, 0))
        onward = onward & (values.abs().amax(dim=1) > trust) & regular
        chosen = rows_where(onward, members(field))
        moving, onward = moving[chosen], onward[chosen]
        if len(moving) == 0:
            break
    return points


def rows_where(flags: Bool[Tensor, " n"], members: int = 1) -> Int[Tensor, " m"]:
    """Return the rows whose flag is set; on a GPU, which would wait for their number, all rows.

    Of a field of several :func:`members` the turns are returned, with all their rows, in which a flag is set.
    """
    if flags.device.type != "cpu":
        return torch.arange(len(flags), device=flags.device)
    if members == 1:
        return flags.nonzero()[:, 0]
    turns = flags.unflatten(0, (-1, members)).any(dim=1).nonzero()
    return (members * turns + torch.arange(members)).flatten()


def write_rows(
    values: Shaped[Tensor, "n *shape"], rows: Int[Tensor, " m"], new: Shaped[Tensor, "m *shape"]
) -> None:
    """Set ``values[rows] = new``, with rows from :func:`rows_where`.

    On a GPU these are all rows, in order. It would sort them before it writes, to be deterministic.
    """
    if values.device.type == "cpu":
        values[rows] = new
    else:
        values.copy_(new)


def as_column(values: Shaped[Tensor, " n"], like: Shaped[Tensor, "n *shape"]) -> Shaped[Tensor, "n *ones"]:
    """Return one number or flag a point, shaped so that it broadcasts over the points ``like``."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def minimal_norm_solution(
    jacobian: Float[Tensor, "n l *shape"], residual: Float[Tensor, "n l"]
) -> tuple[Float[Tensor, "n *shape"], Bool[Tensor, " n"]]:
    """Return ``s = J† r``, the smallest solution of ``J s = r``, and where J has full rank (0 elsewhere)."""
    flat = jacobian.flatten(2)
    coefficients, regular = _solve_gram(flat, residual[:, :, None])
    step = (coefficients * flat if flat.shape[1] == 1 else coefficients.mT @ flat)[:, 0]
    return step.reshape(jacobian.shape[:1] + jacobian.shape[2:]), regular


def pseudo_inverse(jacobian: Float[Tensor, "n l *shape"]) -> Float[Tensor, "n l *shape"]:
    """Return ``J† = Jᵀ(J Jᵀ)⁻¹`` with the axis of size l first, zero where J has lost its rank."""
    flat = jacobian.flatten(2)
    identity = torch.eye(flat.shape[1], dtype=flat.dtype, device=flat.device).expand(len(flat), -1, -1)
    coefficients, _ = _solve_gram(flat, identity)
    return (coefficients.mT @ flat).reshape(jacobian.shape)


def _solve_gram(flat: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Solve ``(J Jᵀ) x = right`` with rows scaled to length 1, so that only angles decide the rank."""
    length = torch.linalg.vector_norm(flat, dim=2)
    # Squares and reciprocals of lengths beyond these bounds leave the number range.
    bounds = torch.finfo(flat.dtype)
    usable = ((length > bounds.tiny**0.5) & (length < bounds.max**0.5)).all(dim=1)
    scale = torch.where(usable[:, None], length, 1.0)
    if flat.shape[1] == 1:  # J† = Jᵀ / ‖J‖²
        return torch.where(usable[:, None, None], right / scale[:, :, None].square(), 0.0), usable
    unit = torch.where(usable[:, None, None], flat / scale[:, :, None], 0.0)
    gram = unit @ unit.mT
    factor, info = torch.linalg.cholesky_ex(gram)
    pivots = factor.diagonal(dim1=1, dim2=2)
    regular = usable & (info == 0) & (pivots.square().amin(dim=1) > 8 * bounds.eps)
    identity = torch.eye(flat.shape[1], dtype=flat.dtype, device=flat.device)
    factor = torch.where(regular[:, None, None], factor, identity)
    solution = torch.cholesky_solve(right / scale[:, :, None], factor) / scale[:, :, None]
    return torch.where(regular[:, None, None], solution, 0.0), regular
