"""How long Figure 2 of a suite takes here, from 20 of its runs made whole.

    python -m benchmarks.figure2_hours [--suite paper] [--data-root data] [--cores 2]

A run is one seed, trained and tested: four of the geometric SVM on MNIST, which is most of the work, and two of every
other loss and dataset, at the middle one of the shares of the training set (no step depends on it). As many run at a
time as there are cores, one thread each, as Snakemake runs them. Their seconds of the clock, times the seeds of the
suite, over the cores, are the projected hours. The data must be there: a made-up set takes other steps.
"""

import argparse
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import mean

import torch

from nls.engine.memory import keep_freed_memory
from nls.engine.progress import Progress
from nls.engine.seeds import make_deterministic
from nls.engine.yaml_files import read_yaml
from nls.errors import UserError
from nls.experiments import figure2
from nls.experiments.cost import alike, start
from nls.experiments.suite import load_suite

CONFIGS = Path(__file__).parents[1] / "config"
MOST_WORK = "figure2 mnist geometric_svm"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.figure2_hours", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--suite", default="paper")
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--cores", type=int, default=2)
    chosen = parser.parse_args()
    config = CONFIGS / f"{chosen.suite}.yaml"
    kinds = alike(load_suite(read_yaml(config), str(config)).specs["figure2"])
    with ProcessPoolExecutor(chosen.cores, get_context("spawn")) as pool:
        found = {
            kind: [
                pool.submit(_seconds, _one_seed(specs, seed, chosen.data_root))
                for seed in range(4 if kind == MOST_WORK else 2)
            ]
            for kind, specs in sorted(kinds.items(), key=lambda item: item[0] != MOST_WORK)
        }
    hours = 0.0
    try:
        for kind, runs in found.items():
            each, seeds = mean(run.result() for run in runs), sum(len(spec.seeds) for spec in kinds[kind])
            hours += each * seeds / 3600
            print(f"{kind:<40}{each:8.1f} s a run{seeds:6} runs{each * seeds / 3600:8.2f} hours")
    except UserError as error:
        sys.exit(f"figure2_hours: {error}")
    print(f"{hours:.2f} hours of one core: {hours / chosen.cores:.2f} hours on {chosen.cores} cores")
    return 0


def _one_seed(specs: list[figure2.Spec], seed: int, data_root: str) -> figure2.Spec:
    return specs[len(specs) // 2].model_copy(
        update={"seeds": [seed], "data_root": data_root, "device": "cpu", "threads": 1}
    )


def _seconds(spec: figure2.Spec) -> float:
    """Make a run, and return the seconds it took."""
    make_deterministic(spec.threads)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        start(spec, Progress(), Path(folder), torch.device("cpu"))
        return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
