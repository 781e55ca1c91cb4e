"""Anyone's pairs of scan and truth, listed in a CSV file."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from nls.errors import UserError

_COLUMNS = ("scan", "truth", "name")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Pair:
    """A scan and its truth, a mesh or points; None where the truth is not known."""

    name: str
    scan: Path
    truth: Path | None


def read_pairs(path: Path) -> list[Pair]:
    """Read the rows of a CSV file with the columns scan, truth and name; paths are relative to its folder.

    Raises:
        UserError: the file cannot be read, lacks a column or has no rows; a row lacks its scan or its name, has more
            fields than there are columns, names a file that is not there, or repeats a name.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = list(reader)
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}: name a file that is there, relative to this directory"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no CSV file ({error}): save it as CSV in UTF-8") from error
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        raise UserError(f"{path}: has no column {missing[0]}: its first line must name scan, truth and name")
    if not rows:
        raise UserError(f"{path}: has no rows: name at least one scan")
    pairs = [_pair(path, number, row) for number, row in enumerate(rows, 2)]
    names = [pair.name for pair in pairs]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise UserError(f"{path}: two rows are named {repeated}: names must differ")
    return pairs


def _pair(path: Path, number: int, row: dict[str, str | None]) -> Pair:
    scan, truth, name = ((row[column] or "").strip() for column in _COLUMNS)
    place = f"{path}: row {number}"
    if None in row:
        raise UserError(f"{place}: has more fields than the first line: put a text with commas in quotes")
    if not scan:
        raise UserError(f"{place}: names no scan")
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{place}: {name!r} is no name: take letters, digits, '.', '_' and '-', a letter or digit first"
        )
    files = [path.parent / file for file in (scan, truth) if file]
    for file in files:
        if not file.is_file():
            raise UserError(f"{place}: {file}: no such file")
    return Pair(name, files[0], files[1] if truth else None)
