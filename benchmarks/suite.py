"""Steps a second of every training loop of a suite, the hours that these make, and traces of the slowest loops.

The loops are those of the experiments' own recipes at the suite's settings, begun as ``nls doctor`` begins them and
stopped after a few steps. Data that are not here are made up in their size, and a step costs what it costs at the
start of a training.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.rows import peak_megabytes, seconds, synchronize
from nls.attacks import Ball, pgd
from nls.attacks.cost import GRADIENT, most_passes
from nls.attacks.library import members
from nls.data import Split
from nls.engine.finished import MadeFrom
from nls.engine.progress import Progress
from nls.engine.runs import Run
from nls.engine.settings import RunSpec
from nls.engine.yaml_files import read_yaml
from nls.experiments import figure2, table1
from nls.experiments.cost import alike, loops_of, start, with_data
from nls.experiments.suite import load_suite
from nls.networks.classifiers import build_classifier

PAPER, SMOKE = (Path(__file__).parent.parent / "config" / f"{name}.yaml" for name in ("paper", "smoke"))

EXPERIMENTS = ("table1", "figure2", "table2", "figure3")

# Channels, side and test images.
SHAPES = {
    "mnist": (1, 28, 10_000),
    "fashion_mnist": (1, 28, 10_000),
    "cifar10": (3, 32, 10_000),
    "digits": (1, 8, 359),
}
CLASSES = 10
# Steps before the clock starts: kernels are chosen, graphs captured.
WARM_UP = 3


class StoppedError(Exception):
    """Enough steps were timed."""


class Timed(Progress):
    """Progress that times the steps after the first few, and then stops the loop.

    Args:
        device: to wait for.
        wanted: seconds to time.
        trace: a file for a trace of two steps instead.

    Attributes:
        per_step: seconds of a step.
        total: steps of the loop.
    """

    def __init__(self, device: torch.device, wanted: float, trace: Path | None = None) -> None:
        super().__init__()
        self.device, self.wanted, self.trace = device, wanted, trace
        self.per_step = float("nan")
        self.total = 0
        self.operations = ""

    def steps(self, total: int, label: str, start: int = 0) -> Iterator[int]:
        """Yield steps until enough were timed."""
        self.total = total
        yield from range(start, start + WARM_UP)
        rest = iter(range(start + WARM_UP, total))
        if self.trace is not None:
            yield from self._traced(rest)
        else:
            yield from self._timed(rest)
        raise StoppedError

    def _timed(self, rest: Iterator[int]) -> Iterator[int]:
        synchronize(self.device)
        began, look = time.perf_counter(), 1
        for done, step in enumerate(rest, 1):
            yield step
            if done == look:
                synchronize(self.device)
                self.per_step = (time.perf_counter() - began) / done
                if self.per_step * done >= self.wanted:
                    return
                look = done + max(1, min(done, int((self.wanted - self.per_step * done) / self.per_step)))

    def _traced(self, rest: Iterator[int]) -> Iterator[int]:
        activities = [ProfilerActivity.CPU]
        if self.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        with profile(activities=activities, acc_events=True) as profiler:
            for _, step in zip(range(2), rest, strict=False):
                yield step
            synchronize(self.device)
        profiler.export_chrome_trace(str(self.trace))
        order = f"self_{self.device.type}_time_total"
        self.operations = profiler.key_averages().table(sort_by=order, row_limit=12, max_name_column_width=40)


@dataclass(frozen=True)
class Loop:
    """The training loop of runs of one kind (:func:`nls.experiments.cost.alike`)."""

    name: str
    runs: list[RunSpec]

    @property
    def experiment(self) -> str:
        """table1, figure2, table2 or figure3."""
        return self.runs[0].experiment


@dataclass(frozen=True)
class Pace:
    """What a loop was measured at; ``loops``: how often the suite has it; memory is the peak above what was held."""

    experiment: str
    name: str
    steps: int
    loops: int
    per_step: float
    megabytes: float | None
    hours: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hours", self.per_step * self.steps * self.loops / 3600)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields."""
        return asdict(self)


def measure(loop: Loop, device: torch.device, wanted: float) -> Pace:
    """Time a loop for about ``wanted`` seconds."""
    progress = Timed(device, wanted)

    def action() -> None:
        _run(loop, device, progress)

    memory = peak_megabytes(action, device)
    loops = loops_of(loop.runs, progress.seeds_together)
    return Pace(loop.experiment, loop.name, progress.total, loops, progress.per_step, memory)


def trace(loop: Loop, device: torch.device, file: Path) -> str:
    """Write a trace of two steps of a loop (``.json.gz``); return its costliest operations as a table."""
    progress = Timed(device, 0.0, file)
    _run(loop, device, progress)
    return progress.operations


