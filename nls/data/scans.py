"""Pairs of scan and registration in FAUST's layout, whether captured or virtual."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nls.data import store
from nls.errors import UserError

# Sets of scans, and how many training scans each has.
SCANS = {"bodies": 10, "faust": 100}


@dataclass(frozen=True)
class ScanPair:
    """A scan and its ground truth: PLY files in metres, y up. ``name`` is the number, such as "003"."""

    name: str
    scan: Path
    registration: Path


def load_scans(root: Path, name: str, numbers: Sequence[int] | None = None) -> list[ScanPair]:
    """Return pairs of a set of :data:`SCANS` that was fetched under ``root``: those of the numbers, or all.

    Raises:
        UserError: an unknown name or number, a set that was not fetched, or files that are not what was fetched.
    """
    if name not in SCANS:
        raise UserError(f"unknown set of scans {name!r}: take one of {', '.join(SCANS)}")
    folder = root / name
    receipt = store.require_receipt(folder)
    found = map(scan_number, sorted(scan_path(folder, 0).parent.glob("tr_scan_*.ply")))
    there = [number for number in found if number is not None]
    unknown = [number for number in numbers or () if number not in there]
    if unknown:
        raise UserError(
            f"{name} has no scan {unknown[0]}: take one of {', '.join(f'{number:03d}' for number in there)}"
        )
    pairs = [
        ScanPair(f"{number:03d}", scan_path(folder, number), registration_path(folder, number))
        for number in (there if numbers is None else numbers)
    ]
    files = [path for pair in pairs for path in (pair.scan, pair.registration)]
    store.require_intact(folder, receipt, [path.relative_to(folder).as_posix() for path in files])
    return pairs


def scan_path(folder: Path, number: int) -> Path:
    """Return where the scan of this number lies below a dataset's folder."""
    return folder / "MPI-FAUST" / "training" / "scans" / f"tr_scan_{number:03d}.ply"


def registration_path(folder: Path, number: int) -> Path:
    """Return where the registration of this number lies below a dataset's folder."""
    return folder / "MPI-FAUST" / "training" / "registrations" / f"tr_reg_{number:03d}.ply"


def scan_number(path: Path) -> int | None:
    """Return the number in a scan's file name, or None if it is not one's."""
    match = re.fullmatch(r"tr_scan_(\d{3})\.ply", path.name)
    return int(match[1]) if match else None
