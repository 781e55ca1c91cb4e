"""What was measured as text for a terminal and as a Markdown page."""

import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from benchmarks.rows import Growth, Row, peak_rate
from nls.engine.devices import device_name

HEADER = ("what", "nls", "instead", "its time", "ratio", "share of peak", "both computed")


def machine(device: torch.device) -> dict[str, Any]:
    """Return where the figures come from."""
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "peak_gflops": peak_rate(device) / 1e9,
        # What else ran: with a load above the number of processors, times are those of a crowded machine.
        "load": os.getloadavg()[0],
        "processors": os.cpu_count(),
    }


def duration(seconds: float) -> str:
    """Return seconds with three digits and a fitting unit."""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{1e3 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.3g} µs"


def cells(row: Row) -> tuple[str, ...]:
    """Return a row's texts in the order of :data:`HEADER`."""
    share = "" if row.peak_share is None else f"{row.peak_share:.0%}"
    check = row.check if row.same else f"NOT THE SAME: {row.check}"
    return (
        row.name, duration(row.ours), row.against, duration(row.alternative), f"{row.ratio:.2g}", share, check,
    )  # fmt: skip


def growth_cells(growth: Growth) -> tuple[str, ...]:
    """Return what was done, at which sizes, times, memory, and the exponents of both."""
    found = growth.to_dict()
    memory, exponent = "", ""
    if growth.megabytes is not None:
        memory = ", ".join(f"{value:.3g}" for value in growth.megabytes) + " MB"
        exponent = f"{found['memory_exponent']:.2f}"
    return (
        growth.name, growth.size, ", ".join(f"{size:,}" for size in growth.sizes),
        ", ".join(map(duration, growth.seconds)), f"{found['time_exponent']:.2f}", memory, exponent,
    )  # fmt: skip


GROWTH_HEADER = ("what", "against", "sizes", "time", "exponent", "memory", "exponent")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page(where: Mapping[str, Any], rows: Sequence[Row], growth: Sequence[Growth], quick: bool) -> str:
    """Return docs/benchmarks.md."""
    return f"""# Benchmarks

Written by `python -m benchmarks{" --quick" * quick} --page docs/benchmarks.md`; run it to get the figures of your
machine.

Each row is one run in which nls and what a user would run instead take turns, on the same inputs and machine.
*Ratio* is the other's time over that of nls. *Share of peak* is that of nls: the operations of its matrix products
and convolutions, over its time, over the rate of one large float32 product. The last column is the check that both
computed the same. Inputs need no download: scikit-learn's digits enlarged to 28 × 28, and points of a bumpy ball.

Measured on {where["device"]}, {where["threads"]} of {where["processors"]} processors, load {where["load"]:.1f};
{where["peak_gflops"]:.0f} GFLOP/s in a float32 product; Python {where["python"]}, torch {where["torch"]}.

{table(HEADER, [cells(row) for row in rows])}

## Growth

Time and memory against a size, with the exponent of the fitted power. Memory is the peak above what the process held
before; it is small where memory that was freed is used again.

{table(GROWTH_HEADER, [growth_cells(each) for each in growth])}
"""
