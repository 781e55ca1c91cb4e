"""Progress: a bar on a terminal, plain lines in a log file, and a heartbeat that ``nls status`` reads."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from nls.engine.files import write_json

LINE_SECONDS = 30.0
HEARTBEAT_SECONDS = 5.0


class Progress:
    """Tells how far a run is.

    Args:
        heartbeat: file that holds the phase, the step, and the seconds since the run began; None for none.
    """

    def __init__(self, heartbeat: Path | None = None) -> None:
        self.heartbeat = heartbeat
        self._began = time.monotonic()
        self._beaten = -float("inf")
        self._text = ""

    def steps(self, total: int, label: str, start: int = 0) -> Iterator[int]:
        """Yield ``start … total − 1``; ``label`` names the phase."""
        began = spoken = time.monotonic()
        bar = tqdm(
            total=total, initial=start, desc=label, disable=not sys.stderr.isatty(), dynamic_ncols=True
        )
        with bar:
            for step in range(start, total):
                self._beat(label, step, total)
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

    def _beat(self, label: str, step: int, total: int) -> None:
        now = time.monotonic()
        if self.heartbeat is not None and now - self._beaten > HEARTBEAT_SECONDS:
            self._beaten = now
            beat = {"phase": label, "step": step, "total": total, "seconds": round(now - self._began, 1)}
            write_json(self.heartbeat, beat)
