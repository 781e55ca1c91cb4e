"""Real processes to be killed: forked from a server that has imported the package, and watched by phase."""

import ctypes
import faulthandler
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import FrameType

import psutil

import nls

# Not any folder of that name: a checkout, with an environment in it, may be called nls too.
PACKAGE = f"{Path(nls.__file__).parent}{os.sep}"
PHASES = ("starting", "training", "evaluation", "meshing", "writing", "download")
SECONDS_OF_A_WRITE = 0.01
SECONDS_OF_AN_EVALUATION = 0.02
WRITERS = {
    "_write",
    "save_weights",
    "write_mesh",
    "_install",
}

_context = multiprocessing.get_context("forkserver")
# torch imports torch._inductor for its first optimizer or deterministic kernel; a process that is forked has it.
_context.set_forkserver_preload(
    ["nls.cli", "nls.experiments", "nls.reporting.figure2", "nls.reporting.status", "torch._inductor"]
)


class Watched:
    """One verb of the command line, or a function, in a process of its own with its own log."""

    def __init__(self, work: list[str] | Callable[[], object], folder: Path, log: Path) -> None:
        self._phase = _context.RawValue(ctypes.c_int, 0)
        self.process: ForkServerProcess = _context.Process(
            target=_carry_out, args=(work, folder, log, self._phase)
        )
        self.process.start()

    @property
    def phase(self) -> str:
        return PHASES[self._phase.value]

    def wait_for(self, phase: str) -> bool:
        """Wait until the process is in a phase; return False if it ended before."""
        return self._wait(lambda: self.phase == phase)

    def let_pass(self, phase: str) -> bool:
        """Wait until the process has been in a phase and left it; return False if it ended before."""
        return self.wait_for(phase) and self._wait(lambda: self.phase != phase)

    def _wait(self, reached: Callable[[], bool], seconds: float = 120.0) -> bool:
        limit = time.monotonic() + seconds
        while not reached():
            if not self.process.is_alive():
                return False
            assert time.monotonic() < limit, f"still in phase {self.phase}"
            time.sleep(0.0005)
        return True

    def end(self, seconds: float = 300.0) -> int:
        """Wait for the end and return the exit code, negative for the signal that killed it."""
        return _end_of(self.process, seconds)


def with_jumping_clock(words: list[str]) -> int:
    """Carry out a verb while the wall clock jumps forth and back by more than a year, every tenth of a second."""
    true_time = time.time

    def jumping() -> float:
        return true_time() + (-1) ** int(time.monotonic() * 10) * 4e7

    time.time = jumping
    from nls.cli import main

    return main(words)


def run_to_end(work: list[str] | Callable[[], object], folder: Path, log: Path) -> int:
    """Carry out a verb, or a function, that nobody watches, and return its exit code."""
    process = _context.Process(target=_carry_out, args=(work, folder, log))
    process.start()
    return _end_of(process, 300)


def at_work_in(directory: Path) -> psutil.Process:
    """Return the process of ``nls run`` that is at work in a run directory."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if "run" in words and "--out" in words[:-1]:
            out = Path(process.info["cwd"], words[words.index("--out") + 1])
            if out == directory:
                return process
    raise AssertionError(f"nobody is at work in {directory}")


def _end_of(process: ForkServerProcess, seconds: float) -> int:
    process.join(seconds)
    assert process.exitcode is not None, "still at work"
    return process.exitcode


def _carry_out(
    work: list[str] | Callable[[], object], folder: Path, log: Path, phase: ctypes.c_int | None = None
) -> None:
    os.chdir(folder)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    faulthandler.enable()
    if phase is not None:
        _slow_disk()
        _tell_every_millisecond(phase)
    from nls.cli import main

    code = work() if callable(work) else main(work)
    sys.stdout.flush()
    sys.exit(code if isinstance(code, int) else 0)


def _slow_disk() -> None:
    """Let each file stay half-written for a while: on a fast disk no kill would fall into that time."""
    fsync = os.fsync

    def slow(file: int) -> None:
        time.sleep(SECONDS_OF_A_WRITE)
        fsync(file)

    os.fsync = slow


def _tell_every_millisecond(phase: ctypes.c_int) -> None:
    """Let a timer's signal tell the phase: Python may walk the frames of its own thread only.

    An evaluation is held for a while where it is first seen: few kills would fall into one of two milliseconds.
    """
    evaluation = PHASES.index("evaluation")

    def tell(number: int, frame: FrameType | None) -> None:
        before, phase.value = phase.value, PHASES.index(_phase_of(frame))
        if phase.value == evaluation != before:
            time.sleep(SECONDS_OF_AN_EVALUATION)

    signal.signal(signal.SIGALRM, tell)
    signal.siginterrupt(signal.SIGALRM, False)  # what the system is asked for goes on after the signal
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)


def _phase_of(frame: FrameType | None) -> str:
    """Tell the phase from the functions at work, the innermost first."""
    found = "starting"
    while frame is not None:
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        if file.startswith(PACKAGE):
            if name in WRITERS or file.endswith("/files.py"):
                return "writing"
            if file.endswith("/download.py"):
                return "download"
            if file.endswith(("/meshing.py", "/octree.py", "/geometry/curves.py")):
                return "meshing"
            if name in ("fit", "train", "learn") or (file.endswith("/figure1.py") and name == "run"):
                return "evaluation" if found == "evaluation" else "training"
            if name in ("attack", "_accuracies", "curve_metrics", "smallest_margin", "steps_curve"):
                found = "evaluation"
        frame = frame.f_back
    return found
