"""Losses of binary classifiers: what they are given, cross-entropy, and the output-space hinge."""

from typing import Protocol

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from nls.levelset import members


class BinaryLoss(Protocol):
    """A training loss of a scalar network; labels are −1 and +1.

    A user's own loss is a class with this call whose settings are the arguments of its constructor. The losses of
    this package take an :class:`~nls.networks.ensemble.Ensemble` of k networks as well, and return the loss of each,
    ``(k,)``.
    """

    def __call__(
        self, network: nn.Module, points: Float[Tensor, "n *shape"], labels: Float[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch."""


def by_member(network: nn.Module, values: Shaped[Tensor, " n"]) -> Shaped[Tensor, "n *k"]:
    """Return what belongs to the rows of a batch with the k members of an ensemble as an axis of its own.

    Reduce the first axis for a number of each network. Values of a single network stay as they are.
    """
    count = members(network)
    return values if count == 1 else values.unflatten(0, (-1, count))


class CrossEntropy:
    """``mean log(1 + exp(−y F(x)))``."""

    def __call__(
        self, network: nn.Module, points: Float[Tensor, "n *shape"], labels: Float[Tensor, " n"]
    ) -> Float[Tensor, "*k"]:
        """Return the loss of a batch."""
        losses = nn.functional.softplus(-labels * network(points).flatten())
        return by_member(network, losses).mean(dim=0)


class Hinge:
    """``mean max(0, 1 − y F(x))``: the margin measured in the output, not in the input."""

    def __call__(
        self, network: nn.Module, points: Float[Tensor, "n *shape"], labels: Float[Tensor, " n"]
    ) -> Float[Tensor, "*k"]:
        """Return the loss of a batch."""
        return by_member(network, (1 - labels * network(points).flatten()).clamp_min(0)).mean(dim=0)
