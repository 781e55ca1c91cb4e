"""Progress: a bar on a terminal, plain lines in a log file, and a heartbeat that ``nls status`` reads."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from nls.engine.files import write_json

LINE_SECONDS = 30.0
HEARTBEAT_SECONDS = 5.0


class Progress:
    """Tells how far a run is.

    Args:
        heartbeat: file that holds the phase, its first step here, the step, the seconds since the phase began and
            since the process did; None for none.

    Attributes:
        seeds_together: how many seeds a loop of steps trains.
    """

    def __init__(self, heartbeat: Path | None = None) -> None:
        self.heartbeat = heartbeat
        self.seeds_together = 1
        self._began = time.monotonic()
        self._text = ""
        self.name("preparation")

    def name(self, phase: str) -> None:
        """Name the work of a phase that has no steps."""
        self._phase_began = time.monotonic()
        self._phase: dict[str, str | int] = {"phase": phase, "start": 0, "step": 0, "total": 0}

    def steps(self, total: int, label: str, start: int = 0) -> Iterator[int]:
        """Yield ``start … total − 1``; ``label`` names the phase."""
        began = spoken = self._phase_began = time.monotonic()
        bar = tqdm(
            total=total, initial=start, desc=label, disable=not sys.stderr.isatty(), dynamic_ncols=True
        )
        with bar:
            for step in range(start, total):
                self._phase = {"phase": label, "start": start, "step": step, "total": total}
                yield step
                bar.update()
                now = time.monotonic()
                last = step + 1 == total
                if bar.disable and (now - spoken > LINE_SECONDS or last):
                    spoken = now
                    rate = (step + 1 - start) / max(now - began, 1e-9)
                    left = "" if last else f", {(total - step - 1) / rate:.0f} s left"
                    print(f"{label}: {step + 1}/{total}, {rate:.2f}/s{left}{self._text}", flush=True)
                else:
                    bar.set_postfix_str(self._text.removeprefix("; "), refresh=False)
        self._text = ""

    def show(self, **values: float) -> None:
        """Show numbers beside the progress, such as the loss."""
        self._text = "; " + ", ".join(f"{name} {value:.4g}" for name, value in values.items())

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Write the heartbeat every five seconds, also through phases that have no steps."""
        over = threading.Event()

        def beat() -> None:
            while not over.is_set():
                self._write_beat()
                over.wait(HEARTBEAT_SECONDS)

        heart = threading.Thread(target=beat, daemon=True)
        heart.start()
        try:
            yield
        finally:
            over.set()
            heart.join()

    def _write_beat(self) -> None:
        if self.heartbeat is None:
            return
        phase, began = self._phase, self._phase_began
        now = time.monotonic()
        times = {"phase_seconds": round(now - began, 1), "seconds": round(now - self._began, 1)}
        try:
            write_json(self.heartbeat, phase | times)
        except OSError as error:  # the run's own writing decides whether it can go on
            print(f"note: no heartbeat ({error.strerror})", flush=True)
