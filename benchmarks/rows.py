"""What every benchmark yields, and how it measures.

``rows(quick, device)`` of each file yields ``Row``s, and ``growth(quick, device)`` yields ``Growth``s.

A row is a ratio within one run: ours and what a user would run instead take turns on the same machine, and both
answers are compared. The share of the machine's peak is that of ours: operations of its matrix products and
convolutions, over its time, over the rate at which one large float32 product runs here.
"""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from nls.engine.graphs import call_by_call


@dataclass(frozen=True)
class Row:
    """Ours against an alternative.

    Attributes:
        name: what was done, with its size.
        ours: seconds.
        against: what a user would run instead.
        alternative: its seconds.
        peak_share: of the machine's measured float32 peak, in [0, 1]; None where no products are made.
        check: what was compared between the two, with the figures.
        same: whether that check held.
    """

    name: str
    ours: float
    against: str
    alternative: float
    peak_share: float | None
    check: str
    same: bool

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.alternative / self.ours

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the ratio."""
        return asdict(self) | {"ratio": self.ratio}


@dataclass(frozen=True)
class Growth:
    """Time and memory against a size.

    Attributes:
        name: what was done.
        size: what ``sizes`` count: points, images, width, seeds, faces.
        sizes: the sizes tried.
        seconds: at each size.
        megabytes: peak memory at each size, above what the process held before; None where it was not measured.
    """

    name: str
    size: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    megabytes: tuple[float, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the fitted exponents."""
        memory = None if self.megabytes is None else exponent(self.sizes, self.megabytes)
        return asdict(self) | {
            "time_exponent": exponent(self.sizes, self.seconds),
            "memory_exponent": memory,
        }


def exponent(sizes: tuple[int, ...], values: tuple[float, ...]) -> float:
    """Fit ``value = c · size^exponent`` by least squares of the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-6)), 1)[0])


def synchronize(device: torch.device) -> None:
    """Wait for the device; a CPU has nothing to wait for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(action: Callable[[], object], device: torch.device) -> float:
    """Time one call, up to the end of its work on the device."""
    synchronize(device)
    start = time.perf_counter()
    action()
    synchronize(device)
    return time.perf_counter() - start


def taking_turns(
    ours: Callable[[], object], alternative: Callable[[], object], device: torch.device, repeats: int = 3
) -> tuple[float, float]:
    """Return the median seconds of both, which run in turns; warm them up before."""
    pairs = [(seconds(ours, device), seconds(alternative, device)) for _ in range(repeats)]
    first, second = zip(*pairs, strict=True)
    return statistics.median(first), statistics.median(second)


def peak_megabytes(action: Callable[[], object], device: torch.device) -> float | None:
    """Return how far memory rises in one call above what was held before; None where the system does not tell."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
        action()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - held) / 1e6
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    # Freed memory that the allocator keeps would hide what the action takes of it.
    ctypes.CDLL(None).malloc_trim(0)
    reset.write_text("5")
    held = _status_megabytes("VmRSS")
    action()
    return max(_status_megabytes("VmHWM") - held, 0.0)


def _status_megabytes(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (value,) = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(value) / 1000


def growth_of(
    name: str,
    size: str,
    sizes: Sequence[int],
    prepare: Callable[[int], Callable[[], object]],
    device: torch.device,
) -> Growth:
    """Time what ``prepare`` returns for each size, once to warm up, once for memory and twice for time."""
    times, memory = [], []
    for count in sizes:
        action = prepare(count)
        action()
        memory.append(peak_megabytes(action, device))
        times.append(min(seconds(action, device) for _ in range(2)))
    known = tuple(value for value in memory if value is not None)
    return Growth(name, size, tuple(sizes), tuple(times), known if len(known) == len(memory) else None)


class _Operations(TorchDispatchMode):
    """Counts as ``FlopCounterMode`` does, which cannot look on while gradients of the input are taken."""

    total = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        value = function(*arguments, **(options or {}))
        formula = flop_registry.get(function._overloadpacket)
        if formula is not None:
            self.total += formula(*arguments, **(options or {}), out_val=value)
        return value


def operations(action: Callable[[], object]) -> int:
    """Count the floating point operations of the matrix products and convolutions of one call."""
    with call_by_call(), _Operations() as counter:
        action()
    return counter.total


@cache
def peak_rate(device: torch.device) -> float:
    """Measure floating point operations a second of a float32 matrix product, the best of several."""
    size = 8192 if device.type == "cuda" else 1024
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    torch.mm(a, b)
    return 2 * size**3 / min(seconds(lambda: torch.mm(a, b), device) for _ in range(10))


def peak_share(action: Callable[[], object], time_taken: float, device: torch.device) -> float:
    """Return which share of the machine's peak an action reaches that takes so many seconds."""
    return operations(action) / time_taken / peak_rate(device)
