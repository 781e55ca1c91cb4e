"""The training loop of the classifiers (Section 5.2), shared by the experiments that need one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import numpy as np
import torch
from pydantic import AfterValidator, Field, field_validator, model_validator
from torch import Tensor, nn

from nls.attacks import channels_last
from nls.data import ImageDataset, Split
from nls.data.augment import CropFlip
from nls.engine.checkpoint import require_savable
from nls.engine.finished import DamagedRunError, require_whole
from nls.engine.graphs import RepeatedLoss
from nls.engine.optimizers import SGD, Adam
from nls.engine.runs import Run
from nls.engine.seeds import numpy_stream, stream_seed, torch_stream
from nls.engine.settings import Settings
from nls.engine.state import Part, Stateful, restore, snapshot
from nls.engine.steps import LOOK, cosine, require_finite
from nls.engine.user_code import is_user_code
from nls.errors import UserError
from nls.experiments.calibration import calibrate, output_layer
from nls.experiments.common import FEWEST_HELD_OUT, note_fewer_images
from nls.experiments.kept_weights import KeptWeights, robustness
from nls.networks.classifiers import CLASSIFIERS, build_classifier
from nls.objectives.base import ClassifierLoss, Moment, backward, require_loss


def _check_network(name: str) -> str:
    if name not in CLASSIFIERS and not is_user_code(name):
        raise ValueError(f"take one of {', '.join(CLASSIFIERS)}, or file.py:Factory")
    return name


NetworkName = Annotated[str, AfterValidator(_check_network)]


class Training(Settings):
    """How a network is trained."""

    epochs: int = Field(ge=1, description="passes over the training images")
    batch_size: int = Field(128, ge=1, description="images of a step; a last smaller batch is left out")
    optimizer: Literal["adam", "sgd"] = Field("adam", description="adam, or sgd with momentum 0.9")
    learning_rate: float = Field(
        gt=0, description="learning rate at the start; with schedule cyclic, the largest"
    )
    weight_decay: float = Field(0.0, ge=0, description="weight of an L2 penalty on the weights")
    schedule: Literal["milestones", "cosine", "cyclic"] = Field(
        "milestones",
        description="course of the learning rate; milestones: falls at some epochs; cosine: down to 0; cyclic: up "
        "from 0 over two fifths of the steps, then down to 0",
    )
    milestones: list[Annotated[int, Field(ge=1)]] = Field(
        [], description="epochs after which the learning rate is multiplied by decay (schedule milestones)"
    )
    decay: float = Field(0.5, gt=0, le=1, description="factor of the learning rate at a milestone")
    average: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="keep a running average of the weights, with this decay at each step (a lower one in the first "
        "steps, so that the random first weights drop out); 0: keep the last weights",
    )
    held_out: int = Field(
        0,
        ge=0,
        description="images held out of the training set, 50 or more; the epoch whose network withstands ten steps "
        "of PGD on most of them is kept, of equal ones the most accurate, then the later; 0: the last epoch is kept",
    )
    calibrate: bool = Field(
        False,
        description="divide the trained network's logits by the temperature, 1 or more, with the least cross-entropy "
        "on the held-out images: no decision changes, but its gradient no longer vanishes in float32",
    )
    augment: bool = Field(False, description="random crop with padding 4 and horizontal flip")
    train_images: int | None = Field(None, ge=1, description="random part of the training set; null: all")
    compile: bool = Field(False, description="compile the network for training with torch.compile")

    @field_validator("held_out")
    @classmethod
    def _enough(cls, images: int) -> int:
        if 0 < images < FEWEST_HELD_OUT:
            raise ValueError(f"too few to choose by; hold out {FEWEST_HELD_OUT} or more, or 0")
        return images

    @model_validator(mode="after")
    def _calibrated_by_something(self) -> Self:
        if self.calibrate and not self.held_out:
            raise ValueError("calibrate needs images that are not trained on: give held_out too")
        return self


def images_of(split: Split, rows: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return images ``(n, c, h, w)`` as bytes and labels ``(n,)`` of some rows of a split, on the device."""
    return (
        torch.from_numpy(split.images[rows].copy()).to(device),
        torch.from_numpy(split.labels[rows].copy()).to(device),
    )


