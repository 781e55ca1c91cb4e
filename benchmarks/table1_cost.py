"""What rows of Table 1 cost: a training step and a step of PGD measured on one core, projected to rows and a GPU.

    python -m benchmarks.table1_cost [--config config/paper.yaml] [--dataset cifar10] [--data-root data]
        [--tflops 19.5] [--utilisation 0.4] [--json OUT]

Each row's own network, method and batch size, on real images; rows that another run's network helps are left out.
Seconds are processor time of one thread, which other jobs on the machine disturb least. Operations are those of
matrix products and convolutions, counted during the step.

The projection assumes
- that a GPU carries out `--utilisation` of `--tflops` (by default an NVIDIA A100: 19.5 TFLOP/s in float32 by its data
  sheet, TF32 off, as everywhere here; the share is a guess, and half or twice as much is possible);
- for "ours", that samples have roots as often as with a network that has been trained for nothing: more than later;
- for PGD, that no example breaks before the last step, from any start (an upper bound);
- for AutoAttack, that half the examples reach every attack (an upper bound on CIFAR10);
- for all attacks, that they are the passes that nls.attacks.cost counts: a step of FAB costs 1.3 steps of PGD, and a
  query of Square a third of one.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.rows import operations
from nls.attacks import Ball, pgd
from nls.attacks.cost import GRADIENT, most_passes
from nls.attacks.library import members
from nls.data import load_images
from nls.engine.memory import keep_freed_memory
from nls.engine.seeds import torch_stream
from nls.engine.yaml_files import read_yaml
from nls.experiments import load_suite
from nls.experiments.training import images_of, network_for
from nls.objectives.base import Moment
from nls.objectives.classifiers import make_method

# The share of the examples that reach every attack of AutoAttack.
SURVIVING = 0.5
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Cost:
    """Seconds of one core and floating point operations."""

    seconds: float
    operations: float

    def times(self, number: float) -> "Cost":
        """Return the cost of ``number`` of these."""
        return Cost(number * self.seconds, number * self.operations)


@dataclass(frozen=True)
class RowCost:
    """One row: a step of each kind, and how many there are."""

    name: str
    batch: int
    training_step: Cost
    training_steps: int
    attack_batch: int
    attack_step: Cost
    attack_steps: float

    @property
    def training(self) -> Cost:
        """The whole training."""
        return self.training_step.times(self.training_steps)

    @property
    def attacks(self) -> Cost:
        """All attacks."""
        return self.attack_step.times(self.attack_steps)


def measured(action) -> Cost:
    """Return processor time and operations of one call."""
    began = time.process_time()
    counted = operations(action)
    return Cost(time.process_time() - began, counted)


def training_step(spec, data) -> Cost:
    """Measure a step of the row's method on one batch, after any warm-up of ε."""
    row = spec.row
    torch.manual_seed(0)
    network, method = network_for(data, row.network), make_method(row.method, row.settings)
    optimizer = torch.optim.Adam(network.parameters(), row.training.learning_rate)

    def step(images, labels):
        optimizer.zero_grad()
        moment = Moment(float(row.training.epochs), torch_stream(0, "search"))
        method(network, images, labels, moment).backward()
        optimizer.step()

    images, labels = images_of(data.train, slice(row.training.batch_size), CPU)
    images = images.float() / 255
    step(images[:8], labels[:8])
    return measured(lambda: step(images, labels))


def attack_step(spec, data) -> Cost:
    """Measure a step of PGD on one full batch, of which no example leaves."""
    plan = spec.attacks
    network, ball = network_for(data, spec.row.network), Ball(plan.eps)
    images, labels = images_of(data.test, slice(plan.batch_size), CPU)
    images = images.float() / 255

    def attack(images, labels, steps):
        pgd(
            network,
            images,
            labels,
            ball,
            images,
            loss="xent",
            steps=steps,
            step_size=plan.step_size,
            stop_when_broken=False,
            batch_size=plan.batch_size,
        )

    attack(images[:8], labels[:8], 1)
    one, two = (measured(lambda steps=steps: attack(images, labels, steps)) for steps in (1, 2))
    return Cost(two.seconds - one.seconds, two.operations - one.operations)


