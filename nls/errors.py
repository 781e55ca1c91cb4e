"""What stops a verb: bad input, a run that cannot go on, a signal."""

import difflib
import signal
from collections.abc import Iterable


class NlsError(Exception):
    """What is told in one line that names the thing and the next step; all else that is raised is a defect.

    Args:
        message: the line.
        below: what a person wants to see below it, such as where in their own file an exception arose.
    """

    def __init__(self, message: str, below: str = "") -> None:
        super().__init__(message)
        self.below = below


class UserError(NlsError):
    """Bad input; the command line prints the line and exits with code 2."""


class RunError(NlsError):
    """A run that cannot go on; the command line prints the line and exits with code 1."""


class Interrupted(BaseException):
    """A signal asked to stop."""

    def __init__(self, signal_number: int, *, resumable: bool = True) -> None:
        name = signal.Signals(signal_number).name
        kept = "; the checkpoint is written; the same command goes on from there" if resumable else ""
        super().__init__(f"stopped by {name}{kept}")
        self.signal_number = signal_number


# What a RuntimeError of torch or of a library in C++ says where memory is full.
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc")


def memory_lacked(error: BaseException) -> str | None:
    """Return what to tell of an exception that says a lack of memory; None for any other.

    Torch's own is known by its name, so that torch need not be imported for it.
    """
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    said = isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    if not named and not said:
        return None
    remedy = "take a smaller --batch-size, --points, --resolution or batch_size, or --device cpu"
    return f"out of memory ({first_line(error)}): {remedy}"


def first_line(error: BaseException) -> str:
    """Return the first line of what an exception says; the name of its class if it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question that names the nearest of the known words, and a space; nothing where none is near."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}? " if close else ""


def shortened(text: str, longest: int = 40) -> str:
    """Return the text, cut at so many letters, for a message that repeats what somebody wrote."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def one_line(text: str) -> str:
    """Return the text with line breaks and whatever else a terminal cannot show written as escapes."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )
