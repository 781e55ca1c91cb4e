"""Black-box robustness: adversarial points of one network of Table 1, tried on the others (supplement)."""

from collections import Counter
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, field_validator

from nls.attacks import Ball, Loss, is_correct, pgd
from nls.data import IMAGE_SETS, load_images
from nls.engine.finished import METRICS, SPEC
from nls.engine.runs import Run
from nls.engine.seeds import torch_stream
from nls.engine.settings import RunSpec, Settings, run_name, without_seed
from nls.engine.user_code import is_user_code, user_files
from nls.engine.yaml_files import read_yaml
from nls.errors import UserError
from nls.experiments.common import (
    Common,
    DatasetName,
    ExperimentConfig,
    Seed,
    Seeds,
    note_fewer_images,
    results_directory,
    seed_list,
)
from nls.experiments.training import NetworkName, images_of, network_for, weights_of
from nls.networks.weights import load_weights


class Transfer(Settings):
    """PGD on the source network; its last iterates are tried on the targets."""

    eps: float = Field(ge=0, le=1, description="ε: radius of the L∞ ball, in pixel values")
    steps: int = Field(ge=1, description="steps of PGD; all of them are taken")
    step_size: float = Field(gt=0, le=1, description="step size of PGD, in pixel values")
    test_images: int | None = Field(None, ge=1, description="the first images of the test set; null: all")


class Group(Settings):
    """Networks that are tried on one another, each as source and as target."""

    dataset: DatasetName = Field(description="data set, as in table1")
    network: NetworkName = Field(description="architecture, as in table1")
    models: list[str] = Field(
        min_length=2,
        description="networks to try on one another: names of runs of table1, without their seeds",
    )
    transfer: Transfer = Field(description="how the adversarial images are made")

    @field_validator("models")
    @classmethod
    def _distinct(cls, models: list[str]) -> list[str]:
        if repeated := [model for model, count in Counter(models).items() if count > 1]:
            raise ValueError(f"{repeated[0]!r} is named twice")
        if seeded := [model for model in models if without_seed(model) != model]:
            raise ValueError(f"{seeded[0]!r} names a seed: leave it out, and give the key seeds")
        return models


class Config(ExperimentConfig):
    """Settings of the black-box tables."""

    seed: Seed = Field(0, description="seed of the random starts")
    seeds: Seeds = Field(1, description="seeds of table1; networks of equal seed are tried on one another")
    groups: list[Group] = Field(min_length=1, description="sets of networks that are tried on one another")

    @field_validator("groups")
    @classmethod
    def _no_group_twice(cls, groups: list[Group]) -> list[Group]:
        if any(group in groups[:number] for number, group in enumerate(groups)):
            raise ValueError("two groups are equal: remove one")
        return groups


class Spec(RunSpec):
    """One source and all targets of its group."""

    experiment: Literal["blackbox"]
    source: str
    group: Group
    seed: Seed

    def datasets(self) -> list[str]:
        """Return the dataset, unless it is a file of the user's."""
        return [self.group.dataset] if self.group.dataset in IMAGE_SETS else []

    def files_read(self) -> list[str]:
        """Return the runs whose weights are read, the files of a user's network, and a dataset given by path."""
        files = [str(self.model_directory(model) / METRICS) for model in self.group.models]
        files += user_files(self.group.network) if is_user_code(self.group.network) else []
        return files + ([] if self.group.dataset in IMAGE_SETS else [self.group.dataset])

    def model_directory(self, model: str) -> Path:
        """Return the run directory of a network of the group."""
        return results_directory(self.suite) / "table1" / model


def expand(config: Config, common: Common) -> list[Spec]:
    """Return one run for each group, source and seed of its training.

    A source of several groups (of other targets, or of another ε) has a run in each; the later ones are numbered.
    """
    specs = []
    groups_of = Counter[str]()
    for group in config.groups:
        for source in group.models:
            groups_of[source] += 1
            number = [] if groups_of[source] == 1 else [f"group{groups_of[source]}"]
            for seed in seed_list(config.seeds):
                models = [run_name(model, seed=seed) for model in group.models]
                specs.append(
                    Spec(
                        **common.base(
                            "blackbox", run_name("from", source, *number, seed=seed), config.threads
                        ),
                        source=run_name(source, seed=seed),
                        group=group.model_copy(update={"models": models}),
                        seed=config.seed,
                    )
                )
    return specs


def run(spec: Spec, run: Run) -> dict[str, Any]:
    """Attack the source with each loss and try its adversarial points on every target.

    Returns the targets' clean accuracies, and their accuracies on the points; the source is among the targets.
    """
    group, plan = spec.group, spec.group.transfer
    data = load_images(group.dataset, Path(spec.data_root))
    run.data[group.dataset] = data.fingerprint
    note_fewer_images(run, "transfer.test_images", plan.test_images, len(data.test.labels))
    images, labels = images_of(data.test, slice(plan.test_images), run.device)
    images = images.float() / 255

    networks = {}
    for name in group.models:
        weights = weights_of(spec.model_directory(name))
        _require_alike(weights.parent, group)
        networks[name] = network_for(data, group.network).to(run.device)
        load_weights(networks[name], weights)

    ball = Ball(plan.eps)
    start = ball.random(images, torch_stream(spec.seed, "transfer", device=run.device))
    losses: tuple[Loss, ...] = ("xent", "margin")
    accuracies: dict[str, dict[str, float]] = {}
    for loss in losses:
        attacked = pgd(
            networks[spec.source],
            images,
            labels,
            ball,
            start,
            loss=loss,
            steps=plan.steps,
            step_size=plan.step_size,
            stop_when_broken=False,
        )
        accuracies[loss] = {
            name: _share(is_correct(network, attacked.points, labels)) for name, network in networks.items()
        }
    clean = {name: _share(is_correct(network, images, labels)) for name, network in networks.items()}
    return {"n": len(images), "source": spec.source, "clean": clean, "accuracy": accuracies}


def _require_alike(directory: Path, group: Group) -> None:
    """Check that a network was trained on the group's data, and is of its architecture.

    Raises:
        UserError: it was not, or its spec cannot be read.
    """
    row = read_yaml(directory / SPEC)["row"]
    for key, wanted in (("dataset", group.dataset), ("network", group.network)):
        if row[key] != wanted:
            raise UserError(
                f"groups: {key} is {wanted}, but {directory.name} has {row[key]}: mend the config"
            )


def _share(flags: torch.Tensor) -> float:
    return float(flags.double().mean())