def attack_steps(spec, data) -> float:
    """Return how many such steps the row's attacks and curves are, at most."""
    plan = spec.attacks
    images = min(plan.test_images or len(data.test.labels), len(data.test.labels))
    steps = 0.0
    for name in dict.fromkeys(members(plan.attacks)):
        share = 1 if name in plan.attacks else SURVIVING
        passes = most_passes(name, plan.effort(), data.classes, steps=plan.steps, starts=plan.starts)
        steps += images * share * passes / GRADIENT
    shown = min(plan.curve_images or images, images)
    steps += shown * 2 * (len(plan.curve_eps) * plan.steps + plan.curve_steps)
    return steps / plan.batch_size


def cost_of(spec, data, known) -> RowCost:
    """Measure a row; rows of equal network, method and numbers of steps have equal costs and are measured once."""
    row = spec.row
    batches = min(row.training.train_images or len(data.train.labels), len(data.train.labels))
    kind = (row.network, row.method, row.settings.get("steps"), row.training.batch_size)
    if kind not in known:
        known[kind] = training_step(spec, data)
    if row.network not in known:
        known[row.network] = attack_step(spec, data)
    return RowCost(
        name=spec.run,
        batch=row.training.batch_size,
        training_step=known[kind],
        training_steps=row.training.epochs * (batches // row.training.batch_size),
        attack_batch=spec.attacks.batch_size,
        attack_step=known[row.network],
        attack_steps=attack_steps(spec, data),
    )


def line(cost: RowCost, rate: float) -> str:
    """Return a row of the printed table."""
    cells = [
        cost.name,
        f"{cost.training_step.seconds:.2f}",
        f"{cost.training_step.operations / 1e9:.0f}",
        f"{cost.training_steps:,}",
        f"{cost.attack_step.seconds:.2f}",
        f"{cost.attack_step.operations / 1e9:.0f}",
        f"{cost.attack_steps:,.0f}",
        f"{cost.training.seconds / 3600:.2f}",
        f"{cost.attacks.seconds / 3600:.2f}",
        f"{cost.training.operations / rate / 3600:.2f}",
        f"{cost.attacks.operations / rate / 3600:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


HEAD = (
    "row",
    "training step, s",
    "GFLOP",
    "steps",
    "attack step, s",
    "GFLOP",
    "steps, at most",
    "training, core hours",
    "attacks, core hours",
    "training, GPU hours",
    "attacks, GPU hours",
)


def main() -> None:
    """Measure the rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("config/paper.yaml"))
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--tflops", type=float, default=19.5, help="of the GPU in float32, at its best")
    parser.add_argument("--utilisation", type=float, default=0.4, help="share of it that is reached")
    parser.add_argument("--json", type=Path, metavar="OUT")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    suite = load_suite(read_yaml(options.config), str(options.config))
    # The network that helps a row is another run's.
    alone = [spec for spec in suite.specs["table1"] if spec.seed == 0 and not spec.row.helper]
    specs = [spec for spec in alone if spec.row.dataset == options.dataset]
    data = load_images(options.dataset, options.data_root)
    rate = options.tflops * 1e12 * options.utilisation
    print("| " + " | ".join(HEAD) + " |\n" + "|" + "---|" * len(HEAD))
    known, costs = {}, []
    for spec in specs:
        costs.append(cost_of(spec, data, known))
        print(line(costs[-1], rate), flush=True)
    core = sum(cost.training.seconds + cost.attacks.seconds for cost in costs) / 3600
    gpu = sum(cost.training.operations + cost.attacks.operations for cost in costs) / rate / 3600
    print(
        f"\nAll {len(costs)} rows: {core:,.0f} hours of one core here; {gpu:,.1f} hours of a GPU at", end=" "
    )
    print(f"{options.tflops:g} TFLOP/s, {options.utilisation:.0%} used.")
    if options.json:
        options.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=1) + "\n")


if __name__ == "__main__":
    main()
