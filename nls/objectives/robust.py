"""Robust training by level-set samples (Section 3.2, Eq. 12)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nls.attacks import under_attack
from nls.levelset import ClassMargin, SampleNetwork, class_margin, false_position, values_and_jacobian
from nls.objectives.base import Moment, rows_to_train_on, unless_rows_leave, warmed_up
from nls.objectives.search import BoxSearch
from nls.objectives.settings import NotNegative, Positive, PositiveRadius, Radius

# A root is sharp enough at this margin; its use is decided by the looser `root_tolerance`.
SHARP = 1e-3


@dataclass(frozen=True)
class BoundarySamples:
    """Points of the decision boundary ``F^y = 0``, found for some samples of a batch.

    Attributes:
        points: the boundary points, ``(m, c, h, w)``.
        jacobian: ``D_xF^y`` there, of the network in evaluation mode, ``(m, 1, c, h, w)``.
        rows: which samples of the batch they belong to, ``(m,)``.
        used: whether it is a boundary point, ``(m,)``; all are, but on a GPU, see :func:`rows_to_train_on`.
        correct: whether those samples are classified correctly, ``(m,)``.
        lost: whether a sample of the batch is wrong and has none, ``(n,)``.
    """

    points: Float[Tensor, "m c h w"]
    jacobian: Float[Tensor, "m 1 c h w"]
    rows: Int[Tensor, " m"]
    used: Bool[Tensor, " m"]
    correct: Bool[Tensor, " m"]
    lost: Bool[Tensor, " n"]


@dataclass(frozen=True)
class RobustLevelSets(BoxSearch):
    """``1/N Σ λ_j max(0, ε_j − sign(F^{y_j}(x_j)) ρ(x_j, p_j(θ)))`` with ``ρ(x, p) = |x_i* − p_i*|`` (Eq. 12).

    ``i* = argmax_i |D_xF(p)|_i``: the loss moves the boundary along the axis in which it moves fastest, away
    from correct samples and towards wrong ones.

    The boundary is searched on the network in evaluation mode: sign-gradient steps on the margin, downwards for
    correct samples and upwards for wrong ones, from a uniform start in the box of radius ε_j; then false
    position on the segment from the sample to the last iterate, if the margin has changed its sign there. The
    sum runs over samples with a root, N is the batch size.

    The sample network is evaluated with the network in training mode. Batch normalisation then makes
    ``F_train(p; θ₀) ≠ F_eval(p; θ₀) = 0``; taking the constant of Eq. 9 from the evaluation mode would shift
    every sample, and the loss with it, by ``J†(F_train − F_eval)``. So ``c = F_train(p; θ₀)``: p(θ₀) = p holds
    exactly, ``D_θp = −J† D_θF_train``, and without such layers nothing changes. ``J`` is of the evaluation mode,
    where the gradient of one sample's margin does not depend on the other samples.

    The settings of the search are those of :class:`~nls.objectives.search.BoxSearch`: ``step_size`` is that of wrong
    samples, and correct ones have it scaled by ε_correct / ``eps_attack``; ``warm_up_epochs`` are those over which
    ε_correct grows; and false position takes at most ``steps`` iterations.

    Attributes:
        eps_correct: wanted distance of correct samples, in pixel values.
        eps_wrong: added to the distance of wrong samples, which they are drawn back over.
        weight_correct: λ of correct samples; it is 1 for wrong ones.
        eps_attack: radius of the attacks that are feared, not 0.
        eps_start: ε_correct at the start of the warm-up.
        root_tolerance: a root is used if its margin is below it.
        lost_weight: weight of the hinge ``max(0, −F^y)`` for wrong samples without a root. The paper has none: they
            wait until the boundary comes near by itself, which takes many epochs.
    """

    eps_correct: Radius
    eps_wrong: Radius
    eps_attack: PositiveRadius
    weight_correct: NotNegative = 1
    eps_start: Radius = 0.001
    root_tolerance: Positive = 0.1
    lost_weight: NotNegative = 0

    repeatable = unless_rows_leave

    def __call__(
        self, model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], moment: Moment
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch; 0, without influence, where no sample has a root."""
        eps_correct = warmed_up(self.eps_start, self.eps_correct, self.warm_up_epochs, moment.epoch)
        found = self.find_boundary(model, images, labels, eps_correct, moment.generator)
        loss = torch.zeros((), device=images.device, requires_grad=True)
        if len(found.rows):
            loss = loss + self._boundary_loss(model, images, labels, eps_correct, found)
        if self.lost_weight and len(rows := rows_to_train_on(model, found.lost)):
            margins = class_margin(model(images[rows]), labels[rows])
            loss = loss + self.lost_weight * torch.where(found.lost[rows], -margins, 0.0).clamp_min(0).sum()
        return loss / len(images)

    def _boundary_loss(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        eps_correct: float | Tensor,
        found: "BoundarySamples",
    ) -> Tensor:
        """Return the sum of Eq. 12 over the samples with a root."""
        values = class_margin(model(found.points), labels[found.rows])

        def evaluated(points: Tensor, *context: Tensor) -> Tensor:
            return values

        samples = SampleNetwork(evaluated, found.points, values.detach()[:, None], found.jacobian)()
        distance = fastest_axis_distance(images[found.rows], samples, found.jacobian)
        hinges = torch.where(
            found.correct,
            self.weight_correct * (eps_correct - distance).clamp_min(0),
            (self.eps_wrong + distance).clamp_min(0),
        )
        return torch.where(found.used, hinges, 0.0).sum()

    def find_boundary(
        self,
        model: nn.Module,
        images: Float[Tensor, "n c h w"],
        labels: Int[Tensor, " n"],
        eps_correct: float | Tensor,
        generator: torch.Generator,
    ) -> BoundarySamples:
        """Search a boundary point for every sample, with the network in evaluation mode."""
        field = ClassMargin(model)
        with under_attack(model):
            with torch.no_grad():
                margins = field(images, labels)
            correct = margins > 0
            column = correct[:, None, None, None]
            direction = torch.where(correct, -1.0, 1.0)
            ends = self.climb(
                lambda points: direction * field(points, labels),
                images,
                torch.where(column, eps_correct, self.eps_wrong),
                generator,
                scale=torch.where(column, eps_correct / self.eps_attack, 1.0),
            )
            with torch.no_grad():
                end_margins = field(ends, labels)
            roots = false_position(
                field,
                images,
                ends,
                end_values=(margins, end_margins),
                context=(labels,),
                tolerance=SHARP,
                max_iterations=self.steps,
            )
            used = roots.bracketed & (roots.values.abs() < self.root_tolerance)
            rows = rows_to_train_on(model, used)
            points = roots.points[rows]
            _, jacobian = values_and_jacobian(field, points, (labels[rows],))
        return BoundarySamples(points, jacobian, rows, used[rows], correct[rows], lost=~used & ~correct)


def fastest_axis_distance(
    images: Float[Tensor, "m *shape"],
    samples: Float[Tensor, "m *shape"],
    jacobian: Float[Tensor, "m 1 *shape"],
) -> Float[Tensor, " m"]:
    """Return ``ρ(x, p) = |x_i* − p_i*|`` with ``i* = argmax_i |D_xF(p)|_i`` (Section 3.2)."""
    axis = jacobian.flatten(1).abs().argmax(dim=1, keepdim=True)
    return (images.flatten(1).gather(1, axis) - samples.flatten(1).gather(1, axis))[:, 0].abs()
