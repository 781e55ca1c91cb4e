"""All that must be known of a GPU before a suite runs on it, in under nine minutes and without a network.

    python -m benchmarks --gpu OUT [--device cpu]

writes ``OUT/benchmarks.json``, ``OUT/benchmarks.md`` and three traces (``.json.gz``, for Perfetto), after every part
anew. Parts that no time is left for are named as skipped; a part that fails is named with its reason, stops no other,
and makes the exit code 1. With ``--device cpu`` the same parts run on small sizes (config/smoke.yaml instead of
config/paper.yaml), to show that they run.

The machine needs nls' own dependencies except those for pictures and bodies, and torchattacks.
"""

import json
import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks import agreement, attacks, few_images, page, suite, surfaces, universality
from benchmarks.rows import peak_rate
from nls.engine.devices import float32_products
from nls.engine.graphs import how_repeated
from nls.engine.seeds import make_deterministic

SECONDS = 8.5 * 60
PACKAGES = ("torch", "numpy", "scipy", "torchattacks", "pykdtree", "triton")


class OutOfTimeError(Exception):
    """A part used up its time."""


@dataclass
class Report:
    """What was found, written to a folder after every part.

    Attributes:
        folder: where to.
        device: what is measured.
        deadline: on the clock of ``time.monotonic``.
        part_deadline: of the part that runs.
        parts: seconds and numbers of each part, by its name.
        texts: its Markdown.
        failed: why a part failed, by its name.
        skipped: what no time was left for.
    """

    folder: Path
    device: torch.device
    deadline: float
    part_deadline: float = 0.0
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    @property
    def quick(self) -> bool:
        """Whether sizes are those that a CPU does in moments."""
        return self.device.type == "cpu"

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    def has_time(self, item: str) -> bool:
        """Tell whether the part that runs has time left for an item, which is named as skipped if not."""
        if time.monotonic() < self.part_deadline:
            return True
        self.skipped.append(item)
        return False

    def write(self) -> None:
        """Write both files."""
        found = {"parts": self.parts, "failed": self.failed, "skipped": self.skipped}
        text = ["# What was measured on this device", ""]
        text += [f"**Failed: {name}.** {reason}\n" for name, reason in self.failed.items()]
        text += [f"Skipped, no time was left: {name}.\n" for name in self.skipped]
        text += [f"## {name}\n\n{body}\n" for name, body in self.texts.items()]
        (self.folder / "benchmarks.json").write_text(json.dumps(found, indent=2), encoding="utf-8")
        (self.folder / "benchmarks.md").write_text("\n".join(text), encoding="utf-8")


Part = Callable[[Report], tuple[dict[str, Any], str]]


