"""Roots of a scalar field along segments by false position."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nls.levelset.fields import Field, members, values_of
from nls.levelset.newton import as_column, rows_where, write_rows


@dataclass(frozen=True)
class SegmentRoots:
    """The best point found on every segment.

    Attributes:
        points: ``(n, *shape)``; the end point of smaller value where the segment holds no sign change.
        values: ``F(p) − level``, ``(n,)``.
        bracketed: whether the end points have values of opposite sign, ``(n,)``.
    """

    points: Float[Tensor, "n *shape"]
    values: Float[Tensor, " n"]
    bracketed: Bool[Tensor, " n"]


@torch.no_grad()
def false_position(
    field: Field,
    start: Float[Tensor, "n *shape"],
    end: Float[Tensor, "n *shape"],
    *,
    end_values: tuple[Float[Tensor, " n"], Float[Tensor, " n"]] | None = None,
    level: float = 0.0,
    context: Sequence[Tensor] = (),
    tolerance: float = 1e-5,
    max_iterations: int = 20,
) -> SegmentRoots:
    """Find a point of the level set on every segment whose ends have values of opposite sign.

    Regula falsi with the Illinois rule (the value kept at one end twice in a row is halved), which converges
    where plain false position creeps. One forward pass an iteration: on a CPU of the segments not yet solved; a GPU
    would wait for their number, so there of all, and those that are solved keep their point.

    Args:
        field: a scalar field, ``(n, *shape) → (n,)``.
        start: one end of every segment.
        end: the other end.
        end_values: the field's values at ``start`` and ``end`` where they are known already.
        level: the wanted level.
        context: further tensors of the field, one row a point.
        tolerance: largest accepted ``|F(p) − level|``, in units of F.
        max_iterations: the most forward passes of a segment.
    """
    if end_values is None:
        end_values = (values_of(field, start, context)[:, 0], values_of(field, end, context)[:, 0])
    low, high = end_values[0] - level, end_values[1] - level
    bracketed = low * high < 0
    left, right = torch.zeros_like(low), torch.ones_like(high)
    best = torch.where(low.abs() <= high.abs(), left, right)
    values = torch.where(low.abs() <= high.abs(), low, high)
    unsolved = bracketed & (values.abs() > tolerance)
    active = rows_where(unsolved, members(field))
    for _ in range(max_iterations):
        if len(active) == 0:
            break
        going = unsolved[active]
        a, b, fa, fb = left[active], right[active], low[active], high[active]
        middle = torch.where(going, (a * fb - b * fa) / (fb - fa), b)
        points = torch.lerp(start[active], end[active], as_column(middle, start))
        found = values_of(field, points, [rows[active] for rows in context])[:, 0] - level
        closer = going & (found.abs() < values[active].abs())
        # `right` is the newest point; `left` keeps the other sign, its value halved when it stays.
        stays = fb * found > 0
        changed = (
            (best, torch.where(closer, middle, best[active])),
            (values, torch.where(closer, found, values[active])),
            (left, torch.where(going & ~stays, b, a)),
            (low, torch.where(going, torch.where(stays, fa / 2, fb), fa)),
            (right, middle),
            (high, torch.where(going, found, fb)),
            (unsolved, going & (found.abs() > tolerance)),
        )
        for kept, new in changed:
            write_rows(kept, active, new)
        active = active[rows_where(unsolved[active], members(field))]
    return SegmentRoots(torch.lerp(start, end, as_column(best, start)), values, bracketed)
