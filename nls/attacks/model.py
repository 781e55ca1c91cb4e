"""How an attack sees a model: in evaluation mode, its parameters fixed, its answers checked."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from nls.engine.devices import full_float32
from nls.engine.user_code import frames_of_user
from nls.errors import UserError, first_line
from nls.levelset import evaluation_mode

# Logits, scaled to length 1, that differ by less than the first are equal to rounding; by more than the second, not.
_ROUNDING, _CHANGED = 1e-4, 1e-2
NOT_FINITE = "the model returns NaN or infinite logits: check its weights and its input range"


@contextmanager
def under_attack(model: nn.Module) -> Iterator[None]:
    """Put ``model`` into evaluation mode, without TF32, and let no parameter take a gradient; give all back.

    On a CPU, kernels of convolutions lie with their channels last meanwhile: about a third faster.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kernels = [(parameter, parameter.data) for parameter in model.parameters() if parameter.dim() == 4]
    with evaluation_mode(model), full_float32():
        for parameter in trained:
            parameter.requires_grad_(False)
        for parameter, values in kernels:
            if values.device.type == "cpu":
                parameter.data = channels_last(values)
        try:
            yield
        finally:
            for parameter, values in kernels:
                parameter.data = values
            for parameter in trained:
                parameter.requires_grad_(True)


def channels_last(values: Tensor) -> Tensor:
    """Return a copy that lies with its channels last.

    ``contiguous`` does not do: with one input channel both layouts count as contiguous, and the layout of the
    first layer decides on that of all that follow.
    """
    return torch.empty_like(values, memory_format=torch.channels_last).copy_(values)


def require_finite(logits: Tensor) -> Tensor:
    """Return ``logits``.

    Raises:
        UserError: one of them is NaN or infinite, so that no verdict is possible.
    """
    if not torch.isfinite(logits).all():
        raise UserError(NOT_FINITE)
    return logits


@torch.no_grad()
def mean_logits(model: nn.Module, images: Float[Tensor, "n c h w"], passes: int = 1) -> Float[Tensor, "n k"]:
    """Return the logits, as the mean over ``passes`` for a model that draws random numbers."""
    total = model(images)
    for _ in range(passes - 1):
        total = total + model(images)
    return total / passes


def is_correct(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    batch_size: int = 250,
    passes: int = 1,
) -> Bool[Tensor, " n"]:
    """Return where the largest logit, a mean over ``passes``, is the label's, in the images' own precision.

    Raises:
        UserError: a logit is not finite.
    """
    with under_attack(model):
        parts = [
            require_finite(mean_logits(model, batch, passes)).argmax(dim=1) == answers
            for batch, answers in zip(images.split(batch_size), labels.split(batch_size), strict=True)
        ]
    return torch.cat(parts)


def has_gradient(model: nn.Module, images: Float[Tensor, "n c h w"]) -> bool:
    """Return whether the logits have a gradient in the images, be it zero."""
    with under_attack(model), torch.enable_grad():
        return bool(model(images.detach().requires_grad_(True)).requires_grad)


def check_examples(model: nn.Module, images: Tensor, labels: Tensor) -> int:
    """Return the number of classes after checking what is to be attacked.

    Raises:
        UserError: no examples, images outside [0, 1] or not floating point, a model that does not return one
            row of finite logits of 32 bits or more an image, that changes its images or whose answer to one depends
            on the others, labels out of range.
    """
    if len(images) == 0:
        raise UserError("there are no examples to attack: the dataset or its chosen part is empty")
    if labels.dtype not in (torch.int64, torch.int32) or labels.shape != (len(images),):
        raise UserError(
            f"labels must be whole numbers of shape ({len(images)},), one an image, not {labels.dtype} of shape "
            f"{tuple(labels.shape)}"
        )
    if not images.is_floating_point() or not torch.isfinite(images).all():
        raise UserError("images must be finite floating point numbers in [0, 1]")
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 1:
        raise UserError(
            f"images must lie in [0, 1], not in [{low:.4g}, {high:.4g}]: leave scaling to the model's first layer"
        )
    few = images[:2].clone()
    with under_attack(model), torch.no_grad():
        try:
            logits, again, alone = model(few), model(few), model(few[:1])
        except (Exception, SystemExit) as error:
            raise UserError(
                f"the model does not take images of shape {tuple(images.shape[1:])}: {_told(error)}",
                below=frames_of_user(error),
            ) from error
    if not torch.equal(few, images[:2]):
        raise UserError("the model changes its images in place: let its forward work on a copy")
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(few):
        returned = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise UserError(
            f"the model must return logits of shape (n, classes), not {returned} for n = {len(few)}"
        )
    if not logits.is_floating_point() or logits.device != images.device:
        raise UserError(
            f"the model must return floating point logits on {images.device}, not {logits.dtype} on {logits.device}"
        )
    if torch.finfo(logits.dtype).bits < 32:
        raise UserError(
            f"the model returns logits of {logits.dtype}, too coarse to attack: leave out autocast and half precision"
        )
    if not isinstance(alone, Tensor) or alone.shape != logits[:1].shape:
        returned = tuple(alone.shape) if isinstance(alone, Tensor) else f"a {type(alone).__name__}"
        raise UserError(
            f"the model returns {returned} for one image, not {tuple(logits[:1].shape)}: keep the axis of the images"
        )
    classes = logits.shape[1]
    if classes < 2:
        raise UserError(
            f"the model must tell at least two classes apart: it returns {classes} logits an image"
        )
    if labels.min() < 0 or labels.max() >= classes:
        wrong = int(labels.min()) if labels.min() < 0 else int(labels.max())
        raise UserError(f"label {wrong} is out of range: the model has {classes} classes")
    require_finite(logits)
    if _change(logits, again) < _ROUNDING and _change(logits[:1], alone) > _CHANGED:
        raise UserError(
            "the model's answer to an image depends on the other images of its batch: let it answer each by itself "
            "(batch normalisation by running statistics, noise drawn for each image)"
        )
    return classes


def _change(logits: Tensor, others: Tensor) -> float:
    """Return the largest change between logits of length 1."""
    return float((functional.normalize(logits) - functional.normalize(others)).norm(dim=1).max())


def _told(error: BaseException) -> str:
    """Return the class of an exception and the first line of what it says, if it says anything."""
    return ": ".join(dict.fromkeys([type(error).__name__, first_line(error)]))
