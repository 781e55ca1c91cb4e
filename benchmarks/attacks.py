"""40 steps of PGD on ConvNet-4a against torchattacks: time and robust accuracy, on a standard and a robust network.

    python benchmarks/attacks.py [--standard RUN] [--robust RUN] [--data-root data] [--examples 1000] [--threads 2]

The networks are runs of Table 1; by default those of config/mini.yaml (`snakemake --configfile config/mini.yaml
table1`). Both programs get the same images, ε and steps, each its own random starts, and both end with the verdict on
their points. torchattacks works in batches of 250, its best size here. They take turns, start by start; a ratio is of
the medians. Process time is given beside wall time: on a shared machine it is the steadier of the two.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch

from nls.attacks import Ball, is_correct, pgd
from nls.data import load_images
from nls.engine.vision import torchvision  # noqa: F401  torchattacks imports it
from nls.networks.classifiers import build_classifier
from nls.networks.weights import load_weights

import torchattacks  # isort: skip

RUNS = Path("results/mini/table1")
EPS, STEPS, STEP_SIZE, BATCH = 0.3, 40, 0.01, 250


def theirs(model, images, labels, start):
    attack = torchattacks.PGD(model, eps=EPS, alpha=STEP_SIZE, steps=STEPS, random_start=True)
    torch.manual_seed(start)
    points = [attack(*batch) for batch in zip(images.split(BATCH), labels.split(BATCH), strict=True)]
    return is_correct(model, torch.cat(points), labels)


def ours(model, images, labels, start, loss="xent"):
    ball = Ball(EPS)
    first = ball.random(images, torch.Generator().manual_seed(start))
    clean = is_correct(model, images, labels)
    attacked = pgd(model, images, labels, ball, first, loss=loss, steps=STEPS, step_size=STEP_SIZE)
    return clean & ~attacked.broken


def timed(function, *arguments):
    wall, process = time.perf_counter(), time.process_time()
    left = function(*arguments)
    return left.double().mean().item(), time.perf_counter() - wall, time.process_time() - process


def compare(name, run, data, examples, starts):
    model = build_classifier("convnet4a-linear-head", 1, 28, 10)
    load_weights(model, run / "weights.safetensors")
    model.eval()
    images = torch.from_numpy(data.test.images[:examples].copy()).float() / 255
    labels = torch.from_numpy(data.test.labels[:examples].copy())
    programs = {
        "torchattacks": theirs,
        "nls": ours,
    }
    figures = {program: [] for program in programs}
    for start in range(starts):
        for program, function in programs.items():
            figures[program].append(timed(function, model, images, labels, start))
    print(f"\n{name}: {run.name}, {examples} examples, {starts} starts")
    base = [statistics.median(column) for column in zip(*figures["torchattacks"], strict=True)]
    for program, rows in figures.items():
        accuracies, walls, processes = zip(*rows, strict=True)
        wall, process = statistics.median(walls), statistics.median(processes)
        print(
            f"  {program:<14} robust accuracy {statistics.mean(accuracies):7.2%}   wall {wall:6.2f} s"
            f" ({base[1] / wall:.2f}x)   process {process:6.2f} s ({base[2] / process:.2f}x)"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--standard", type=Path, default=RUNS / "mnist-convnet4a-linear-head-standard")
    parser.add_argument("--robust", type=Path, default=RUNS / "mnist-convnet4a-linear-head-madry-0.3")
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} threads")
    data = load_images("mnist", arguments.data_root)
    for name in ("standard", "robust"):
        run = getattr(arguments, name)
        compare(name, run, data, arguments.examples, arguments.starts)


if __name__ == "__main__":
    main()
