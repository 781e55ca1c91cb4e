"""Figure 2: accuracy against the size of the training set under three losses (Section 5.1).

The labels are merged into two classes (the lower half of the labels against the upper half). A seed fixes the
training subset, the initialisation and the order of the batches for every loss, so that differences between
losses are paired. On a GPU the seeds of a run are trained together, on a CPU one after the other.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field, field_validator
from torch import Tensor, nn

from nls.data import IMAGE_SETS, ImageDataset, Split, load_images
from nls.engine.checkpoint import require_savable
from nls.engine.optimizers import Adam
from nls.engine.runs import Run
from nls.engine.seeds import numpy_stream, stream_seed, torch_stream
from nls.engine.settings import RunSpec, Settings, run_name, told_with_key
from nls.engine.state import Part, Stateful, restore, snapshot
from nls.engine.steps import LOOK, require_finite
from nls.engine.user_code import is_user_code, user_files
from nls.errors import UserError, did_you_mean
from nls.experiments.common import FEWEST_HELD_OUT, MOST_SEEDS, Common, DatasetName, ExperimentConfig, Seed
from nls.networks.ensemble import Ensemble
from nls.networks.small_convnet import SmallConvNet
from nls.objectives.base import backward, require_loss
from nls.objectives.binary import CrossEntropy, Hinge
from nls.objectives.geometric_svm import GeometricSVM
from nls.objectives.settings import check_settings, make_loss

LOSSES = {"cross_entropy": CrossEntropy, "hinge": Hinge, "geometric_svm": GeometricSVM}
# A seed whose accuracy is not this much above the share of the larger class has collapsed to chance.
COLLAPSE_MARGIN = 0.05
# Images that are classified at once, and images times networks.
_IMAGES, _ROWS = 1000, 32_000

Fraction = Annotated[float, Field(gt=0, le=1)]


class Training(Settings):
    """How a network is trained."""

    steps: int = Field(200, ge=1, description="optimisation steps")
    batch_size: int = Field(64, ge=1, description="images of a step, drawn with replacement")
    learning_rate: float = Field(1e-3, gt=0, description="peak of the one-cycle schedule of Adam")


class LossPlan(Settings):
    """One loss; further keys are its settings."""

    model_config = ConfigDict(extra="allow")

    loss: str | None = Field(
        None, description=f"one of {', '.join(LOSSES)}, or FILE.py:CLASS; null: the name of the entry"
    )
    training: Training = Field(Training(), description="keys that differ from the training of the experiment")


class DatasetPlan(Settings):
    """What is run on one dataset."""

    fractions: list[Fraction] = Field(min_length=1, description="shares of the training set, in (0, 1]")
    seeds: int = Field(ge=1, le=MOST_SEEDS, description="number of seeds, 0 … seeds − 1")
    losses: dict[str, LossPlan] = Field(
        min_length=1, description="rows of the table: a name, and a loss with its settings"
    )

    @field_validator("losses")
    @classmethod
    def _losses(cls, losses: dict[str, LossPlan]) -> dict[str, LossPlan]:
        for name, plan in losses.items():
            loss = plan.loss or name
            if loss in LOSSES:
                with told_with_key():
                    check_settings(LOSSES[loss], plan.model_extra or {}, name)
            elif not is_user_code(loss):
                raise ValueError(f"{name}: {_unknown_loss(loss, plan)}")
        return losses


def _unknown_loss(loss: str, plan: LossPlan) -> str:
    """Return what to tell of an entry whose loss there is not; its key ``loss`` may be what is misspelt."""
    for key in () if plan.loss else plan.model_extra or ():
        if hint := did_you_mean(key, LossPlan.model_fields):
            return f"unknown key {key!r}; {hint.strip()}"
    return (
        f"no loss is called {loss!r}; {did_you_mean(loss, LOSSES)}take one of {', '.join(LOSSES)}, "
        "or file.py:Class"
    )


class Config(ExperimentConfig):
    """Settings of Figure 2."""

    datasets: dict[DatasetName, DatasetPlan] = Field(
        min_length=1, description="datasets by name, or by path of an .npz file"
    )
    seeds_per_job: int = Field(10, ge=1, description="seeds of one run directory")
    evaluate_on: Literal["test", "validation"] = Field(
        "test",
        description="validation holds out a tenth of the training set, to choose settings without test data",
    )
    training: Training = Field(Training(), description="how a network is trained, if its loss does not say")


class Spec(RunSpec):
    """Some seeds of one loss on one fraction of one dataset."""

    experiment: Literal["figure2"]
    dataset: str
    fraction: Fraction
    name: str
    loss: str
    loss_settings: dict[str, Any]
    seeds: list[Seed]
    evaluate_on: Literal["test", "validation"]
    training: Training

    def datasets(self) -> list[str]:
        """Return the dataset, unless it is a file of the user's."""
        return [self.dataset] if self.dataset in IMAGE_SETS else []

    def files_read(self) -> list[str]:
        """Return the files of a user's loss and a dataset given by path."""
        files = user_files(self.loss) if is_user_code(self.loss) else []
        return files + ([] if self.dataset in IMAGE_SETS else [self.dataset])


