"""A step of this checkout against the same step of an earlier commit.

    python -m benchmarks.commits svm 79d7c40^ [--rounds 10] [--threads 1]
    python -m benchmarks.commits surface 4e2bcc6^

``svm`` is loss and gradient of the geometric SVM (Eq. 11) on 64 images of 28 × 28, at states of a network along a
training with the settings of Figure 2 on MNIST. ``surface`` is loss and gradient of Eq. 13 on a network of 8 × 512
and 1,000 points of a scan, at a state after some steps. Each commit runs in a process of its own, with nothing of the
other's; the two take turns, round by round, and the medians and the least times of a step are compared, in seconds of
the processor that one thread used and, with more threads, of the clock. Losses in float64 are compared too.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

HERE = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.commits", description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("svm", "surface"))
    parser.add_argument("commit", help="the earlier commit")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    with tempfile.TemporaryDirectory() as folder, _sources(chosen.commit, Path(folder)) as earlier:
        inputs = Path(folder) / "inputs.pt"
        torch.save(_svm_inputs() if chosen.step == "svm" else _surface_inputs(), inputs)
        workers = [_Worker(place, chosen.step, inputs, chosen.threads) for place in (earlier, HERE)]
        losses = [worker.ask("losses") for worker in workers]
        times: list[list[list[float]]] = [[], []]
        for turn in range(chosen.rounds):
            for which in (0, 1) if turn % 2 == 0 else (1, 0):
                times[which].append(workers[which].ask("times"))
        for worker in workers:
            worker.end()
    gap = max(abs(a - b) / abs(a) for a, b in zip(*losses, strict=True))
    print(f"largest relative difference of the losses in float64: {gap:.1e}")
    for name, share in (("median", 0.5), ("least", 0.0)):
        each = torch.tensor(times, dtype=torch.float64).quantile(share, dim=1).mean(dim=1)
        before, now = (1000 * each).tolist()
        ratio = f"{before / now:.2f} times as fast"
        print(f"{name}: {before:.1f} ms at {chosen.commit}, {now:.1f} ms here: {ratio}")
    return 0


@contextmanager
def _sources(commit: str, folder: Path) -> Iterator[Path]:
    """Yield a folder with the package of a commit."""
    place = folder / "earlier"
    place.mkdir()
    packed = subprocess.run(
        ["git", "archive", commit, "nls"], cwd=HERE, check=True, capture_output=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(place)], input=packed, check=True)
    yield place


class _Worker:
    """A process that imports the package of one commit and times steps when asked."""

    def __init__(self, place: Path, step: str, inputs: Path, threads: int) -> None:
        environment = os.environ | {"PYTHONPATH": str(place), "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--work", str(place), step, str(inputs), str(threads)],
            cwd=place, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self, what: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def _svm_inputs() -> dict[str, Any]:
    """States of a network along a training by the geometric SVM, and a batch for each."""
    from benchmarks.inputs import halves
    from nls.networks.small_convnet import SmallConvNet
    from nls.objectives.geometric_svm import GeometricSVM

    torch.manual_seed(0)
    settings = {"regularization": 0.2}
    x, y = (each[:600] for each in halves(torch.device("cpu")))
    network, loss_of, steps = SmallConvNet(1, 28, 28), GeometricSVM(**settings), 400
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps, pct_start=0.1)
    states = []
    for step in range(steps):
        batch = torch.randint(len(x), (64,))
        if step % 40 == 20:
            kept = {name: value.clone() for name, value in network.state_dict().items()}
            states.append((kept, x[batch], y[batch]))
        optimizer.zero_grad()
        loss_of(network, x[batch], y[batch]).backward()
        optimizer.step()
        schedule.step()
    return {"settings": settings, "states": states}


def _surface_inputs() -> dict[str, Any]:
    """A network after some steps, the cloud, and batches."""
    from benchmarks.inputs import scan
    from benchmarks.surfaces import Step
    from nls.networks.implicit import ImplicitMLP

    torch.manual_seed(0)
    points, network = scan(30_000, torch.device("cpu")), ImplicitMLP(512, 8)
    step = Step(network, points, 1000)
    for _ in range(20):
        step()
    batches = [points[torch.randint(len(points), (1000,))] for _ in range(3)]
    return {"state": network.state_dict(), "points": points, "batches": batches}


def _svm_steps(inputs: dict[str, Any], dtype: torch.dtype) -> list[Callable[[], Tensor]]:
    module = import_module("nls.networks.small_convnet")
    build = getattr(module, "SmallConvNet", None) or module.small_convnet
    loss_of = import_module("nls.objectives.geometric_svm").GeometricSVM(**inputs["settings"])

    def step(state: dict[str, Tensor], x: Tensor, y: Tensor) -> Callable[[], Tensor]:
        network = build(*x.shape[1:]).to(dtype)
        network.load_state_dict(state)
        return lambda: _loss_and_gradient(network, lambda: loss_of(network, x.to(dtype), y.to(dtype)))

    return [step(*each) for each in inputs["states"]]


def _surface_steps(inputs: dict[str, Any], dtype: torch.dtype) -> list[Callable[[], Tensor]]:
    network = import_module("nls.networks.implicit").ImplicitMLP(512, 8).to(dtype)
    network.load_state_dict(inputs["state"])
    # In float64 Newton goes to the end, so that both stand at the same points however they stop.
    exact = {"newton_tolerance": 1e-10, "newton_iterations": 30} if dtype == torch.float64 else {}
    objective = import_module("nls.objectives.reconstruction").ReconstructionLoss(**exact)
    cloud = import_module("nls.geometry.neighbours").Neighbours(inputs["points"].to(dtype))

    def loss(batch: Tensor) -> Tensor:
        draws = torch.Generator().manual_seed(0)
        total: Tensor = objective.total(objective(network, batch.to(dtype), cloud, draws))
        return total

    return [
        lambda batch=batch: _loss_and_gradient(network, lambda: loss(batch))  # type: ignore[misc]
        for batch in inputs["batches"]
    ]


def _loss_and_gradient(network: torch.nn.Module, loss_of: Callable[[], Tensor]) -> Tensor:
    network.zero_grad()
    loss = loss_of()
    loss.backward()
    return loss.detach()


def _work(place: str, step: str, inputs_file: str, threads: str) -> None:
    """Answer each line of the standard input with a line of JSON."""
    assert Path(import_module("nls").__file__ or "").is_relative_to(place)
    torch.set_num_threads(int(threads))
    if (Path(place) / "nls/engine/memory.py").exists():
        import_module("nls.engine.memory").keep_freed_memory()
    inputs = torch.load(inputs_file)
    prepare = _svm_steps if step == "svm" else _surface_steps
    steps = prepare(inputs, torch.float32)
    clock = time.thread_time if threads == "1" else time.perf_counter
    for line in sys.stdin:
        if line.strip() == "losses":
            answer = [float(each()) for each in prepare(inputs, torch.float64)]
        else:
            answer = []
            for each in steps:
                begun = clock()
                each()
                answer.append(clock() - begun)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        _work(*sys.argv[2:])
    else:
        sys.exit(main())
