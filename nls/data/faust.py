"""FAUST (Bogo et al., CVPR 2014): checked and laid out from what its site gives after registration."""

from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from nls.data.archives import opened
from nls.data.ply import read_points
from nls.data.scans import registration_path, scan_number, scan_path
from nls.errors import UserError

_SITE = "https://faust-leaderboard.is.tuebingen.mpg.de"


def make_faust(root: Path, archive: Path | None, folder: Path) -> dict[str, Any]:
    """Copy every training scan and its registration from ``archive`` into ``folder``; return the receipt's facts.

    Raises:
        UserError: no archive was given, it is damaged or not FAUST, or one of its files is no PLY with vertices.
    """
    if archive is None:
        raise UserError(
            f"the licence of FAUST forbids passing it on: register at {_SITE}, download MPI-FAUST.zip, then run"
            f" `nls data fetch faust --root {root} --archive MPI-FAUST.zip`"
        )
    with opened(archive) as files:
        names: dict[str, str] = {}
        for name in files.names():
            inside = "/".join(PurePosixPath(name).parts[-3:])
            if inside in names and inside.startswith("training/"):
                raise UserError(
                    f"{archive} holds {inside} twice, as {names[inside]} and {name}: leave one out"
                )
            names[inside] = name
        scans = [name for name in names if name.startswith("training/scans/")]
        numbers = sorted(n for name in scans if (n := scan_number(Path(name))) is not None)
        if not numbers:
            raise UserError(
                f"{archive} has no training/scans/tr_scan_NNN.ply: give MPI-FAUST.zip or the folder it unpacks to"
            )
        for number in tqdm(numbers, "scans", disable=None):
            for target in (scan_path(folder, number), registration_path(folder, number)):
                inside = "/".join(target.parts[-3:])
                if inside not in names:
                    raise UserError(f"{archive} has no {inside}: get it again from {_SITE}")
                target.parent.mkdir(parents=True, exist_ok=True)
                files.copy(names[inside], target)
                try:
                    read_points(target)
                except UserError as error:
                    raise UserError(f"{inside} in {archive}: {error}".replace(f"{target} ", "it ")) from error
    return {"name": "faust", "source": "MPI-FAUST", "scans": len(numbers)}