def expand(config: Config, common: Common) -> list[Spec]:
    """Return one run for each dataset, fraction, loss and block of ``seeds_per_job`` seeds."""
    specs = []
    for dataset, plan in config.datasets.items():
        for fraction in plan.fractions:
            for name, chosen in plan.losses.items():
                own = {key: getattr(chosen.training, key) for key in chosen.training.model_fields_set}
                for first in range(0, plan.seeds, config.seeds_per_job):
                    seeds = list(range(first, min(first + config.seeds_per_job, plan.seeds)))
                    block = f"seeds{seeds[0]:03d}-{seeds[-1]:03d}"
                    run = run_name(Path(dataset).stem, f"{fraction:g}", _short(name), block)
                    specs.append(
                        Spec(
                            **common.base("figure2", run, config.threads),
                            dataset=dataset,
                            fraction=fraction,
                            name=_short(name),
                            loss=chosen.loss or name,
                            loss_settings=chosen.model_extra or {},
                            seeds=seeds,
                            evaluate_on=config.evaluate_on,
                            training=config.training.model_copy(update=own),
                        )
                    )
    return specs


def run(spec: Spec, run: Run) -> dict[str, Any]:
    """Train and test one network a seed."""
    data = load_images(spec.dataset, Path(spec.data_root))
    run.data[spec.dataset] = data.fingerprint
    train, test = _halves(data, spec.evaluate_on)
    saved = run.resume() or {"results": [], "training": None}
    results: list[dict[str, float]] = saved["results"]
    at_once = seeds_at_once(spec, train, run.device)
    if run.device.type != "cpu" and (how := _how_many(spec, at_once)) not in run.notes:
        run.note(how)
    while len(results) < len(spec.seeds):
        begun = saved.pop("training", None)
        count = len(begun["seeds"]) if begun else at_once
        results += learn(
            spec, spec.seeds[len(results) :][:count], train, test, data.classes, run, results, begun
        )
        run.history.sort(key=lambda row: (spec.seeds.index(int(row["seed"])), row["step"]))
    majority = _majority(test, data.classes)
    return {
        "training_images": _training_images(spec, train),
        "majority_share": majority,
        "seeds": spec.seeds,
        **{name: [result[name] for result in results] for name in results[0]},
        "collapsed": [int(result["accuracy"] < majority + COLLAPSE_MARGIN) for result in results],
    }


def seeds_at_once(spec: Spec, train: Split, device: torch.device) -> int:
    """Return how many seeds are trained together: as many as fill half of a GPU's memory; on a CPU one.

    So is a loss of the user's, which is made for one network.
    """
    if device.type == "cpu" or spec.loss not in LOSSES:
        return 1
    return max(
        1, torch.cuda.get_device_properties(device).total_memory // (2 * _bytes_of_a_seed(spec, train))
    )


