"""Dataset folders that are whole or absent: ``<root>/<name>/`` with the receipt ``complete.json``.

A dataset is built aside, under ``<root>/.fetch/``, gets its receipt last and is then renamed into place, all
under a lock. So a reader never meets half a dataset, and two processes that fetch at once build it once. A folder
is replaced only if every file in it is listed in its receipt: all others are the user's.
"""

import errno
import functools
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from nls.engine.files import write_json
from nls.engine.locks import alone
from nls.errors import UserError

RECEIPT = "complete.json"
# The same again: Snakemake deletes a declared output before it is made anew.
_COPY = ".complete.json"


def read_receipt(folder: Path) -> dict[str, Any] | None:
    """Return a dataset folder's receipt, or None if there is none or a listed file is missing or resized."""
    receipt = _read(folder / RECEIPT)
    if receipt is None:
        return None
    sizes = {name: file["size"] for name, file in receipt["files"].items()}
    try:
        return (
            receipt if all((folder / name).stat().st_size == size for name, size in sizes.items()) else None
        )
    except OSError:
        return None


def require_receipt(folder: Path) -> dict[str, Any]:
    """Return the receipt of a dataset folder, see :func:`read_receipt`.

    Raises:
        UserError: there is none, or a listed file is missing or resized.
    """
    receipt = read_receipt(folder)
    if receipt is None:
        name, root = folder.name, folder.parent
        raise UserError(
            f"dataset {name} is not complete in {root}: run `nls data fetch {name} --root {root}`"
        )
    return receipt


def require_intact(folder: Path, receipt: Mapping[str, Any], names: Iterable[str] | None = None) -> None:
    """Compare the files that are to be read, or all, with the receipt's checksums; once a process.

    Raises:
        UserError: one was altered.
    """
    for name in receipt["files"] if names is None else names:
        if _digest(folder / name) != receipt["files"].get(name, {}).get("sha256"):
            raise UserError(
                f"{folder / name} is not what was fetched: run `nls data fetch {folder.name} --root {folder.parent}`"
            )


def intact_receipt(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the receipt of a folder of this identity that holds the very bytes its receipt lists, else None."""
    receipt = read_receipt(folder)
    if receipt is None or any(receipt.get(key) != value for key, value in identity.items()):
        return None
    same = all(_digest(folder / name) == file["sha256"] for name, file in receipt["files"].items())
    return receipt if same else None


def _read(path: Path) -> dict[str, Any] | None:
    """Return what a receipt says, or None if this is none."""
    try:
        receipt = json.loads(path.read_text(encoding="utf-8"))
        files = receipt["files"].values()
        return receipt if all({"size", "sha256"} <= set(file) for file in files) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _require_replaceable(target: Path) -> None:
    """Raise UserError unless everything that stands at ``target`` was put there by :func:`build`."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UserError(f"{target} is no folder: move it away, or choose another --root")
    receipts = [receipt for name in (RECEIPT, _COPY) if (receipt := _read(target / name)) is not None]
    ours = {name for receipt in receipts for name in (*receipt["files"], RECEIPT, _COPY)}
    for path in sorted(target.rglob("*")):
        name = path.relative_to(target).as_posix()
        if (path.is_symlink() or not path.is_dir()) and name not in ours:
            raise UserError(
                f"{target} holds {name}, which `nls data fetch` did not put there: move it away, or choose another"
                " --root"
            )


def _is_due(target: Path, identity: Mapping[str, Any]) -> bool:
    """Whether the folder is to be made, or made anew."""
    if intact_receipt(target, identity) is not None:
        return False
    _require_replaceable(target)
    return True


def build(
    root: Path, name: str, identity: Mapping[str, Any], make: Callable[[Path, Path], Mapping[str, Any]]
) -> None:
    """Make ``<root>/<name>`` unless it is there and intact.

    ``identity`` (the recipe's number, the source) goes into the receipt; a folder of another identity is built
    anew. ``make(folder, scratch)`` writes the dataset's files into ``folder`` and returns what else its receipt
    should say. ``scratch`` outlives a failure, so that a broken download can go on from there.

    Raises:
        UserError: the disk is full, ``root`` cannot be written, or the folder is a link or holds files that no
            receipt lists.
    """
    target = root / name
    work = root / ".fetch" / name
    try:
        if not _is_due(target, identity):
            return
        work.mkdir(parents=True, exist_ok=True)
        waiting = f"{name}: waiting for another process that fetches it"
        with alone(work.with_name(f"{name}.lock"), waiting, sys.stderr):
            if not _is_due(target, identity):  # another process built it while this one waited
                return
            if target.is_dir() and any(target.iterdir()):
                print(f"{target} is incomplete, damaged or out of date: building it anew", file=sys.stderr)
            folder, scratch = work / "folder", work / "scratch"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            scratch.mkdir(exist_ok=True)
            try:
                facts = make(folder, scratch)
                receipt = {**facts, **identity, "files": _listing(folder)}
                write_json(folder / _COPY, receipt)
                write_json(folder / RECEIPT, receipt)
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


def _listing(folder: Path) -> dict[str, dict[str, Any]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": _digest(path)}
        for path in files
    }


def _digest(path: Path) -> str:
    state = path.stat()
    return _sha256(path, state.st_size, state.st_mtime_ns)


@functools.cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    """Return the checksum of a file that has this size and time, which are there to tell its states apart."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
