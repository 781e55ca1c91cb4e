"""A run whose surface is measured while it is trained: error against steps, and against time."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import trimesh

from nls.engine.runs import Run
from nls.geometry.meshing import NoSurfaceError


class WatchedRun:
    """A run, as the session of a reconstruction, that measures the surface after given shares of the training.

    The clock of the training stands still while a surface is extracted and measured. On the CPU it counts the
    process's own seconds, so with one thread it tells core seconds even where other work shares the machine; on a
    GPU it counts seconds of the wall.

    Args:
        run: the run.
        shares: parts of the training, in (0, 1), after which a surface is measured; what the whole training
            reaches is added by :meth:`curve`.
        error: the error of a surface in the unit ball; needed where there are shares.
    """

    def __init__(
        self,
        run: Run,
        shares: Sequence[float] = (),
        error: Callable[[trimesh.Trimesh], float] | None = None,
    ) -> None:
        self.device, self.progress, self.note = run.device, run.progress, run.note
        self._run, self._shares, self._error = run, shares, error
        self._looks: list[tuple[int, float, float | None]] = []
        self._began = self._now()

    @property
    def history(self) -> list[dict[str, float | int | str]]:
        """The rows of the run's ``history.csv``."""
        return self._run.history

    def resume(self) -> dict[str, Any] | None:
        """Return the state of an interrupted run; clock and curve go on from there."""
        saved = self._run.resume()
        if saved is None:
            return None
        self._looks = saved["looks"]
        self._began = self._now() - saved["spent"]
        return saved["method"]

    def save_if_due(self, state: Callable[[], dict[str, Any]]) -> None:
        """Keep the state, with clock and curve, if it is time to."""
        self._run.save_if_due(lambda: {"method": state(), "looks": self._looks, "spent": self._spent()})

    def look(self, done: int, total: int, mesh: Callable[[], trimesh.Trimesh]) -> None:
        """Measure the surface if it is wanted after ``done`` of ``total`` steps; at the end, read the clock only."""
        if done == total:
            self._looks.append((done, self._spent(), None))
        elif done in {round(share * total) for share in self._shares}:
            spent = self._spent()
            self.progress.name("measuring on the way")
            self._looks.append((done, spent, self._error_or_none(mesh)))
            self._began = self._now() - spent

    def stop(self) -> None:
        """Read the clock where a method without steps has ended."""
        if not self._looks:
            self._looks.append((0, self._spent(), None))

    def curve(self, last: float) -> dict[str, list[Any]]:
        """Return ``curve_steps`` and ``curve_errors``, ``last`` being the error of the final surface.

        An error is None where the level set did not cross zero yet. The seconds of these steps go to the provenance:
        they are not the same from run to run.
        """
        steps, seconds, errors = zip(*self._looks, strict=True)
        self._run.timings["curve_seconds"] = [round(value, 2) for value in seconds]
        return {"curve_steps": list(steps), "curve_errors": [*errors[:-1], last]}

    def _error_or_none(self, mesh: Callable[[], trimesh.Trimesh]) -> float | None:
        assert self._error is not None, "shares need an error"
        try:
            return self._error(mesh())
        except NoSurfaceError:
            return None

    def _spent(self) -> float:
        return self._now() - self._began

    def _now(self) -> float:
        if self.device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize(self.device)
        return time.perf_counter()
