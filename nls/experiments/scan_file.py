"""``nls data scan``: a mesh file in, the points that virtual cameras see of it out."""

from pathlib import Path

import numpy as np

from nls.data import write_ply
from nls.data.scanner import NOISE, POINTS, scan
from nls.errors import UserError
from nls.geometry.files import read_mesh, require_writable


def scan_file(mesh: Path, out: Path, seed: int, points: int = POINTS, noise: float = NOISE) -> None:
    """Scan a mesh file (see :func:`read_mesh`; y up, metres) into a PLY file.

    Raises:
        UserError: the file is missing or is no mesh, the numbers are out of range, or ``out`` is no PLY file.
    """
    if points < 1 or not 0 <= noise < np.inf:
        raise UserError(
            f"cannot scan {points} points with noise {noise}: give at least 1 point and noise of 0 or more"
        )
    require_writable(out, (".ply",), mesh)
    shape = read_mesh(mesh)
    try:
        cloud = scan(
            np.asarray(shape.vertices, dtype=np.float64), np.asarray(shape.faces), seed, points, noise
        )
    except UserError as error:
        raise UserError(f"{mesh}: {error}") from error
    write_ply(out, cloud)
    print(f"{out}: {points} points")
