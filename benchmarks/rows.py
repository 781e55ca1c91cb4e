"""What every benchmark yields, and how it measures: ``rows(quick, device, data_root)`` of each file yields ``Row``s.

A row is a ratio within one run: ours and what a user would run instead take turns on the same machine, and both
answers are compared. The share of the machine's peak is that of ours: operations of its matrix products and
convolutions, over its time, over the rate at which one large float32 product runs here.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode


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
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-9)), 1)[0])


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
    """Return the median seconds of both, which run in turns after one call each to warm up."""
    ours()
    alternative()
    pairs = [(seconds(ours, device), seconds(alternative, device)) for _ in range(repeats)]
    first, second = zip(*pairs, strict=True)
    return statistics.median(first), statistics.median(second)


def operations(action: Callable[[], object]) -> int:
    """Count the floating point operations of the matrix products and convolutions of one call."""
    with FlopCounterMode(display=False) as counter:
        action()
    return counter.get_total_flops()


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
