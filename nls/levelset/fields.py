"""Fields F(x; θ): R^d → R^l, their Jacobians, and the modes of the module behind them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class Field(Protocol):
    """A map of points ``(n, *shape)`` to values ``(n,)`` (for l = 1) or ``(n, l)``, sample by sample.

    ``context`` holds further tensors with one row a sample, such as labels; whatever takes a subset of the
    points takes the same rows of the context. A module whose samples interact, as in training-mode batch
    normalisation, is not a field: call it in evaluation mode.

    A field may stand for several networks that take turns with the rows (see :func:`members`).
    """

    def __call__(self, points: Tensor, *context: Tensor) -> Tensor:
        """Return the values of the points."""


def members(field: Field) -> int:
    """Return how many networks a field stands for: row r goes through network ``r mod members``.

    Whatever takes a subset of the rows of such a field takes whole turns: ``members`` rows, one for each network.
    """
    return int(getattr(field, "members", 1))


def values_of(field: Field, points: Tensor, context: Sequence[Tensor] = ()) -> Float[Tensor, "n l"]:
    """Evaluate ``field`` and return its values with an explicit last axis of size l."""
    values = field(points, *context)
    return values[:, None] if values.dim() == 1 else values


def values_and_jacobian(
    field: Field, points: Float[Tensor, "n *shape"], context: Sequence[Tensor] = ()
) -> tuple[Float[Tensor, "n l"], Float[Tensor, "n l *shape"]]:
    """Return ``F(p; θ)`` and ``D_x F(p; θ)`` at every point, both without a graph.

    One backward pass an output, or the field's own way (see :func:`live_values_and_jacobian`). Only the gradient with
    respect to the points is formed: parameters receive none, and none is computed for them.
    """
    with torch.no_grad():
        found = _own_values_and_jacobian(field, points, context)
    if found is not None:
        return found
    with torch.enable_grad():
        points = points.detach().requires_grad_(True)
        values = values_of(field, points, context)
        outputs = values.shape[1]
        rows = [
            torch.autograd.grad(values[:, row].sum(), points, retain_graph=row + 1 < outputs)[0]
            for row in range(outputs)
        ]
    return values.detach(), torch.stack(rows, dim=1)


def live_values_and_jacobian(
    field: Field, points: Float[Tensor, "n *shape"]
) -> tuple[Float[Tensor, "n l"], Float[Tensor, "n l *shape"]]:
    """Return ``F(p; θ)`` with its graph in θ and ``D_x F(p; θ)`` without one.

    A field may do both in one evaluation: its ``live_values_and_jacobian``, if it has one, is asked, and says None
    where it cannot.
    """
    found = _own_values_and_jacobian(field, points)
    if found is not None:
        return found
    return values_of(field, points), values_and_jacobian(field, points)[1]


def _own_values_and_jacobian(
    field: Field, points: Tensor, context: Sequence[Tensor] = ()
) -> tuple[Tensor, Tensor] | None:
    own: Callable[..., tuple[Tensor, Tensor] | None] | None
    own = getattr(field, "live_values_and_jacobian", None)
    return own(points, *context) if own is not None else None


def class_margin(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return ``F^y = f_y − max_{i≠y} f_i`` (Eq. 1): positive where class y wins, zero on its boundary."""
    index = labels[:, None]
    others = logits.scatter(1, index, -torch.inf)
    return logits.gather(1, index)[:, 0] - others.amax(dim=1)


def soft_class_margin(
    logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"], temperature: float
) -> Float[Tensor, " n"]:
    """Return ``f_y − log(Σ_{i≠y} exp(T f_i)) / T``: smooth, and below ``F^y`` by at most ``log(k − 1) / T``."""
    index = labels[:, None]
    others = temperature * logits.scatter(1, index, -torch.inf)
    return logits.gather(1, index)[:, 0] - others.logsumexp(dim=1) / temperature


class ClassMargin(nn.Module):
    """The field ``F^y`` of a classifier; its context is the labels ``(n,)``."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, points: Float[Tensor, "n *shape"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return the margin of every point for its own label."""
        return class_margin(self.classifier(points), labels)


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put ``module`` into evaluation mode and give every submodule its own mode back afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
