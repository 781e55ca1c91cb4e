"""The verbs about surfaces: ``reconstruct``, ``mesh``, ``compare``, ``chamfer`` and ``represent``."""

import argparse
from pathlib import Path

from nls.arguments import Parser, Verbs, integer, number
from nls.cli.options import add_device, add_seed, own_options, print_result
from nls.engine.limits import MAX_RESOLUTION, MIN_RESOLUTION


def add_verbs(verbs: Verbs) -> None:
    """Add these verbs."""
    for add in (_add_reconstruct, _add_mesh, _add_compare, _add_chamfer, _add_represent):
        add(verbs)


def _add_reconstruct(verbs: Verbs) -> None:
    parser = verbs.add(
        "reconstruct",
        "reconstruct the surface that a point cloud samples",
        "nls reconstruct scan.ply -o mesh.ply --preview picture.png",
        _reconstruct,
    )
    parser.add_argument(
        "scan", type=Path, metavar="SCAN", help="PLY, OBJ, STL, OFF, XYZ, PCD, LAS, LAZ, NPY or NPZ"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="MESH", help="PLY, OBJ or GLB")
    parser.add_argument(
        "--method",
        default="levelset",
        help="levelset levelset-paper poisson igr igr-normals atlasnet-25 atlasnet-1 "
        "atlasnet-sphere; default: %(default)s",
    )
    parser.add_argument("--normals", action="store_true", help="use the file's normals (poisson, igr)")
    parser.add_argument(
        "--quality",
        choices=("fast", "default", "fine"),
        default="default",
        help="half of the steps, or twice as many; 192, 384 or 512 nodes",
    )
    parser.add_argument(
        "--steps", type=integer(1), metavar="N", help="of training; default: those of the quality"
    )
    parser.add_argument(
        "--resolution",
        type=integer(MIN_RESOLUTION, MAX_RESOLUTION),
        metavar="R",
        help="nodes of the meshing grid along an axis (methods with a level set); default: those of the quality",
    )
    parser.add_argument(
        "--max-points",
        type=integer(100),
        default=100_000,
        metavar="N",
        help="points that are used of a larger cloud, at random; default: %(default)s",
    )
    parser.add_argument(
        "--trim",
        type=number(0, 1e12, above=True),
        metavar="D",
        help="drop what is farther than D from every point, in the points' units",
    )
    parser.add_argument(
        "--keep-largest", action="store_true", help="drop all pieces but the largest, and say so"
    )
    parser.add_argument("--preview", type=Path, metavar="PICTURE.png", help="draw the points beside the mesh")
    parser.add_argument(
        "--save-network",
        type=Path,
        dest="save_to",
        metavar="NET.safetensors",
        help="keep the network, for `nls mesh`",
    )
    parser.add_argument(
        "--watch",
        type=Path,
        metavar="DIR",
        help="draw points and present surface there while training, and animate the pictures at the end",
    )
    parser.add_argument(
        "--watch-every", type=integer(1), default=100, metavar="N", help="steps; default: %(default)s"
    )
    add_device(parser)
    add_seed(parser)


def _reconstruct(arguments: argparse.Namespace) -> None:
    from nls.experiments.reconstruct_file import reconstruct_file

    reconstruct_file(**own_options(arguments))


def _add_mesh(verbs: Verbs) -> None:
    parser = verbs.add(
        "mesh",
        "mesh a network of `nls reconstruct --save-network` again",
        "nls mesh net.safetensors -o finer.ply --resolution 512",
        _mesh,
    )
    parser.add_argument("network", type=Path, metavar="NET.safetensors", help="what --save-network wrote")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="MESH", help="PLY, OBJ or GLB")
    parser.add_argument(
        "--resolution",
        type=integer(MIN_RESOLUTION, MAX_RESOLUTION),
        default=384,
        metavar="R",
        help="nodes of the grid along an axis; default: %(default)s",
    )
    parser.add_argument("--keep-largest", action="store_true", help="drop all pieces but the largest")
    add_device(parser)


def _mesh(arguments: argparse.Namespace) -> None:
    from nls.experiments.reconstruct_file import mesh_network_file

    mesh_network_file(**own_options(arguments))


def _add_compare(verbs: Verbs) -> None:
    parser = verbs.add(
        "compare",
        "print every measure of a mesh against the truth",
        "nls compare mesh.ply truth.ply",
        _compare,
        result=True,
    )
    parser.add_argument("mesh", type=Path, metavar="A", help="a mesh")
    parser.add_argument("truth", type=Path, metavar="B", help="the truth: a mesh or points")
    _add_points(parser)
    parser.add_argument(
        "--f-share",
        type=number(0, 1, above=True),
        default=0.0025,
        metavar="SHARE",
        help="distance that the F-score counts as near, as a share of the diagonal of B's box; default: %(default)s",
    )
    add_seed(parser)


def _compare(arguments: argparse.Namespace) -> None:
    from nls.experiments.reconstruct_file import compare_files

    print_result(arguments, compare_files(**own_options(arguments)))


def _add_chamfer(verbs: Verbs) -> None:
    parser = verbs.add(
        "chamfer",
        "print the Chamfer distances of two meshes",
        "nls chamfer mesh.ply truth.ply",
        _chamfer,
        result=True,
    )
    parser.add_argument("first", type=Path, metavar="A", help="PLY, OBJ, STL, OFF or GLB")
    parser.add_argument("second", type=Path, metavar="B", help="the other")
    _add_points(parser)
    add_seed(parser)


def _chamfer(arguments: argparse.Namespace) -> None:
    from nls.experiments.reconstruct_file import chamfer_files

    print_result(arguments, chamfer_files(**own_options(arguments)))


def _add_represent(verbs: Verbs) -> None:
    parser = verbs.add(
        "represent",
        "write a mesh as the exact zero level set of a ReLU network",
        "nls represent mesh.ply -o net.safetensors",
        _represent,
    )
    parser.add_argument(
        "mesh", type=Path, metavar="MESH.ply", help="watertight triangles: PLY, OBJ, STL, OFF or GLB"
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="NET.safetensors", help="the network"
    )
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float64", help="default: float64")
    parser.add_argument("--repair", action="store_true", help="mend the mesh first; says what changed")
    parser.add_argument("--onnx", type=Path, metavar="FILE.onnx", help="write ONNX too")


def _represent(arguments: argparse.Namespace) -> None:
    from nls.universality.command import represent_file

    for line in represent_file(
        arguments.mesh, arguments.out, arguments.dtype, repair=arguments.repair, onnx=arguments.onnx
    ):
        print(line)


def _add_points(parser: Parser) -> None:
    parser.add_argument(
        "--points",
        type=integer(1, 100_000_000),
        default=30_000,
        metavar="N",
        help="samples of each surface; default: %(default)s",
    )
