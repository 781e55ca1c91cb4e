"""Keep a level set beyond the decision boundary out of the box around every sample."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nls.attacks import under_attack
from nls.levelset import soft_class_margin
from nls.objectives.base import Moment, always
from nls.objectives.search import BoxSearch
from nls.objectives.settings import NotNegative, Radius


@dataclass(frozen=True)
class OuterLevel(BoxSearch):
    """``mean softplus(m − φ(x'; θ))`` with x' the least ``φ = f_y − log Σ_{k≠y} exp f_k`` in the box of radius ε.

    φ is a smooth margin: its zero level is the decision boundary of class y against all others, rounded where two of
    them meet. With ``c = φ(x'; θ₀)``, the end x' of the search is a sample of the level set ``S_c``, whether or not
    the boundary ``S_0`` runs through the box. Its sample network in L∞ (Eq. 9 with the least step in that norm) is
    ``p(θ) = x' − sign(g) (φ(x'; θ) − c) / ‖g‖₁`` with ``g = D_xφ(x')``: the set moves outwards at
    ``D_θφ(x') / ‖g‖₁``. To first order the level set ``S_m`` is at the distance

        ``d_m(θ) = ‖x' − x‖∞ + (φ(x'; θ) − m) / ‖g‖₁``

    from x, in the norm of the attack. Where the search ends on the box, ``‖x' − x‖∞ = ε``, Eq. 12 for this distance
    is ``max(0, ε − d_m) = max(0, m − φ(x'; θ)) / ‖g‖₁``. The loss is this with two changes. The factor ``1/‖g‖₁``
    is left out: it falls as the logits grow, so that a network is paid for a steep field, in which searches fail.
    And the hinge is rounded to ``log(1 + exp(m − φ))``, so that the weight of a sample fades instead of ending.

    Nothing has to cross the boundary: a sample without a root still has a level, and a loss. For m = 0 this is the
    cross-entropy at x', adversarial training (Madry et al., 2018). A level m > 0 is what +1 is in a support vector
    machine: samples whose boundary has just left the box still count, by ``σ(m − φ)``.

    In training mode only the ends of the search are evaluated. Under batch normalisation the statistics that the
    network keeps are then those of the points that the search and an attack look at: no clean batch is mixed in.

    The search starts anywhere in the box, on the network in evaluation mode; its settings are those of
    :class:`~nls.objectives.search.BoxSearch`.

    Attributes:
        eps: ε, in pixel values.
        level: m, in logits.
    """

    eps: Radius
    level: NotNegative = 3

    repeatable = always

    def __call__(
        self, model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], moment: Moment
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        share = self.grown(moment)
        with under_attack(model):
            ends = self.climb(
                lambda points: -soft_class_margin(model(points), labels, 1.0),
                images,
                self.eps * share,
                moment.generator,
                scale=share,
            )
        return functional.softplus(self.level - soft_class_margin(model(ends), labels, 1.0)).mean()
