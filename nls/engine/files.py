"""Files that appear whole or not at all."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nls.errors import UserError

_PARTIAL = ".partial."


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block ends well, else delete it.

    The data is on the disk before the rename, so a crash leaves either the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{_PARTIAL}{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def require_place(path: Path, *inputs: Path) -> None:
    """Check, before any work, that its result can be written to ``path`` and overwrites none of the inputs.

    Its folder need not exist: :func:`written_whole` makes it, so that work that fails leaves none behind.

    Raises:
        UserError: it cannot, or would.
    """
    try:
        if any(path.exists() and each.exists() and path.samefile(each) for each in inputs):
            raise UserError(f"{path}: is read from: name another file for the result")
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: cannot be written: name a file")
        folder = next(each for each in path.parents if _is_there(each))
        with tempfile.TemporaryFile(dir=folder, prefix=f"{_PARTIAL}{path.name}."):
            pass
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}): choose another place") from error


def _is_there(folder: Path) -> bool:
    # Path.exists is False for a broken link too, and from Python 3.13 on for whatever cannot be looked at.
    try:
        folder.lstat()
    except FileNotFoundError:
        return False
    return True


def require_distinct(*paths: Path | None) -> None:
    """Check that no result of a command is written over another.

    Raises:
        UserError: two are the same file.
    """
    named = [path for path in paths if path is not None]
    for path in named:
        if sum(path.resolve() == other.resolve() for other in named) > 1:
            raise UserError(f"{path}: is named for two results: name another file for one of them")


def remove_partial(folder: Path) -> None:
    """Delete what processes that were killed while writing left in ``folder``; nobody may be writing there."""
    for path in folder.glob(f"{_PARTIAL}*"):
        path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write ``text`` whole."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def json_text(value: Any) -> str:
    """Return JSON with sorted keys and Python's shortest float form: equal values give equal bytes."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write :func:`json_text` whole."""
    write_text(path, json_text(value))


def holds(path: Path, text: str) -> bool:
    """Tell whether a file is there and holds ``text`` to the byte."""
    return path.exists() and path.read_bytes() == text.encode()


def write_if_changed(path: Path, text: str) -> bool:
    """Write ``text`` unless the file already holds it, so that an unchanged file keeps its time stamp.

    Return whether it was written.
    """
    changed = not holds(path, text)
    if changed:
        write_text(path, text)
    return changed