def network_for(data: ImageDataset, name: str) -> nn.Module:
    """Build the named network for the images of a dataset.

    Raises:
        UserError: the images are not square, or see :func:`build_classifier`.
    """
    _, channels, side, width = data.train.images.shape
    if side != width:
        raise UserError(
            f"dataset: the images of {data.name} are {side} x {width}, and networks take squares: pad or crop them"
        )
    return build_classifier(name, channels, side, data.classes)


@dataclass(frozen=True)
class Trained:
    """What a training ends with.

    Attributes:
        network: with the weights that are kept, in evaluation mode.
        held_out: their accuracy, and their accuracy under ten steps of PGD, on the images held out of the training
            set, fractions; empty if there are none.
        state: returns the training's state, for checkpoints of what follows.
    """

    network: nn.Module
    held_out: dict[str, float]
    state: Callable[[], dict[str, Any]]


def train(
    network_name: str,
    method: ClassifierLoss,
    data: ImageDataset,
    training: Training,
    run: Run,
    *,
    seed: int,
    eps: float,
) -> Trained:
    """Train a network.

    Images stay on the device as bytes; batches, augmentation and the search for adversarial points are made
    there. Each epoch's row of the history has the mean loss, and accuracies on the epoch's last batch: clean, and
    under ten steps of PGD on the margin within ``eps``. The weights to keep (:class:`KeptWeights`) are saved at the
    end, by then calibrated if that is wanted.

    Raises:
        UserError: the part of the training set is not larger than ``held_out`` and a batch, or see
            :func:`output_layer`, :func:`require_savable` and :func:`backward`.
        RunError: a loss is not finite.
    """
    device = run.device
    torch.manual_seed(stream_seed(seed, "network"))
    network = network_for(data, network_name).to(device)
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = channels_last(parameter.data)
    optimizer = _optimizer(network, training)
    note_fewer_images(run, "training.train_images", training.train_images, len(data.train.labels))
    rows, kept_out = _divided(data.train, training, seed)
    images, labels = images_of(data.train, rows, device)
    batches = len(images) // training.batch_size
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_rate, training, batches))
    judged, judged_labels = images_of(data.train, kept_out, device)
    held_out = judged.float() / 255, judged_labels
    if training.calibrate:
        output_layer(network, held_out[0][:1])
    kept = KeptWeights(network, training.average, held_out, eps, seed)
    search = torch_stream(seed, "search", device=device)
    parts: dict[str, Part] = {
        "network": network,
        "optimizer": optimizer,
        "schedule": schedule,
        "kept": kept,
        "search": search,
    }
    if isinstance(method, Stateful):
        require_savable(method)
        parts["method"] = method
    saved = run.resume() or {"step": 0, "loss": 0.0, "parts": None}
    if saved["parts"] is not None:
        restore(parts, saved["parts"])
    compiled = cast(nn.Module, torch.compile(network)) if training.compile else network

    def loss_of(points: Tensor, labels: Tensor, epoch: float | Tensor) -> Tensor:
        return require_loss(method(compiled, points, labels, Moment(epoch, search)), method)

    capture = not training.compile and getattr(method, "repeatable", lambda model: False)(network)
    loss_and_gradient = RepeatedLoss(
        loss_of,
        list(network.parameters()),
        [search],
        device,
        capture=capture,
        backward=lambda loss: backward(loss, method, network),
    )
    network.train()
    total, unseen = saved["loss"], list[Tensor]()
    order, augmentation = torch.empty(0), None
    for step in run.progress.steps(training.epochs * batches, "training", saved["step"]):
        epoch, batch = divmod(step, batches)
        if batch == 0 or not len(order):
            order = torch.randperm(len(images), generator=torch_stream(seed, "order", epoch)).to(device)
            augmentation = CropFlip.draw(len(images), seed, epoch, device) if training.augment else None
        chosen = order[batch * training.batch_size : (batch + 1) * training.batch_size]
        points = images[chosen] if augmentation is None else augmentation(images[chosen], chosen)
        points = points.float() / 255
        rate = optimizer.param_groups[0]["lr"]
        unseen.append(loss_and_gradient(points, labels[chosen], step / batches))
        optimizer.step()
        schedule.step()
        kept.step(step)
        if len(unseen) == LOOK or batch + 1 == batches:
            losses = _values(unseen)
            for number, loss in enumerate(losses, step + 1 - len(losses)):
                total += require_finite(loss, step=number)
            run.progress.show(loss=losses[-1])
            unseen.clear()
        if batch + 1 == batches:
            figures = robustness(network, points, labels[chosen], eps, seed)
            run.history.append(
                {"epoch": epoch + 1, "learning_rate": rate, "loss": total / batches}
                | {f"train_{name}": value for name, value in figures.items()}
                | kept.end_epoch()
            )
            total = 0.0
        run.save_if_due(partial(_state, step + 1, total, unseen, parts))
    if loss_and_gradient.failure:
        run.note(
            f"training steps were called one by one, not replayed as a graph: {loss_and_gradient.failure}"
        )
    result = kept.result()
    if training.calibrate:
        note = f"logits are divided by {calibrate(result, *held_out):.3g}, by the held-out images"
        if note not in run.notes:
            run.note(note)
    run.save_weights(result.state_dict())
    return Trained(result, kept.held_out(), partial(_state, training.epochs * batches, 0.0, [], parts))


