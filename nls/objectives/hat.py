"""HAT (Rade, Moosavi-Dezfooli, *Reducing excessive margin for a better accuracy vs. robustness trade-off*, 2022)."""

import copy
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nls.networks.weights import load_weights
from nls.objectives.base import Moment, always
from nls.objectives.search import BoxSearch
from nls.objectives.settings import Count, NotNegative, Radius, StepSize
from nls.objectives.trades import divergence, farthest_in_divergence


@dataclass(frozen=True)
class HAT(BoxSearch):
    """``CE(f(x), y) + β KL(p(x) ‖ p(x')) + γ CE(f(x + h (x' − x)), g(x'))``, mean over the batch (2022, Section 4).

    x' is the end of TRADES' search, whose settings are those of :class:`~nls.objectives.search.BoxSearch`; the paper
    has no warm-up. The helper g, a network trained without attacks, names the class of x', and the point beyond it, h
    times as far from the image, is trained to have that class: so the boundary need not lie farther from the image
    than robustness asks for.

    Attributes:
        eps: radius in pixel values.
        helper: file of the helper's weights; the helper has the trained network's architecture. In a row of Table 1
            the key ``helper`` names its run.
        beta: weight of the divergence.
        gamma: weight of the helper's term.
        reach: h.

    Raises:
        UserError: at the first batch, if the weights are missing or do not fit.
    """

    eps: Radius
    helper: str
    beta: NotNegative = 2.5
    gamma: NotNegative = 0.5
    reach: NotNegative = 2.0
    steps: Count = field(default=10, kw_only=True)
    step_size: StepSize = field(default=0.007, kw_only=True)
    _read: list[nn.Module] = field(default_factory=list, init=False, repr=False, compare=False)

    repeatable = always  # once the helper has been read

    def __call__(
        self, model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], moment: Moment
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        adversarial = farthest_in_divergence(model, images, self.eps, self, moment)
        with torch.no_grad():
            helped = self._helper_like(model)(adversarial).argmax(dim=1)
        natural = model(images)
        robust = divergence(natural, model(adversarial)).mean()
        beyond = functional.cross_entropy(model(images + self.reach * (adversarial - images)), helped)
        return functional.cross_entropy(natural, labels) + self.beta * robust + self.gamma * beyond

    def _helper_like(self, model: nn.Module) -> nn.Module:
        """Return the helper, read at the first call."""
        if not self._read:
            # A compiled model would name its weights otherwise than the file does.
            helper = copy.deepcopy(getattr(model, "_orig_mod", model)).eval().requires_grad_(False)
            load_weights(helper, Path(self.helper))
            self._read.append(helper)
        return self._read[0]
