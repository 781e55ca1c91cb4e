"""Checkpoints: by time and on a signal, whole, with the one before kept."""

import io
import pickle
import re
import signal
import time
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from nls.engine.files import written_whole
from nls.engine.state import Stateful
from nls.engine.user_code import described
from nls.errors import Interrupted, UserError, first_line

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)
Note = Callable[[str], None]
_SAVABLE = "tensors, numbers, strings, lists and dictionaries"
_GENERATIONS = ("checkpoint.pt", "checkpoint.previous.pt")
_UNREADABLE = (
    zipfile.BadZipFile,
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
)


class Checkpoint:
    """State of a run that outlives the process.

    A run calls :meth:`save_if_due` once a step; the state is written when ``seconds`` have passed since the last
    time, or at once after a signal of :data:`SIGNALS`, which then ends the run. Two generations are kept: if
    the newest cannot be read, the one before is taken, and said. The state is made of tensors, numbers, strings,
    lists and dictionaries, and is read without executing code. Torch's own random states travel along: the CPU's,
    and that of the GPU where the run uses one.

    Args:
        folder: the run directory.
        identity: digits and letters that name what the state belongs to; a checkpoint of another is set aside.
        seconds: time between two checkpoints.
        note: receives what a person should know.
        device: where the run computes.
    """

    def __init__(self, folder: Path, identity: str, seconds: float, note: Note, device: torch.device) -> None:
        self.newest, self.previous = (folder / name for name in _GENERATIONS)
        self.identity = identity
        self.seconds = seconds
        self.note = note
        self.device = device
        self._written = time.monotonic()
        self._signal: int | None = None
        self._is_readable = False

    def load(self, parts: Collection[str] = ()) -> dict[str, Any] | None:
        """Return the newest readable state of this run and restore torch's random states; None to start anew.

        A state that lacks one of the ``parts`` is of another version and is not read. A checkpoint of another
        identity is set aside under its own name, where its own run finds it again.
        """
        set_aside = set()
        for path in (self.newest, self.previous, _aside(self.newest.parent, self.identity)):
            content = self._read(path, parts)
            if content is None:
                continue
            if content["identity"] != self.identity:
                if content["identity"] in set_aside:
                    path.unlink()
                    continue
                set_aside.add(content["identity"])
                path.replace(_aside(path.parent, content["identity"]))
                self.note(f"checkpoint {path.name} belongs to other settings; it is set aside")
                continue
            random = content["random"]
            torch.set_rng_state(random["cpu"])
            if isinstance(random["cuda"], Tensor) and self.device.type == "cuda":
                torch.cuda.set_rng_state(random["cuda"], self.device)
            return content["state"]
        return None

    def _read(self, path: Path, parts: Collection[str]) -> dict[str, Any] | None:
        """Return what is in a file, or None, and say why, if it is no checkpoint that can be read."""
        if not path.exists():
            return None
        try:
            require_checksums(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
            if not _is_checkpoint(content, parts):
                raise ValueError("it is no checkpoint of nls")
        except _UNREADABLE as error:
            next_step = "taking the one before" if path == self.newest else "starting anew"
            self.note(f"checkpoint {path.name} cannot be read ({first_line(error)}); {next_step}")
            return None
        return content

    def save_if_due(self, state: Callable[[], dict[str, Any]]) -> None:
        """Write ``state()`` if it is time to; after a signal, write it and raise :class:`Interrupted`.

        Raises:
            UserError: the state holds what could not be read again.
        """
        if self._signal is None and time.monotonic() - self._written < self.seconds:
            return
        self._write(state())
        if self._signal is not None:
            raise Interrupted(self._signal)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take signals as requests to write a checkpoint and stop; a second Ctrl-C stops without one.

        A signal that is ignored, such as SIGHUP below ``nohup``, stays so.
        """

        def remember(number: int, _: FrameType | None) -> None:
            if number == signal.SIGINT and self._signal is not None:
                raise Interrupted(number, resumable=False)
            self._signal = number

        heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, remember) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _write(self, state: dict[str, Any]) -> None:
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        content = {
            "identity": self.identity,
            "random": {"cpu": torch.get_rng_state(), "cuda": cuda},
            "state": state,
        }
        # Through memory, because torch's own file writer does not say that a disk is full.
        buffer = io.BytesIO()
        torch.save(content, buffer)
        if not self._is_readable:
            _require_readable(buffer.getvalue())
            self._is_readable = True
        with written_whole(self.newest) as temporary:
            temporary.write_bytes(buffer.getbuffer())
            if self.newest.exists():
                self.newest.replace(self.previous)
        self._written = time.monotonic()


def _is_checkpoint(content: object, parts: Collection[str]) -> bool:
    """Tell whether this is what a :class:`Checkpoint` writes, of a state that has these parts."""
    match content:
        case {"identity": str(identity), "random": {"cpu": Tensor(), "cuda": cuda}, "state": dict(state)}:
            is_known = isinstance(cuda, Tensor) or not cuda
            return is_known and bool(re.fullmatch("[0-9a-z]+", identity)) and state.keys() >= set(parts)
    return False


def _require_readable(content: bytes) -> None:
    """Find out at the first checkpoint, not after an interruption, what cannot be read without executing code."""
    try:
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"the state of this run cannot be saved: a state_dict of your class holds more than {_SAVABLE}"
        ) from error


def require_savable(part: Stateful) -> None:
    """Find out before the first step whether a checkpoint can hold the state that a user's class has by then.

    Raises:
        UserError: it cannot; the message names the class and its file.
    """
    state, content = part.state_dict(), io.BytesIO()
    try:
        torch.save(state, content)
        content.seek(0)
        torch.load(content, map_location="cpu", weights_only=True)
    except (pickle.PickleError, AttributeError, TypeError) as error:
        raise UserError(
            f"{described(part)}: its state_dict holds more than {_SAVABLE}, which no checkpoint keeps; mend the file"
        ) from error


def _aside(folder: Path, identity: str) -> Path:
    """Return where a checkpoint is set aside that is not of the run at work."""
    return folder / f"checkpoint.{identity[:16]}.pt"


def remove_checkpoints(folder: Path, identity: str) -> None:
    """Delete both generations of a run, at success, and what others had set aside of it; theirs stays."""
    for path in (*(folder / name for name in _GENERATIONS), _aside(folder, identity)):
        path.unlink(missing_ok=True)


def require_checksums(path: Path) -> None:
    """Compare every part with its checksum, which torch writes but does not read."""
    with zipfile.ZipFile(path) as parts:
        if (damaged := parts.testzip()) is not None:
            raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
