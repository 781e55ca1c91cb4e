"""Where a method computes, tells and keeps its state: a run of a suite, or a plain call."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
import trimesh

from nls.engine.progress import Progress


class Session(Protocol):
    """What a method is handed; :class:`nls.engine.runs.Run` is one."""

    device: torch.device
    progress: Progress

    @property
    def history(self) -> list[dict[str, float | int | str]]:
        """Rows of ``history.csv``, in the order of the run."""

    def note(self, message: str) -> None:
        """Tell what a reader of the result must know."""

    def resume(self) -> dict[str, Any] | None:
        """Return the state of an interrupted run."""

    def save_if_due(self, state: Callable[[], dict[str, Any]]) -> None:
        """Keep the state if it is time to."""


class SurfaceSession(Session, Protocol):
    """A session that may want to see the surface while the network is trained."""

    def look(self, done: int, total: int, mesh: Callable[[], trimesh.Trimesh]) -> None:
        """Call ``mesh`` for the surface after ``done`` of ``total`` steps, in the unit ball, if it is wanted."""


class UnsavedSession:
    """A session without a run directory: nothing to resume, nothing kept."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.progress = Progress()
        self.history: list[dict[str, float | int | str]] = []

    def note(self, message: str) -> None:
        """Print the message."""
        print(f"note: {message}", flush=True)

    def resume(self) -> None:
        """Start anew."""

    def save_if_due(self, state: Callable[[], dict[str, Any]]) -> None:
        """Keep nothing."""

    def look(self, done: int, total: int, mesh: Callable[[], trimesh.Trimesh]) -> None:
        """Want no surface before the end."""
