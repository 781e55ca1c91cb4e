"""What a suite's runs cost here: a few training steps of each kind of run, taken for real, times their number."""

import io
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import numpy as np
import torch
import trimesh

from nls.data.curves import make_curves
from nls.data.scans import registration_path, scan_path
from nls.data.store import build, read_receipt
from nls.engine.devices import choose_device
from nls.engine.finished import MadeFrom
from nls.engine.progress import Progress
from nls.engine.runs import Run
from nls.engine.seeds import make_deterministic
from nls.engine.settings import RunSpec
from nls.errors import NlsError, memory_lacked
from nls.experiments.recipes import recipe
from nls.reconstruction.poisson import Poisson

Spec = TypeVar("Spec", bound=RunSpec)

# Steps that are watched; the first pays for what is made once, and counts only if there is no other.
_STEPS = 15
# Shapes (c, h, w) and training images of the sets that made-up images stand in for.
_IMAGES = {"mnist": (1, 28, 28, 60_000), "fashion_mnist": (1, 28, 28, 60_000), "cifar10": (3, 32, 32, 50_000)}
_SCAN_POINTS = 170_000
# Experiments whose runs reconstruct a surface by a method with a name.
_SURFACES = ("table2", "table2-time", "hard_inputs")


@dataclass(frozen=True)
class Cost:
    """What the runs of one kind take.

    Attributes:
        kind: the experiment and what distinguishes the kind.
        runs: how many.
        step: seconds of a training step, of CPU time where there is no GPU; the limit of the measurement if not one
            step ended within it.
        steps: training steps of all the runs.
        at_least: whether ``step`` is such a limit.
        reason: why nothing was measured; None if it was.
        made_up: whether made-up data stood in for a dataset that is not here.
        extrapolated: whether ``step`` is that of smaller batches, in proportion to their size.
    """

    kind: str
    runs: int
    step: float = 0.0
    steps: int = 0
    at_least: bool = False
    reason: str | None = None
    made_up: bool = False
    extrapolated: bool = False

    @property
    def seconds(self) -> float:
        """Seconds of all the runs, one after another."""
        return self.step * self.steps


def measure(specs: Sequence[RunSpec], seconds: float) -> Iterator[Cost]:
    """Yield the cost of each kind of run, having spent about ``seconds`` on measuring in all.

    The recipe of one run of each kind is started in a folder that is thrown away, and stopped in its training.
    """
    kinds = alike(specs)
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="nls-doctor-") as folder:
        for number, (kind, runs) in enumerate(kinds.items()):
            share = max(0.5, (end - time.monotonic()) / (len(kinds) - number))
            yield _measure(kind, runs, share, Path(folder))


def alike(specs: Sequence[RunSpec]) -> dict[str, list[RunSpec]]:
    """Return the runs by their kind, which decides the time of a step: not by seed, scan or share of the data."""
    kinds: dict[str, list[RunSpec]] = {}
    for spec in specs:
        kinds.setdefault(_kind(spec), []).append(spec)
    return kinds


