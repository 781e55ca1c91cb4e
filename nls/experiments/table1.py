"""Table 1: clean and robust accuracies of classifiers (Section 5.2).

A run trains one network by one method, attacks it, and records how its accuracy falls with ε and with the steps
of PGD.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import Field, ValidationInfo, field_validator, model_validator
from torch import Tensor, nn

from nls.attacks import (
    ATTACKS,
    NEVER,
    Ball,
    CarryOut,
    Effort,
    Loss,
    at_once,
    attack,
    is_correct,
    pgd,
)
from nls.attacks.library import members, require_defined
from nls.attacks.report import PGD_ATTACKS
from nls.data import IMAGE_SETS, load_images
from nls.engine.finished import METRICS
from nls.engine.runs import Run
from nls.engine.seeds import torch_stream
from nls.engine.settings import RunSpec, Settings, run_name, told_with_key
from nls.engine.user_code import is_user_code, short_name, user_file, user_files
from nls.errors import UserError, did_you_mean
from nls.experiments.common import (
    Common,
    DatasetName,
    ExperimentConfig,
    Seed,
    Seeds,
    is_dataset,
    note_fewer_images,
    results_directory,
    seed_list,
)
from nls.experiments.training import NetworkName, Training, images_of, train, weights_of
from nls.objectives.classifiers import METHODS, make_method
from nls.objectives.settings import check_settings


class AttackPlan(Settings):
    """What the networks of a dataset are attacked with."""

    eps: float = Field(ge=0, le=1, description="ε: radius of the L∞ ball, in pixel values")
    attacks: list[str] = Field(
        min_length=1,
        description="some of pgd-xent, pgd-margin, apgd-ce, apgd-dlr, apgd-t, fab-t, square, autoattack",
    )
    steps: int = Field(ge=1, description="steps of PGD")
    step_size: float = Field(gt=0, le=1, description="step size of PGD, in pixel values")
    starts: int = Field(10, ge=1, description="random starts of PGD; mean and worst case are reported")
    test_images: int | None = Field(None, ge=1, description="the first images of the test set; null: all")
    apgd_steps: int = Field(100, ge=1, description="steps of APGD, and of targeted APGD for every target")
    fab_steps: int = Field(100, ge=1, description="steps of targeted FAB for every target")
    queries: int = Field(5000, ge=1, description="queries of Square for each image")
    batch_size: int = Field(250, ge=1, description="images in one forward pass")
    curve_eps: list[float] = Field([], description="radii of the accuracy-against-ε curve, ascending")
    curve_steps: int = Field(100, ge=1, description="PGD steps of the accuracy-against-steps curve")
    curve_images: int | None = Field(
        None, ge=1, description="the first test images, for the curves; null: all"
    )

    @field_validator("attacks")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        unknown = [name for name in names if name not in ATTACKS]
        if unknown:
            raise ValueError(f"unknown attack {unknown[0]!r}; take some of {', '.join(ATTACKS)}")
        if repeated := [name for name, count in Counter(names).items() if count > 1]:
            raise ValueError(f"{repeated[0]!r} is named twice")
        return names

    @field_validator("curve_eps")
    @classmethod
    def _ascending(cls, radii: list[float]) -> list[float]:
        ascending = all(before < radius for before, radius in pairwise(radii))
        if not ascending or any(not 0 <= radius <= 1 for radius in radii):
            raise ValueError("radii must ascend from 0 or more to at most 1, in pixel values, each once")
        return radii

    def effort(self) -> Effort:
        """Return how long the attacks of the library work."""
        return Effort(self.apgd_steps, self.fab_steps, self.queries)


class Row(Settings):
    """One row of the table."""

    dataset: DatasetName = Field(
        description="mnist, fashion_mnist, cifar10, digits, or the path of an .npz file"
    )
    network: NetworkName = Field(description="a classifier of nls.networks.classifiers, or file.py:Factory")
    method: str = Field(
        description="standard, madry, trades, ours, ours-level, ours-linf, mma, mart, hat, dyart, large-margin, "
        "or file.py:Class"
    )
    variant: str | None = Field(
        None, description="word that tells apart rows of a method with other settings; null: none"
    )
    eps_train: float | None = Field(
        None, ge=0, le=1, description="ε_train as the table prints it; null for none"
    )
    helper: str | None = Field(
        None,
        description="for the method hat: run of table1, without its seed, whose network of the same seed helps",
    )
    settings: dict[str, Any] = Field(
        {}, validate_default=True, description="arguments of the method's class: see the API"
    )
    training: Training = Field(description="how the network is trained")

    @field_validator("method")
    @classmethod
    def _method(cls, name: str) -> str:
        if name not in METHODS and not is_user_code(name):
            raise ValueError(f"take one of {', '.join(METHODS)}, or file.py:Class")
        return name

    @field_validator("settings")
    @classmethod
    def _settings(cls, settings: dict[str, Any], others: ValidationInfo) -> dict[str, Any]:
        method, helper = others.data.get("method"), others.data.get("helper")
        if method == "hat" and "helper" in settings:
            raise ValueError("name the helper's run under the row's key helper, not a file here")
        if method is not None and method in METHODS:
            given = settings | ({} if helper is None else {"helper": helper})
            with told_with_key():
                check_settings(METHODS[method], given, method)
        return settings

    def run_name(self, seed: int) -> str:
        """Return the name of the row's run with a seed."""
        method = Path(user_file(self.method)).stem if is_user_code(self.method) else self.method
        variant = [] if self.variant is None else [self.variant]
        eps = [] if self.eps_train is None else [f"{self.eps_train:g}"]
        return run_name(Path(self.dataset).stem, short_name(self.network), method, *variant, *eps, seed=seed)