def _divided(split: Split, training: Training, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the images to train on, and of those that are held out.

    Raises:
        UserError: those to train on do not fill a batch.
    """
    rows = numpy_stream(seed, "subset").permutation(len(split.labels))[: training.train_images]
    held_out, rows = rows[: training.held_out], rows[training.held_out :]
    if len(rows) < training.batch_size:
        raise UserError(
            f"{len(rows)} images are left to train on, fewer than a batch of {training.batch_size}: take more "
            "train_images, a smaller batch_size, or fewer held_out"
        )
    return rows, held_out


def _state(step: int, total: float, unseen: list[Tensor], parts: Mapping[str, Part]) -> dict[str, Any]:
    """Return what a checkpoint holds: the number of steps done, the sum of the epoch's losses, and the parts."""
    return {"step": step, "loss": sum(_values(unseen), total), "parts": snapshot(parts)}


def _values(losses: list[Tensor]) -> list[float]:
    return torch.stack(losses).tolist() if losses else []


def _rate(training: Training, batches: int, step: int) -> float:
    """Return the factor of the learning rate at a step."""
    share = step / (training.epochs * batches)
    match training.schedule:
        case "cosine":
            return cosine(share)
        case "cyclic":
            return max(min(share / 0.4, (1 - share) / 0.6), 0.0)
        case _:
            return training.decay ** sum(step >= epoch * batches for epoch in training.milestones)


def _optimizer(network: nn.Module, training: Training) -> torch.optim.Optimizer:
    parameters, rate, decay = network.parameters(), training.learning_rate, training.weight_decay
    if training.optimizer == "adam":
        return Adam(parameters, lr=rate, weight_decay=decay)
    return SGD(parameters, lr=rate, weight_decay=decay, momentum=0.9)


def weights_of(directory: Path) -> Path:
    """Return where :func:`train` left the weights of a complete run.

    Raises:
        UserError: a file of the run is missing or damaged.
    """
    try:
        require_whole(directory)
    except DamagedRunError as problem:
        raise UserError(f"{directory}: {problem}; delete the directory and run it again") from problem
    return directory / "weights.safetensors"
