"""The verbs about data: ``data fetch`` and ``data scan``."""

import argparse
import os
from pathlib import Path

from nls.arguments import Verbs, integer, number
from nls.cli.options import add_seed


def add_verbs(verbs: Verbs) -> None:
    """Add the verb ``data``, which has two of its own."""
    parser = verbs.add("data", "obtain datasets and make scans", "nls data fetch mnist --root data", None)
    actions = Verbs(parser, "ACTION", required=True)
    fetch = actions.add(
        "fetch", "obtain, check and lay out one dataset", "nls data fetch mnist --root data", _data_fetch
    )
    fetch.add_argument("name", metavar="NAME", help="mnist fashion_mnist cifar10 digits bodies faust curves")
    fetch.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder of the datasets")
    fetch.add_argument(
        "--mirror",
        default=os.environ.get("NLS_MIRROR") or None,
        metavar="DIR_OR_URL",
        help="holds NAME/OFFICIAL_FILE or NAME.npz; default: the environment variable NLS_MIRROR",
    )
    fetch.add_argument(
        "--archive", type=Path, metavar="PATH", help="MPI-FAUST as its site gives it, for faust"
    )

    scan = actions.add(
        "scan",
        "scan a mesh with virtual cameras",
        "nls data scan mesh.ply -o scan.ply --points 50000",
        _data_scan,
    )
    scan.add_argument("mesh", type=Path, metavar="MESH", help="PLY, OBJ, STL, OFF or GLB; y up, metres")
    scan.add_argument("-o", "--out", type=Path, required=True, metavar="SCAN.ply", help="the points")
    scan.add_argument(
        "--points", type=integer(1, 100_000_000), default=170_000, metavar="N", help="default: %(default)s"
    )
    scan.add_argument(
        "--noise",
        type=number(0, 1),
        default=0.0005,
        metavar="METRES",
        help="standard deviation; default: %(default)s",
    )
    add_seed(scan)


def _data_fetch(arguments: argparse.Namespace) -> None:
    from nls.data import fetch

    fetch(arguments.name, arguments.root, arguments.mirror, arguments.archive)


def _data_scan(arguments: argparse.Namespace) -> None:
    from nls.experiments.scan_file import scan_file

    scan_file(arguments.mesh, arguments.out, arguments.seed, arguments.points, arguments.noise)