def _bytes_of_a_seed(spec: Spec, train: Split) -> int:
    """Return what one seed's training takes at most, in bytes of float32.

    Its images; parameters, gradients and the two moments of Adam; and in a step of the geometric SVM, of the other
    losses less, four batches with what the layers give, its gradients, and as much again for work on the way.
    """
    image = int(np.prod(train.images.shape[1:]))
    with torch.device("meta"):
        network, inside = SmallConvNet(*train.images.shape[1:]), torch.empty(1, *train.images.shape[1:])
    parameters = sum(value.numel() for value in network.parameters())
    values = image
    for layer in network:
        inside = layer(inside)
        values += inside.numel()
    numbers = _training_images(spec, train) * image + 4 * parameters + 16 * spec.training.batch_size * values
    return inside.element_size() * numbers


def _how_many(spec: Spec, at_once: int) -> str:
    if spec.loss not in LOSSES:
        return "the seeds are trained one by one: a loss of one's own is made for one network"
    return f"seeds that are trained together: {min(at_once, len(spec.seeds))}"


def learn(
    spec: Spec,
    seeds: Sequence[int],
    train: Split,
    test: Split,
    classes: int,
    run: Run,
    results: list[dict[str, float]],
    saved: dict[str, Any] | None,
) -> list[dict[str, float]]:
    """Train a network on each seed's subset, together, and measure the accuracies.

    Everything drawn is drawn by each seed's own streams, and every mean is over the images of one seed: a seed's
    result is the same, to rounding, whichever others it is trained with. ``saved`` is where the run was interrupted.
    """
    chosen = [_subset(seed, _training_images(spec, train), train) for seed in seeds]
    subsets = [_to_device(train, rows, classes, run.device) for rows in chosen]
    x, y = (torch.stack(parts, dim=1) for parts in zip(*subsets, strict=True))  # (images, seeds, …)
    networks = [_network(seed, train) for seed in seeds]
    network = (Ensemble(networks) if len(seeds) > 1 else networks[0]).to(run.device)
    loss_of = make_loss(spec.loss, LOSSES, spec.loss_settings)
    batches = [torch_stream(seed, "batches", device=run.device) for seed in seeds]
    optimizer = Adam(network.parameters(), spec.training.learning_rate, fused=True)
    steps = spec.training.steps
    # A warm-up of exactly one step would divide by zero.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, spec.training.learning_rate, total_steps=steps, pct_start=0.1 if steps > 10 else 0.3
    )
    parts: dict[str, Part] = {"network": network, "optimizer": optimizer, "schedule": schedule}
    parts |= {f"batches of seed {seed}": stream for seed, stream in zip(seeds, batches, strict=True)}
    if isinstance(loss_of, Stateful):
        require_savable(loss_of)
        parts["loss"] = loss_of
    run.progress.seeds_together = len(seeds)
    start = 0
    if saved is None:
        # A loss of the user's may draw from torch's own stream.
        torch.manual_seed(stream_seed(seeds[0], "loss"))
    else:
        start = saved["step"]
        restore(parts, saved)
    size, own = (min(spec.training.batch_size, len(x)),), torch.arange(len(seeds), device=run.device)
    for step in run.progress.steps(spec.training.steps, _names(seeds), start):
        run.save_if_due(partial(_state, results, seeds, step, parts))
        drawn = [torch.randint(len(x), size, generator=stream, device=run.device) for stream in batches]
        batch = torch.stack(drawn, dim=1)
        losses = loss_of(network, x[batch, own].flatten(0, 1), y[batch, own].flatten())
        if is_user_code(spec.loss):
            require_loss(losses, loss_of)
        optimizer.zero_grad()
        backward(losses.sum(), loss_of)
        optimizer.step()
        schedule.step()
        if step % LOOK == 0 or step + 1 == spec.training.steps:
            for seed, loss in zip(seeds, losses.detach().reshape(-1).tolist(), strict=True):
                value = require_finite(loss, step=step, seed=seed)
                run.history.append({"seed": seed, "step": step, "loss": value})
    count, at_once = len(seeds), max(1, min(_IMAGES, _ROWS // len(seeds)))
    pieces = -(-len(x) // at_once)
    own_images = zip(x.tensor_split(pieces), y.tensor_split(pieces), strict=True)
    tested = _accuracies(network, count, _pieces(test, at_once, classes, run.device), run.device)
    trained = _accuracies(network, count, own_images, run.device)
    fallbacks = getattr(loss_of, "fallback_shares", [getattr(loss_of, "fallback_share", 0.0)] * count)
    return [
        {"accuracy": accuracy, "training_accuracy": training_accuracy, "fallback_share": float(fallback)}
        for accuracy, training_accuracy, fallback in zip(tested, trained, fallbacks, strict=True)
    ]


def _names(seeds: Sequence[int]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"


def _network(seed: int, train: Split) -> nn.Module:
    """Return the seed's network; torch's own random state, restored from a checkpoint perhaps, stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stream_seed(seed, "initialisation"))
        return SmallConvNet(*train.images.shape[1:])


def _state(
    results: list[dict[str, float]], seeds: Sequence[int], step: int, parts: Mapping[str, Part]
) -> dict[str, Any]:
    return {"results": results, "training": {"seeds": list(seeds), "step": step} | snapshot(parts)}


def _halves(data: ImageDataset, evaluate_on: str) -> tuple[Split, Split]:
    """Return what is trained on and what is measured on; validation never sees the test set."""
    if evaluate_on == "test":
        return data.train, data.test
    order = numpy_stream(0, "validation").permutation(len(data.train.labels))
    held, kept = np.sort(order[: len(order) // 10]), np.sort(order[len(order) // 10 :])
    if len(held) < FEWEST_HELD_OUT:
        raise UserError(
            f"evaluate_on: a tenth of {len(order)} training images are {len(held)}, too few to measure on (at least "
            f"{FEWEST_HELD_OUT}): take a larger data set"
        )
    return (
        Split(data.train.images[kept], data.train.labels[kept]),
        Split(data.train.images[held], data.train.labels[held]),
    )


def _training_images(spec: Spec, train: Split) -> int:
    return max(2, round(spec.fraction * len(train.labels)))


def _subset(seed: int, size: int, train: Split) -> np.ndarray:
    """Return the indices of the seed's training images, the same for every loss."""
    return np.sort(numpy_stream(seed, "subset").permutation(len(train.labels))[:size])


def _merged(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return −1 for the lower half of the labels and +1 for the upper half."""
    return np.where(labels < classes // 2, -1.0, 1.0)


def _majority(test: Split, classes: int) -> float:
    share = float((_merged(test.labels, classes) > 0).mean())
    return max(share, 1 - share)


def _to_device(split: Split, chosen: np.ndarray, classes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    images = torch.from_numpy(np.array(split.images[chosen])).to(device).to(torch.get_default_dtype()) / 255
    labels = torch.from_numpy(_merged(split.labels[chosen], classes)).to(device).to(torch.get_default_dtype())
    return images, labels


def _pieces(
    split: Split, at_once: int, classes: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the images ``(n, 1, c, h, w)`` of a split and their labels ``(n, 1)``, ``at_once`` at most."""
    for chosen in np.array_split(np.arange(len(split.labels)), -(-len(split.labels) // at_once)):
        x, y = _to_device(split, chosen, classes, device)
        yield x[:, None], y[:, None]


@torch.no_grad()
def _accuracies(
    network: nn.Module, count: int, pieces: Iterable[tuple[Tensor, Tensor]], device: torch.device
) -> list[float]:
    """Return the accuracy of each of ``count`` networks on its own images, ``(n, count, …)``, or on those of all."""
    right, seen = torch.zeros(count, dtype=torch.int64, device=device), 0
    for x, y in pieces:
        values = network(x.expand(-1, count, *x.shape[2:]).flatten(0, 1)).reshape(-1, count)
        right += (values * y > 0).sum(dim=0)
        seen += len(x)
    return [each / seen for each in right.tolist()]


def _short(name: str) -> str:
    return name.rsplit(":", 1)[-1]
