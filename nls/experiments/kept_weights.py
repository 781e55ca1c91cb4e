"""Which weights a training ends with: the last ones, their running average, or those of the best epoch."""

import copy
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from nls.attacks import Ball, is_correct, pgd
from nls.engine.seeds import torch_stream


class KeptWeights:
    """The candidate for a training's result, its running average or the network itself, and the best one so far.

    Args:
        network: that is trained.
        average: decay of the exponential moving average over steps, see :meth:`step`; 0 for none.
        held_out: images in [0, 1] ``(n, c, h, w)`` and labels of the training set that are not trained on; with some,
            the epoch is kept whose candidate withstands ten steps of PGD on the margin on most of them. Of equal ones
            (without robust training none withstands it) the one with the higher clean accuracy, then the later.
        eps: radius of that attack, in pixel values.
        seed: of its start, the same in every epoch.
    """

    def __init__(
        self,
        network: nn.Module,
        average: float,
        held_out: tuple[Float[Tensor, "n c h w"], Int[Tensor, " n"]],
        eps: float,
        seed: int,
    ) -> None:
        self._candidate = copy.deepcopy(network) if average else network
        self._pairs = _tensors(self._candidate), _tensors(network)
        self._average = average
        self._held_out = held_out
        self._eps, self._seed = eps, seed
        self._best: dict[str, Tensor] | None = None
        # Robust and clean accuracy.
        self._score = (0.0, 0.0)

    def step(self, done: int) -> None:
        """Take the network's present weights into the average.

        Args:
            done: the steps before this one. The decay is at most ``done / (done + 9)``, so the random weights of the
                start do not count, and what is averaged is in the mean at most a tenth of all steps old.
        """
        if not self._average:
            return
        average = get_ema_multi_avg_fn(min(self._average, done / (done + 9)))
        for kept, live in zip(*self._pairs, strict=True):
            if kept and kept[0].is_floating_point():
                average(kept, live, None)
            else:
                for count, counted in zip(kept, live, strict=True):
                    count.copy_(counted)

    def end_epoch(self) -> dict[str, float]:
        """Judge the candidate on the held-out images and keep it if it is the best; return what the history shows."""
        images, labels = self._held_out
        if len(images) == 0:
            return {}
        figures = robustness(self._candidate, images, labels, self._eps, self._seed)
        score = figures["robust_accuracy"], figures["accuracy"]
        if score >= self._score:
            self._score = score
            self._best = {name: value.clone() for name, value in self._candidate.state_dict().items()}
        return {f"held_out_{name}": value for name, value in figures.items()}

    def held_out(self) -> dict[str, float]:
        """Return accuracy and robust accuracy of the best epoch on the held-out images; without such, nothing."""
        robust, clean = self._score
        return {"accuracy": clean, "robust_accuracy": robust} if len(self._held_out[0]) else {}

    def result(self) -> nn.Module:
        """Return the network with the weights to keep, in evaluation mode."""
        if self._best is not None:
            self._candidate.load_state_dict(self._best)
        return self._candidate.eval()

    def state_dict(self) -> dict[str, Any]:
        """Return the average, the best weights and their score, for checkpoints."""
        average = self._candidate.state_dict() if self._average else None
        return {"average": average, "best": self._best, "score": self._score}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put them back."""
        if self._average:
            self._candidate.load_state_dict(state["average"])
        self._best, self._score = state["best"], state["score"]


def robustness(network: nn.Module, images: Tensor, labels: Tensor, eps: float, seed: int) -> dict[str, float]:
    """Return the accuracy, and the accuracy under ten steps of PGD on the margin within ``eps``, fractions."""
    ball = Ball(eps)
    start = ball.random(images, torch_stream(seed, "history", device=images.device))
    attacked = pgd(network, images, labels, ball, start, loss="margin", steps=10, step_size=eps / 5)
    clean = is_correct(network, images, labels)
    return {
        "accuracy": float(clean.double().mean()),
        "robust_accuracy": float((clean & ~attacked.broken).double().mean()),
    }


def _tensors(network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return the floating point numbers of a network, and its other ones (counts of batches)."""
    every = [tensor.detach() for tensor in network.state_dict(keep_vars=True).values()]
    return [one for one in every if one.is_floating_point()], [
        one for one in every if not one.is_floating_point()
    ]