class Config(ExperimentConfig):
    """Settings of Table 1."""

    seeds: Seeds = Field(
        1,
        description="how many seeds (counted from 0), or which; a seed fixes the part of the training set, "
        "initialisation, order, augmentation, search and attacks",
    )
    rows: list[Row] = Field(min_length=1, description="one training run each, with every seed")
    attacks: dict[str, AttackPlan] = Field(
        description="what networks are attacked with, for each data set of the rows"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [row.dataset for row in self.rows if row.dataset not in self.attacks]
        if missing:
            raise ValueError(f"attacks has no key {missing[0]!r}, which a row's dataset needs")
        datasets = [row.dataset for row in self.rows]
        if unknown := [name for name in self.attacks if name not in datasets and not is_dataset(name)]:
            hint = did_you_mean(unknown[0], [*datasets, *IMAGE_SETS])
            raise ValueError(f"attacks has the key {unknown[0]!r}, which is no data set; {hint}remove it")
        return self


class Spec(RunSpec):
    """One network: its training and what it is attacked with."""

    experiment: Literal["table1"]
    row: Row
    seed: Seed
    attacks: AttackPlan

    def datasets(self) -> list[str]:
        """Return the dataset, unless it is a file of the user's."""
        return [self.row.dataset] if self.row.dataset in IMAGE_SETS else []

    def files_read(self) -> list[str]:
        """Return the files of a user's network and method, the helper's run, and a dataset given by path."""
        names = filter(is_user_code, (self.row.network, self.row.method))
        files = [path for name in names for path in user_files(name)]
        files += [str(self._helper_directory / METRICS)] if self.row.helper else []
        return list(dict.fromkeys(files)) + ([] if self.row.dataset in IMAGE_SETS else [self.row.dataset])

    @property
    def _helper_directory(self) -> Path:
        return results_directory(self.suite) / "table1" / run_name(str(self.row.helper), seed=self.seed)

    def method_settings(self) -> dict[str, Any]:
        """Return the arguments of the method's class, the weights of the helper's run among them."""
        helper = {"helper": str(weights_of(self._helper_directory))} if self.row.helper else {}
        return self.row.settings | helper

    def summary(self) -> str:
        """Return the settings of the training in one line."""
        parts = self.row.settings | self.row.training.model_dump(exclude_defaults=True)
        return ", ".join(f"{name} {value}" for name, value in parts.items())


def expand(config: Config, common: Common) -> list[Spec]:
    """Return one run for each row and seed.

    Raises:
        UserError: the runs of two rows would have one name.
    """
    _require_distinct(config.rows)
    return [
        Spec(
            **common.base("table1", row.run_name(seed), config.threads),
            row=row,
            seed=seed,
            attacks=config.attacks[row.dataset],
        )
        for row in config.rows
        for seed in seed_list(config.seeds)
    ]


def _require_distinct(rows: Sequence[Row]) -> None:
    named: dict[str, int] = {}
    for number, row in enumerate(rows):
        name = row.run_name(seed=0)
        first = named.setdefault(name, number)
        if first != number:
            raise UserError(
                f"two runs would be named {name!r}: give rows.{first} or rows.{number} another variant, or remove one"
            )


def run(spec: Spec, run: Run) -> dict[str, Any]:
    """Train, attack, and draw the curves."""
    row, plan = spec.row, spec.attacks
    data = load_images(row.dataset, Path(spec.data_root))
    run.data[row.dataset] = data.fingerprint
    require_defined(members(plan.attacks), data.classes, "linf", data.test.images.shape)
    there = len(data.test.labels)
    note_fewer_images(run, "attacks.test_images", plan.test_images, there)
    note_fewer_images(run, "attacks.curve_images", plan.curve_images, plan.test_images or there)
    method = make_method(row.method, spec.method_settings())
    trained = train(row.network, method, data, row.training, run, seed=spec.seed, eps=plan.eps)
    network = trained.network

    def carry_out(work: str, do: Callable[[], Tensor]) -> Tensor:
        run.save_if_due(trained.state)
        return run.cached(work, do)

    # A run that goes on within its attacks has these seconds from its checkpoint.
    (trained_after,) = run.timings.setdefault("training", [run.wall_seconds])
    images, labels = images_of(data.test, slice(plan.test_images), run.device)
    images = images.float() / 255
    report = attack(
        network,
        images,
        labels,
        eps=plan.eps,
        attacks=plan.attacks,
        steps=plan.steps,
        step_size=plan.step_size,
        restarts=plan.starts,
        mean_over_starts=True,
        effort=plan.effort(),
        seed=spec.seed,
        batch_size=plan.batch_size,
        carry_out=carry_out,
    )
    few = slice(plan.curve_images)
    run.timings.setdefault("attacks", [run.wall_seconds - trained_after])
    held_out = {"held_out": trained.held_out} if trained.held_out else {}
    return (
        report.to_dict()
        | held_out
        | {
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "eps_curve": eps_curve(network, images[few], labels[few], plan, spec.seed, carry_out),
            "steps_curve": steps_curve(network, images[few], labels[few], plan, spec.seed, carry_out),
        }
    )


def eps_curve(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    plan: AttackPlan,
    seed: int,
    carry_out: CarryOut = at_once,
) -> dict[str, list[float]]:
    """Return the accuracy that PGD leaves at each radius, for both losses.

    A point that breaks an example within ε breaks it within every larger ε, so a radius is tried on what the
    smaller ones have left, and the curve cannot rise. Step sizes grow with ε.
    """
    curve: dict[str, list[float]] = {"eps": plan.curve_eps}
    clean = is_correct(network, images, labels, plan.batch_size)

    def left_at(radius: float, name: str, rows: Tensor) -> Tensor:
        ball = Ball(radius)
        result = pgd(
            network,
            images[rows],
            labels[rows],
            ball,
            ball.random(images[rows], torch_stream(seed, "curve", name, device=images.device)),
            loss=PGD_ATTACKS[name],
            steps=plan.steps,
            step_size=plan.step_size * (radius / plan.eps if plan.eps else 1),
            batch_size=plan.batch_size,
        )
        return ~result.broken

    for name in PGD_ATTACKS:
        left, accuracies = clean.clone(), []
        for radius in plan.curve_eps:
            rows = torch.nonzero(left)[:, 0]
            work = f"curve over eps, {name}, {radius}"
            left[rows] = carry_out(work, partial(left_at, radius, name, rows)).to(images.device)
            accuracies.append(float(left.double().mean()))
        curve[name] = accuracies
    return curve


def steps_curve(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    plan: AttackPlan,
    seed: int,
    carry_out: CarryOut = at_once,
) -> dict[str, list[float]]:
    """Return the accuracy that PGD leaves after each number of steps, from one start, for both losses."""
    steps = sorted({round(plan.curve_steps * share / 20) for share in range(21)})
    curve: dict[str, list[float]] = {"steps": [float(step) for step in steps]}
    ball = Ball(plan.eps)
    start = ball.random(images, torch_stream(seed, "curve", "steps", device=images.device))
    clean = is_correct(network, images, labels, plan.batch_size)

    def broken_at(loss: Loss) -> Tensor:
        return pgd(
            network,
            images,
            labels,
            ball,
            start,
            loss=loss,
            steps=steps[-1],
            step_size=plan.step_size,
            batch_size=plan.batch_size,
        ).broken_at

    for name, loss in PGD_ATTACKS.items():
        broken = carry_out(f"curve over steps, {name}", partial(broken_at, loss)).to(images.device)
        curve[name] = [
            float((clean & ((broken == NEVER) | (broken > step))).double().mean()) for step in steps
        ]
    return curve
