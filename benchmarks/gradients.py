"""How many forward passes and gradients of an image, and how long, a training step of each method takes.

    python -m benchmarks.gradients [--suite beyond_mini]

Every method of the suite's MNIST rows trains the network of its row, with its settings, on scikit-learn's digits at
28 × 28 for 40 batches of 64, ε at its full size. The last 20 are counted and timed: some methods look for roots, or
leave out samples, so that the count depends on the network. The methods take turns at these, and the median time of a
step is shown, so that what else the machine does falls on all alike. HAT's helper, another network, is not counted.
Prints a Markdown table.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks import inputs
from nls.engine.memory import keep_freed_memory
from nls.engine.yaml_files import read_yaml
from nls.experiments.suite import load_suite
from nls.experiments.table1 import Row
from nls.networks.classifiers import build_classifier
from nls.objectives.base import Moment
from nls.objectives.classifiers import make_method

CONFIGS = Path(__file__).parents[1] / "config"
BATCH, STEPS, COUNTED = 64, 40, 20
CPU = torch.device("cpu")


@dataclass
class Passes:
    """Images that have gone through a network, forwards and backwards, and the seconds of each step."""

    forward: int = 0
    backward: int = 0
    seconds: list[float] = field(default_factory=list)

    def watch(self, network: nn.Module) -> None:
        """Count from now on."""
        network.register_forward_hook(self._seen)

    def _seen(self, module: nn.Module, given: tuple[Tensor], logits: Tensor) -> None:
        self.forward += len(logits)
        if logits.requires_grad:
            logits.register_hook(self._back)

    def _back(self, gradient: Tensor) -> None:
        self.backward += len(gradient)


def steps_of(row: Row, folder: Path) -> Iterator[Passes]:
    """Make the steps of a short training; after each of those that are counted, yield what was counted so far."""
    torch.manual_seed(0)
    network = build_classifier(row.network, 1, 28, 10)
    x, y = inputs.images(CPU)
    optimizer = torch.optim.Adam(network.parameters(), row.training.learning_rate)
    counted, draws = Passes(), torch.Generator().manual_seed(0)
    settings = dict(row.settings)
    if row.helper:
        settings["helper"] = str(folder / "helper.pt")
        torch.save(inputs.classifier(CPU).state_dict(), settings["helper"])
    method = make_method(row.method, settings)

    def step(number: int) -> None:
        rows = torch.arange(BATCH * number, BATCH * (number + 1)) % len(x)
        optimizer.zero_grad()
        # An epoch far beyond every warm-up.
        method(network, x[rows], y[rows], Moment(1000.0, draws)).backward()
        optimizer.step()

    for number in range(STEPS - COUNTED):
        step(number)
    counted.watch(network)
    for number in range(STEPS - COUNTED, STEPS):
        begin = time.perf_counter()
        step(number)
        counted.seconds.append(time.perf_counter() - begin)
        yield counted


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gradients", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--suite", default="beyond_mini")
    keep_freed_memory()
    config = CONFIGS / f"{parser.parse_args().suite}.yaml"
    rows = {
        f"{spec.row.method} {spec.row.variant or ''}".strip(): spec.row
        for spec in load_suite(read_yaml(config), str(config)).specs["table1"]
        if spec.row.dataset == "mnist"
    }
    with tempfile.TemporaryDirectory() as folder:
        trainings = {name: steps_of(row, Path(folder)) for name, row in rows.items()}
        for _ in range(COUNTED):
            counted = {name: next(steps) for name, steps in trainings.items()}
    print("| method | forward passes | gradients | ms a step |\n| --- | --- | --- | --- |")
    images = BATCH * COUNTED
    for name, found in counted.items():
        passes = f"{found.forward / images:.1f} | {found.backward / images:.1f}"
        print(f"| {name} | {passes} | {1000 * median(found.seconds):.0f} |")


if __name__ == "__main__":
    main()