def measure(folder: Path, device: torch.device, seconds: float = SECONDS) -> int:
    """Run all parts within the time; return the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    make_deterministic(torch.get_num_threads())
    report = Report(folder, device, time.monotonic() + seconds)
    for name, (part, least, share) in PARTS.items():
        if report.left < least * (0.1 if report.quick else 1):
            report.skipped.append(name)
        else:
            _carry_out(report, name, part, share)
        report.write()
        print(f"{name}: {_outcome(report, name)}, {report.left:.0f} s left", file=sys.stderr, flush=True)
    return 1 if report.failed else 0


def _carry_out(report: Report, name: str, part: Part, share: float) -> None:
    began = time.monotonic()
    report.part_deadline = began + share * report.left
    try:
        # Parts look at their deadline between items. What hangs within one is interrupted.
        with _at_most((1 + share) / 2 * report.left):
            numbers, text = part(report)
    except OutOfTimeError:
        report.skipped.append(f"{name} (it took more than {time.monotonic() - began:.0f} s)")
    except Exception as error:  # whatever it is, the other parts are to be measured
        traceback.print_exc()
        report.failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    else:
        report.parts[name] = numbers | {"seconds": round(time.monotonic() - began, 1)}
        report.texts[name] = text


def _outcome(report: Report, name: str) -> str:
    if name in report.failed:
        return f"failed ({report.failed[name]})"
    return f"{report.parts[name]['seconds']} s" if name in report.parts else "skipped"


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Interrupt the block with :class:`OutOfTimeError` once the seconds are over."""

    def interrupt(number: int, frame: object) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _device(report: Report) -> tuple[dict[str, Any], str]:
    device = report.device
    numbers = page.machine(device) | {
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
        "float32_products": float32_products(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "peak_gflops": peak_rate(device) / 1e9,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        numbers |= {
            "memory_gigabytes": properties.total_memory / 1e9,
            "multiprocessors": properties.multi_processor_count,
            "capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return numbers, page.table(("what", "value"), [(name, _shown(value)) for name, value in numbers.items()])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {content}" for name, content in value.items())
    return str(value)


def _agreement(report: Report) -> tuple[dict[str, Any], str]:
    found = list(agreement.agreements(report.device))
    wrong = [each.name for each in found if not each.holds]
    cells = [
        (each.name, f"{each.difference:.1e}", f"{each.tolerance:.0e}", "" if each.holds else "NO")
        for each in found
    ]
    text = page.table(("float32 here against float64 on the CPU", "difference", "accepted", ""), cells)
    if wrong:
        report.failed["agreement, values"] = f"beyond what is accepted: {', '.join(wrong)}"
    return {"agreements": [each.to_dict() for each in found]}, text


def _rows(report: Report) -> tuple[dict[str, Any], str]:
    """The benchmarks whose time is spent on the device."""
    rows = []
    for file in (few_images, attacks, surfaces, universality):
        if report.has_time(f"ratios of {file.__name__}"):
            rows += list(file.rows(report.quick, report.device))
    wrong = [row.name for row in rows if not row.same]
    if wrong:
        report.failed["ratios, values"] = f"the two computed something else: {', '.join(wrong)}"
    numbers = {"rows": [row.to_dict() for row in rows], "repeated_steps": how_repeated(report.device)}
    text = page.table(page.HEADER, [page.cells(row) for row in rows])
    return numbers, f"{text}\n\nSteps that repeat run {numbers['repeated_steps']}."


def _config(report: Report) -> Path:
    return suite.SMOKE if report.quick else suite.PAPER


def _suite(report: Report) -> tuple[dict[str, Any], str]:
    """Every training loop of the suite, and its attacks."""
    paces, failed = [], {}
    for loop in suite.loops(_config(report)):
        if not report.has_time(f"steps of {loop.name}"):
            continue
        try:
            paces.append(suite.measure(loop, report.device, 0.1 if report.quick else 2.0))
        except OutOfTimeError:
            raise
        except Exception as error:  # as for parts
            traceback.print_exc()
            failed[loop.name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    report.failed |= {f"steps of {name}": reason for name, reason in failed.items()}
    bounds = list(suite.attacks(_config(report), report.device))
    training, attacking = sum(pace.hours for pace in paces), sum(bound.hours for bound in bounds)
    cells = [
        (
            pace.experiment, pace.name, f"{1 / pace.per_step:.3g}", f"{pace.steps:,}", str(pace.loops),
            f"{pace.hours:.2f}", "" if pace.megabytes is None else f"{pace.megabytes:,.0f}",
        )
        for pace in paces
    ]  # fmt: skip
    header = ("experiment", "row", "steps a second", "steps", "loops", "hours", "peak MB")
    text = (
        f"{page.table(header, cells)}\n\nTraining, one run after the other: **{training:.1f} hours**. Attacks on the"
        f" rows of Table 1: at most {attacking:.1f} hours, if every image stood to the end. Not measured: Figure 1,"
        " the black-box tables, meshing, Theorem 1; on a CPU they take minutes.\n\n"
        + page.table(
            ("network", "images a second in a step of PGD", "hours of all attacks, at most"),
            [(each.network, f"{each.images_a_second:,.0f}", f"{each.hours:.2f}") for each in bounds],
        )
    )
    numbers = {
        "config": _config(report).name,
        "loops": [pace.to_dict() for pace in paces],
        "training_hours": training,
        "attacks": [asdict(bound) for bound in bounds],
        "attack_hours_at_most": attacking,
    }
    return numbers, text


def _seeds(report: Report) -> tuple[dict[str, Any], str]:
    """Seeds of Figure 2 trained together against one by one."""
    count, steps = (3, 4) if report.quick else (100, 100)
    found = []
    for name in ("cross_entropy", "geometric_svm"):
        if report.has_time(f"seeds of {name}"):
            found.append(suite.seeds_together(_config(report), name, count, steps, report.device))
    wrong = [each["loss"] for each in found if not each["same"]]
    if wrong:
        report.failed["seeds, values"] = f"together the seeds learned something else: {', '.join(wrong)}"
    cells = [
        (
            each["loss"],
            str(count),
            f"{each['together']:.2f}",
            f"{each['one_by_one']:.2f}",
            f"{each['ratio']:.1f}",
        )
        for each in found
    ]
    return {"seeds": found}, page.table(("loss", "seeds", "s together", "s one by one", "ratio"), cells)


def _traces(report: Report) -> tuple[dict[str, Any], str]:
    """Two steps of each of the three loops whose steps take longest."""
    paces = report.parts["suite"]["loops"]
    slowest = sorted(paces, key=lambda pace: pace["per_step"], reverse=True)[:3]
    by_name = {(loop.experiment, loop.name): loop for loop in suite.loops(_config(report))}
    files, texts = {}, []
    for number, pace in enumerate(slowest, 1):
        file = report.folder / f"trace-{number}.json.gz"
        operations = suite.trace(by_name[pace["experiment"], pace["name"]], report.device, file)
        files[pace["name"]] = file.name
        texts.append(f"{pace['name']} ({file.name}):\n\n```\n{operations.strip()}\n```")
    return {"files": files}, "\n\n".join(texts)


# Each with the seconds on a GPU under which it is not begun, and the share of the time left that it may take.
PARTS: dict[str, tuple[Part, float, float]] = {
    "device": (_device, 0, 0.5),
    "agreement": (_agreement, 20, 0.3),
    "ratios": (_rows, 30, 0.4),
    "suite": (_suite, 60, 0.7),
    "seeds": (_seeds, 30, 0.5),
    "traces": (_traces, 20, 0.9),
}
