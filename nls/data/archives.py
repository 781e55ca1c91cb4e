"""What a person was given as an archive: a zip, a tar or the unpacked folder, read without trusting its paths."""

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from nls.errors import UserError

_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError)
_PIECE = 1 << 20


class Archive(Protocol):
    """Regular files by their path inside the archive."""

    def names(self) -> list[str]: ...  # noqa: D102

    def copy(self, name: str, target: Path) -> None: ...  # noqa: D102


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open a zip, a tar (compressed or not) or a folder.

    Raises:
        UserError: there is no such file, it is no archive or a damaged one, or one of its paths climbs out of it.
    """
    if path.is_dir():
        yield _Folder(path)
        return
    try:
        if not path.is_file():
            raise UserError(f"no archive at {path}: check the path")
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as zipped:
                yield _Zip(path, zipped)
        elif tarfile.is_tarfile(path):
            with tarfile.open(path) as tarred:
                yield _Tar(path, tarred)
        else:
            raise UserError(
                f"{path} is neither a whole zip nor a tar nor a folder: get it again from its site"
            )
    except OSError as error:
        if error.errno is not None:
            raise
        # Of gzip and bzip2: a checksum, or a stream that is none.
        raise UserError(f"{path} is damaged ({error}): get it again from its site") from error
    except _DAMAGED as error:
        raise UserError(f"{path} is damaged ({error}): get it again from its site") from error


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        return sorted(p.relative_to(self._path).as_posix() for p in self._path.rglob("*") if p.is_file())

    def copy(self, name: str, target: Path) -> None:
        shutil.copyfile(self._path / name, target)


class _Zip:
    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self._file = file
        _check_paths(path, file.namelist())

    def names(self) -> list[str]:
        return sorted(info.filename for info in self._file.infolist() if not info.is_dir())

    def copy(self, name: str, target: Path) -> None:
        with self._file.open(name) as source:
            _write(source, target)


class _Tar:
    def __init__(self, path: Path, file: tarfile.TarFile) -> None:
        self._file = file
        _check_paths(path, file.getnames())
        # tarfile stops at the tar's own end; the checksum of the compressed stream stands behind it.
        while file.fileobj is not None and file.fileobj.read(_PIECE):
            pass

    def names(self) -> list[str]:
        return sorted(member.name for member in self._file.getmembers() if member.isfile())

    def copy(self, name: str, target: Path) -> None:
        source = self._file.extractfile(name)
        assert source is not None  # names() lists regular files only
        with source:
            _write(source, target)


def _check_paths(path: Path, names: list[str]) -> None:
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or name[1:2] == ":":
            raise UserError(
                f"{path} holds the path {name!r}, which climbs out of it: get it again from its site"
            )


def _write(source: IO[bytes], target: Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(source, file)
