"""Where a verb's words go, and how a signal or a reader that has gone away ends them."""

import argparse
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from types import FrameType
from typing import Any, cast

from nls.errors import Interrupted


@contextmanager
def output_of(arguments: argparse.Namespace) -> Iterator[None]:
    """Let what a verb tells on its way be silent (--quiet) or leave the output to its result (--json)."""
    if getattr(arguments, "quiet", False):
        cast(_Patient, sys.stderr).has_terminal = False  # bars are for terminals
        with redirect_stdout(io.StringIO()):
            yield
    elif getattr(arguments, "json", False):
        with redirect_stdout(sys.stderr):
            yield
    else:
        yield


class _Patient:
    """A stream whose reader may go away (``| head``) without stopping the work that is told about."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.has_terminal = bool(stream.isatty())
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that knows only ASCII shows \\u221e for ∞.
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        try:
            return cast(int, self._stream.write(text))
        except BrokenPipeError:
            self._let_go()
            return len(text)

    def isatty(self) -> bool:
        return self.has_terminal

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._let_go()

    def _let_go(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def patient_output() -> Iterator[None]:
    """Let the output's reader go away, or the shell have closed it, without stopping the verb."""
    # A stream is None where the shell has closed it.
    streams = [io.StringIO() if stream is None else _Patient(stream) for stream in (sys.stdout, sys.stderr)]
    with redirect_stdout(cast(Any, streams[0])), redirect_stderr(cast(Any, streams[1])):
        yield


@contextmanager
def stoppable() -> Iterator[None]:
    """Let signals unwind the verb, so that half-written files are removed; those that are ignored stay so."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Interrupted(number, resumable=False)

    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    heard = {each: handler for each, handler in before.items() if handler is not signal.SIG_IGN}
    for each in heard:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each, handler in heard.items():
            signal.signal(each, handler)
