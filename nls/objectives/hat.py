"""HAT (Rade, Moosavi-Dezfooli, *Reducing excessive margin for a better accuracy vs. robustness trade-off*, 2022)."""

import copy
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nls.networks.weights import load_weights
from nls.objectives.base import Moment, warmed_up
from nls.objectives.settings import Count, NotNegative, Radius, StepSize
from nls.objectives.trades import divergence, farthest_in_divergence


class HAT:
    """``CE(f(x), y) + β KL(p(x) ‖ p(x')) + γ CE(f(x + h (x' − x)), g(x'))``, mean over the batch (2022, Section 4).

    x' is the end of TRADES' search. The helper g, a network trained without attacks, names the class of x', and the
    point beyond it, h times as far from the image, is trained to have that class: so the boundary need not lie
    farther from the image than robustness asks for.

    Args:
        eps: radius in pixel values.
        helper: file of the helper's weights; the helper has the trained network's architecture. In a row of Table 1
            the key ``helper`` names its run.
        beta: weight of the divergence.
        gamma: weight of the helper's term.
        reach: h.
        steps: sign-gradient steps of the search.
        step_size: in pixel values; it shrinks with ε during the warm-up.
        fading_steps: let the step size fall as half a cosine, as :func:`nls.attacks.ascend` says.
        warm_up_epochs: epochs over which ε grows from 0; none in the paper.

    Raises:
        UserError: at the first batch, if the weights are missing or do not fit.
    """

    def __init__(
        self,
        eps: Radius,
        helper: str,
        beta: NotNegative = 2.5,
        gamma: NotNegative = 0.5,
        reach: NotNegative = 2.0,
        steps: Count = 10,
        step_size: StepSize = 0.007,
        fading_steps: bool = False,
        warm_up_epochs: NotNegative = 0,
    ) -> None:
        self.eps, self.beta, self.gamma, self.reach = eps, beta, gamma, reach
        self.steps, self.step_size, self.fading_steps = steps, step_size, fading_steps
        self.warm_up_epochs = warm_up_epochs
        self._file = Path(helper)
        self._helper: nn.Module | None = None

    def repeatable(self, model: nn.Module) -> bool:
        """Return whether every step is the same operations: it is, once the helper has been read."""
        return True

    def __call__(
        self, model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], moment: Moment
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        share = warmed_up(0, 1, self.warm_up_epochs, moment.epoch)
        adversarial = farthest_in_divergence(
            model,
            images,
            self.eps * share,
            moment.generator,
            steps=self.steps,
            step_size=self.step_size * share,
            fading=self.fading_steps,
        )
        with torch.no_grad():
            helped = self._helper_like(model)(adversarial).argmax(dim=1)
        natural = model(images)
        robust = divergence(natural, model(adversarial)).mean()
        beyond = functional.cross_entropy(model(images + self.reach * (adversarial - images)), helped)
        return functional.cross_entropy(natural, labels) + self.beta * robust + self.gamma * beyond

    def _helper_like(self, model: nn.Module) -> nn.Module:
        """Return the helper, read at the first call."""
        if self._helper is None:
            self._helper = copy.deepcopy(model).eval().requires_grad_(False)
            load_weights(self._helper, self._file)
        return self._helper