def loops_of(runs: Sequence[RunSpec], seeds_together: int) -> int:
    """Return how many training loops runs have, of which each trains so many seeds."""
    return sum(-(-len(getattr(each, "seeds", [0])) // seeds_together) for each in runs)


def start(spec: RunSpec, progress: Progress, folder: Path, device: torch.device) -> None:
    """Begin a run in a folder where nothing of it is kept; ``progress`` sees its steps, and may end it by raising."""
    directory = folder / "run"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    run = Run(directory, spec, MadeFrom(), device)
    run.progress = progress
    with redirect_stdout(io.StringIO()):
        recipe(spec.experiment).run(spec, run)


def _kind(spec: RunSpec) -> str:
    values: Mapping[str, Any] = spec.model_dump(mode="json")
    match spec.experiment:
        case "figure1":
            parts = [values["panel"]]
        case "figure2":
            parts = [values["dataset"], values["name"]]
        case "table1":
            row = values["row"]
            eps = [] if row["eps_train"] is None else [f"{row['eps_train']:g}"]
            variant = [] if row["variant"] is None else [row["variant"]]
            parts = [row["dataset"], row["network"], row["method"], *variant, *eps]
        case surface if surface in _SURFACES:
            parts = [values["name"]]
        case _:
            parts = []
    return " ".join([spec.experiment, *parts])


def _measure(kind: str, runs: Sequence[RunSpec], seconds: float, folder: Path) -> Cost:
    spec = runs[len(runs) // 2]
    if spec.experiment == "universality" or isinstance(getattr(spec, "method", None), Poisson):
        return Cost(kind, len(runs), reason="no training; seconds to minutes each")
    if any(not Path(path).exists() for path in spec.files_read()):
        return Cost(kind, len(runs), reason="reads what other runs leave")
    spec, made_up = with_data(spec, folder)
    try:
        watch = _watch(spec, seconds / 2, folder)
        if watch.total == 0:
            return Cost(kind, len(runs), reason=f"no training step began within {watch.limit:.0f} s")
        steps = watch.total * loops_of(runs, watch.seeds_together)
        found = Cost(kind, len(runs), seconds / 2, steps, at_least=True, made_up=made_up)
        if watch.times:
            return replace(found, step=watch.mean(), at_least=False)
        smaller, times_smaller = _with_smaller_batches(spec)
        watch = _watch(smaller, seconds / 2, folder)
        if watch.times:
            return replace(found, step=watch.mean() * times_smaller, at_least=False, extrapolated=True)
        return found
    except NlsError as error:
        return Cost(kind, len(runs), reason=str(error))
    except (MemoryError, RuntimeError) as error:
        if (lack := memory_lacked(error)) is None:
            raise
        return Cost(kind, len(runs), reason=lack)


def _watch(spec: RunSpec, seconds: float, folder: Path) -> "_Watch":
    """Start the run's recipe and stop it once its training has been watched for ``seconds``."""
    make_deterministic(spec.threads)
    device = choose_device(spec.device)
    watch = _Watch(seconds, device)
    with suppress(_Enough), _alarm(watch.limit):
        start(spec, watch, folder, device)
    return watch


def _with_smaller_batches(spec: RunSpec) -> tuple[RunSpec, float]:
    """Return the run with batches of a 32nd of the size, and how many times smaller they are."""
    values = spec.model_dump(mode="json")
    training: dict[str, Any] = {
        "figure2": lambda: values["training"],
        "table1": lambda: values["row"]["training"],
        **dict.fromkeys(_SURFACES, lambda: values["method"].get("training", {})),
        "figure3": lambda: values["fit"]["training"],
    }.get(spec.experiment, dict)()
    key = "batch" if "batch" in training else "batch_size"
    if training.get(key, 0) < 4:
        return spec, 1.0
    whole = training[key]
    training[key] = max(2, whole // 32)
    return type(spec).model_validate(values), whole / training[key]


class _Enough(BaseException):
    """Ends a recipe whose steps have been measured."""


class _Watch(Progress):
    """Takes the time of steps from the whole first loop of a recipe, and ends the recipe after ``seconds``.

    A method may begin with cheap epochs, or let something in later, so the steps are spread over the loop, those of
    its middle first: few fit if they are dear.
    """

    def __init__(self, seconds: float, device: torch.device) -> None:
        super().__init__()
        self.seconds = seconds
        self.device = device
        self.limit = max(20.0, 4 * seconds)  # reading the data comes before the first step
        self.total = 0
        self.times: list[float] = []

    def steps(self, total: int, label: str, start: int = 0) -> Iterator[int]:
        """Yield some steps of the loop, against the clock."""
        self.total = total
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        for step in _spread(total, _STEPS):
            before = self._clock()
            yield step
            self.times.append(self._clock() - before)
        raise _Enough

    def _clock(self) -> float:
        """Return the time in seconds; on a CPU that of the run's own threads, which other work leaves as it is."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time() / torch.get_num_threads()

    def mean(self) -> float:
        """Return the mean time of a step, in seconds."""
        return float(np.mean(self.times[1:] or self.times))


def _spread(total: int, count: int) -> list[int]:
    """Return at most ``count`` steps of ``total``: the middle one, then the quarters, the eighths, and so on."""
    shares = [
        (2 * part + 1) / 2**level
        for level in range(1, count.bit_length() + 1)
        for part in range(2 ** (level - 1))
    ]
    return list(dict.fromkeys(int(share * total) for share in shares[:count]))


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise :class:`_Enough` after ``seconds``, which a loop of steps sets anew."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise _Enough

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def with_data(spec: Spec, folder: Path) -> tuple[Spec, bool]:
    """Return the run with data that are here, and whether they are made up because its dataset is not fetched."""
    root = Path(spec.data_root).resolve()
    absent = [name for name in spec.datasets() if name != "digits" and read_receipt(root / name) is None]
    if not absent:
        return spec.model_copy(update={"data_root": str(root)}), False
    for name in absent:
        if read_receipt(folder / name) is None:
            build(folder, name, {}, partial(_make_up, name=name, scan=getattr(spec, "scan", 0)))
    return spec.model_copy(update={"data_root": str(folder)}), True


def _make_up(folder: Path, _scratch: Path, *, name: str, scan: int) -> Mapping[str, Any]:
    """Write random images, a sphere for a scan, or the curves; return what the receipt says of them."""
    if name in _IMAGES:
        *shape, count = _IMAGES[name]
        draws = np.random.default_rng(0)
        for split, images in (("train", count), ("test", 10_000)):
            np.save(folder / f"{split}_images.npy", draws.integers(0, 256, (images, *shape), dtype=np.uint8))
            np.save(folder / f"{split}_labels.npy", np.arange(images) % 10)
        return {"classes": 10, "fingerprint": {}}
    if name == "curves":
        return make_curves(folder)
    sphere = trimesh.creation.icosphere(subdivisions=5)
    scan_points = trimesh.PointCloud(sphere.sample(_SCAN_POINTS, seed=0))
    for path, geometry in ((scan_path(folder, scan), scan_points), (registration_path(folder, scan), sphere)):
        path.parent.mkdir(parents=True)
        geometry.export(path)
    return {}