def _run(loop: Loop, device: torch.device, progress: Timed) -> None:
    spec, _ = with_data(loop.runs[len(loop.runs) // 2], Path(_folder().name))
    try:
        start(spec, progress, Path(_folder().name), device)
    except StoppedError:
        return
    raise RuntimeError(f"{loop.name} ended before enough steps were timed")


@cache
def _folder() -> tempfile.TemporaryDirectory:
    """Return a folder for made-up data and unfinished runs, which is gone after the process."""
    return tempfile.TemporaryDirectory()


def loops(config: Path) -> list[Loop]:
    """Return the loops of a suite's Table 1, Figure 2, Table 2 and Figure 3, each once."""
    specs = load_suite(read_yaml(config), str(config)).specs
    trained = [spec for name in EXPERIMENTS for spec in specs.get(name, []) if _is_trained(spec)]
    return [Loop(name, runs) for name, runs in alike(trained).items()]


def _is_trained(spec: Any) -> bool:
    return spec.experiment != "table2" or hasattr(spec.method, "training")


def _on_random_images(spec: figure2.Spec) -> tuple[figure2.Spec, Split, Split]:
    """Return the spec for a whole training set, of a thousand random images, and this and a test set."""
    channels, side, _ = SHAPES[spec.dataset]
    whole = spec.model_copy(update={"fraction": 1.0})
    return whole, _random(1000, channels, side), _random(100, channels, side)


def learn_seeds(
    config: Path, loss: str, seeds: list[int], steps: int, device: torch.device, *, together: bool
) -> list[tuple[float, float]]:
    """Train seeds of Figure 2 for some steps; return the loss of the first step and the accuracy of each."""
    specs = load_suite(read_yaml(config), str(config)).specs["figure2"]
    spec = next(spec for spec in specs if spec.name == loss)
    whole, train, test = _on_random_images(spec)
    short = whole.model_copy(update={"training": spec.training.model_copy(update={"steps": steps})})
    found = list[tuple[float, float]]()
    for group in [seeds] if together else [[seed] for seed in seeds]:
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
            run = Run(Path(folder), short, MadeFrom(), device)
            results = figure2.learn(short, group, train, test, 10, run, [], None)
            losses = [float(row["loss"]) for row in run.history if row["step"] == 0]
        found += [(loss, result["accuracy"]) for loss, result in zip(losses, results, strict=True)]
    return found


def seeds_together(config: Path, loss: str, count: int, steps: int, device: torch.device) -> dict[str, Any]:
    """Time many seeds of Figure 2 trained together; project the same one by one from the times of three."""
    few, many = list(range(3)), list(range(count))
    for seeds in (few[:1], many):  # libraries set themselves up for either
        learn_seeds(config, loss, seeds, 2, device, together=True)
    found: list[list[tuple[float, float]]] = []

    def learn(seeds: list[int], together: bool) -> None:
        found.append(learn_seeds(config, loss, seeds, steps, device, together=together))

    single = seconds(lambda: learn(few, False), device) / len(few) * count
    together = seconds(lambda: learn(many, True), device)
    alone, beside = (torch.tensor(each[: len(few)], dtype=torch.float64) for each in found)
    (loss_gap, accuracy_gap) = (alone - beside).abs().amax(dim=0).tolist()
    return {
        "loss": loss, "seeds": count, "steps": steps, "together": together, "one_by_one": single,
        "ratio": single / together, "gap_of_first_losses": loss_gap, "gap_of_accuracies": accuracy_gap,
        "same": loss_gap <= 1e-3 and accuracy_gap <= 0.05,
    }  # fmt: skip


def _random(count: int, channels: int, side: int) -> Split:
    draws = np.random.default_rng(0)
    return Split(
        draws.integers(0, 256, (count, channels, side, side), dtype=np.uint8),
        np.arange(count, dtype=np.int64) % CLASSES,
    )


@dataclass(frozen=True)
class AttackPace:
    """What the attacks of a table's rows cost at most, with every image standing to the end."""

    network: str
    images_a_second: float
    hours: float


def attacks(config: Path, device: torch.device) -> Iterator[AttackPace]:
    """Time a step of PGD for every dataset and network of Table 1, and project the hours of all its rows' attacks.

    An attack costs what :func:`most_passes` counts. Bounds, since examples leave an attack when they break.
    """
    specs: dict[tuple[str, str], list[table1.Spec]] = {}
    for spec in load_suite(read_yaml(config), str(config)).specs.get("table1", []):
        specs.setdefault((spec.row.dataset, spec.row.network), []).append(spec)
    for (dataset, network), group in specs.items():
        plan = group[0].attacks
        channels, side, test_images = SHAPES[dataset]
        model: nn.Module = build_classifier(network, channels, side, CLASSES).to(device).eval()
        batch = min(plan.batch_size, 250)
        x = torch.rand(batch, channels, side, side, device=device)
        y = model(x).argmax(dim=1).detach()

        def step(model: nn.Module = model, x: torch.Tensor = x, y: torch.Tensor = y) -> None:
            pgd(model, x, y, Ball(1e-6), x, loss="margin", steps=5, step_size=1e-7, batch_size=len(x))

        step()
        rate = 5 * batch / min(seconds(step, device) for _ in range(3))
        passes = sum(
            most_passes(name, plan.effort(), CLASSES, steps=plan.steps, starts=plan.starts)
            for name in set(members(plan.attacks))
        )
        curve = 2 * (len(plan.curve_eps) * plan.steps + plan.curve_steps)
        images = min(plan.test_images or test_images, test_images)
        total = images * passes / GRADIENT + min(plan.curve_images or test_images, test_images) * curve
        yield AttackPace(f"{dataset} {network}", rate, len(group) * total / rate / 3600)
