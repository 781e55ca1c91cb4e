"""What training hands to a loss of a classifier, and what it asks of one."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nls.engine.user_code import described, frames_of_user, is_theirs
from nls.errors import UserError, first_line, memory_lacked
from nls.levelset import rows_where


@dataclass(frozen=True)
class Moment:
    """Where training is.

    Attributes:
        epoch: epochs gone by, with the fraction of the running one; a tensor where a GPU replays the step.
        generator: the training's random stream on the images' device.
    """

    epoch: float | Float[Tensor, ""]
    generator: torch.Generator


def require_loss(value: Any, loss: object) -> Float[Tensor, ""]:
    """Return what a loss has returned.

    Raises:
        UserError: it is not one number with a gradient; the message names the class and a user's file.
    """
    is_number = isinstance(value, Tensor) and value.dim() == 0
    if is_number and value.is_floating_point() and value.requires_grad:
        return value
    if not isinstance(value, Tensor):
        found = f"a {type(value).__name__}"
    elif not is_number:
        found = f"a tensor of shape {tuple(value.shape)}"
    else:
        found = f"a {value.dtype} that has no gradient in the weights"
    raise UserError(
        f"{described(loss)}: must return the loss, a tensor of shape () with a gradient, not {found}"
    )


def backward(loss: Float[Tensor, ""], *makers: object) -> None:
    """Make the gradients of a loss; ``makers`` are the objects that it comes from.

    Raises:
        UserError: torch cannot make them, and one of ``makers`` is of a user's class; the message names it.
    """
    try:
        loss.backward()
    except RuntimeError as error:
        theirs = [described(maker) for maker in makers if is_theirs(maker)]
        if not theirs or frames_of_user(error) or memory_lacked(error) is not None:
            raise
        raise UserError(
            f"{' and '.join(theirs)}: the gradient of the loss failed ({first_line(error)}); mend the file"
        ) from error


class ClassifierLoss(Protocol):
    """A training loss of a classifier.

    A user's own method is a class with this call in a file; the arguments of its constructor are its settings,
    and a config names it ``file.py:Class``. The model comes in training mode, and its parameters take gradients
    from what is returned only; ``nls.attacks.under_attack`` is the mode to search in. What a method keeps from batch
    to batch travels with a checkpoint if it has ``state_dict`` and ``load_state_dict``.

    A method may have ``repeatable(model) -> bool``. True says that every step is the same operations on tensors,
    whatever the values and the epoch are, with no random numbers but those of ``moment.generator``: a GPU then
    replays the whole step as one CUDA graph.
    """

    def __call__(
        self,
        model: nn.Module,
        images: Float[Tensor, "n c h w"],
        labels: Int[Tensor, " n"],
        moment: Moment,
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch; images lie in [0, 1]."""


def always(loss: ClassifierLoss, model: nn.Module) -> bool:
    """Return, as a loss's ``repeatable``, that every step is the same operations."""
    return True


def unless_rows_leave(loss: ClassifierLoss, model: nn.Module) -> bool:
    """Return, as a loss's ``repeatable``, whether :func:`rows_to_train_on` takes no rows out of a batch on a GPU."""
    return not has_batch_normalisation(model)


def rows_to_train_on(model: nn.Module, flags: Bool[Tensor, " n"]) -> Int[Tensor, " m"]:
    """Return the rows whose flag is set; on a GPU, which would wait for their number, all rows.

    Batch normalisation makes samples of a batch depend on one another in training mode. A model with such layers
    always gets the rows themselves, so that no other sample enters its statistics: a GPU then waits once a step. Of
    one row alone there are no statistics, so it gets none.
    """
    if has_batch_normalisation(model):
        rows = flags.nonzero()[:, 0]
        return rows if len(rows) > 1 else rows[:0]
    return rows_where(flags)


def has_batch_normalisation(model: nn.Module) -> bool:
    """Tell whether samples of a batch depend on one another while the model is in training mode."""
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules())


def warmed_up(
    start: float, end: float, epochs: float, epoch: float | Float[Tensor, ""]
) -> float | Float[Tensor, ""]:
    """Return a value that goes linearly from ``start`` to ``end`` over the first ``epochs`` epochs."""
    if isinstance(epoch, Tensor):
        return (
            torch.lerp(
                torch.full_like(epoch, start), torch.full_like(epoch, end), (epoch / epochs).clamp_max(1)
            )
            if epochs
            else end
        )
    return end if epoch >= epochs else start + (end - start) * epoch / epochs
