"""Dataset folders that are whole or absent: ``<root>/<name>/`` with the receipt ``complete.json``.

A dataset is built aside, under ``<root>/.fetch/``, gets its receipt last and is then renamed into place, all
under a lock. So a reader never meets half a dataset, and two processes that fetch at once build it once.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nls.engine.files import write_json
from nls.errors import UserError

RECEIPT = "complete.json"


def read_receipt(folder: Path) -> dict[str, Any] | None:
    """Return a dataset folder's receipt, or None if there is none or a listed file is missing or resized."""
    try:
        receipt = json.loads((folder / RECEIPT).read_text(encoding="utf-8"))
        whole = all((folder / name).stat().st_size == file["size"] for name, file in receipt["files"].items())
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None
    return receipt if whole else None


def is_current(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the receipt of a complete folder of this identity, else None. Compares sizes, not bytes."""
    receipt = read_receipt(folder)
    return receipt if receipt and all(receipt.get(key) == value for key, value in identity.items()) else None


def _is_intact(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Whether the folder is complete, of this identity, and holds the very bytes its receipt lists."""
    receipt = is_current(folder, identity)
    return receipt is not None and all(
        _sha256(folder / name) == file.get("sha256") for name, file in receipt["files"].items()
    )


def build(
    root: Path, name: str, identity: Mapping[str, Any], make: Callable[[Path, Path], Mapping[str, Any]]
) -> None:
    """Make ``<root>/<name>`` unless it is there and intact.

    ``identity`` (the recipe's number, the source) goes into the receipt; a folder of another identity is built
    anew. ``make(folder, scratch)`` writes the dataset's files into ``folder`` and returns what else its receipt
    should say. ``scratch`` outlives a failure, so that a broken download can go on from there.

    Raises:
        UserError: the disk is full, or ``root`` cannot be written.
    """
    target = root / name
    work = root / ".fetch" / name
    try:
        if _is_intact(target, identity):
            return
        with _locked(work):
            if _is_intact(target, identity):  # another process built it while this one waited
                return
            if target.is_dir() and any(target.iterdir()):
                print(f"{target} is incomplete, damaged or out of date: building it anew", file=sys.stderr)
            folder, scratch = work / "folder", work / "scratch"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            scratch.mkdir(exist_ok=True)
            try:
                facts = make(folder, scratch)
                write_json(folder / RECEIPT, {**facts, **identity, "files": _listing(folder)})
                _install(folder, target, aside=work / "replaced")
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(scratch)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            shutil.rmtree(work, ignore_errors=True)  # leave the disk as it was found
            raise UserError(
                f"no space left for {target}: free some space or choose another --root"
            ) from error
        raise UserError(f"cannot write {error.filename or target}: {error.strerror or error}") from error


def _install(folder: Path, target: Path, aside: Path) -> None:
    """Rename ``folder`` to ``target``; what stood there goes only once the new one stands."""
    shutil.rmtree(aside, ignore_errors=True)
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    if target.is_dir():
        target.rename(aside)
    try:
        folder.rename(target)
    except OSError:
        if aside.is_dir():
            aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _locked(work: Path) -> Iterator[None]:
    """Hold the lock beside ``work``; the kernel drops it with the process, however that ends."""
    work.mkdir(parents=True, exist_ok=True)
    with work.with_name(f"{work.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{work.name}: waiting for another process that fetches it", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _listing(folder: Path) -> dict[str, dict[str, Any]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": _sha256(path)}
        for path in files
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
