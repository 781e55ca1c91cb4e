"""Pairs of scan and registration in FAUST's layout, whether captured or virtual."""

import re
from dataclasses import dataclass
from pathlib import Path

from nls.data import store
from nls.errors import UserError

SCAN_SETS = ("bodies", "faust")


@dataclass(frozen=True)
class ScanPair:
    """A scan and its ground truth: PLY files in metres, y up. ``name`` is the number, such as "003"."""

    name: str
    scan: Path
    registration: Path


def load_scans(root: Path, name: str) -> list[ScanPair]:
    """Return the pairs of a set of :data:`SCAN_SETS` that was fetched under ``root``, by number.

    Raises:
        UserError: an unknown name, or a set that was not fetched or is damaged.
    """
    if name not in SCAN_SETS:
        raise UserError(f"unknown set of scans {name!r}: take one of {', '.join(SCAN_SETS)}")
    folder = root / name
    if store.read_receipt(folder) is None:
        raise UserError(
            f"dataset {name} is not complete in {root}: run `nls data fetch {name} --root {root}`"
        )
    scans = sorted(scan_path(folder, 0).parent.glob("tr_scan_*.ply"))
    numbers = [scan_number(path) for path in scans]
    return [
        ScanPair(f"{number:03d}", path, registration_path(folder, number))
        for number, path in zip(numbers, scans, strict=True)
        if number is not None
    ]


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
