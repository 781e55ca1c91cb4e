"""The command line: one verb a function, each a thin call into the package.

Heavy imports stay inside the verbs, so that ``nls --help`` and a Snakemake dry run answer at once.
"""

import argparse
import errno
import importlib.metadata
import io
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any, cast

from nls.arguments import Parser, integer, number, seed
from nls.errors import Interrupted, NlsError, RunError, UserError, one_line


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return 0, or print one line and return 2 (bad input), 1 (it cannot go on), 128 + signal."""
    with _patient_output(), _stoppable():
        try:
            return _answer(argv)
        except Interrupted as stop:
            print(f"nls: {stop}", file=sys.stderr)
            return 128 + stop.signal_number
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()


def _answer(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        arguments.verb(arguments)
    except NlsError as error:
        print("\n".join(filter(None, [f"nls: {one_line(str(error))}", error.below])), file=sys.stderr)
        return 1 if isinstance(error, RunError) else 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        print(f"nls: {error.strerror}: free some space, then run the same command again", file=sys.stderr)
        return 1
    return 0


class _Patient:
    """A stream whose reader may go away (``| head``) without stopping the work that is told about."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that knows only ASCII shows \\u221e for ∞.
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        try:
            return cast(int, self._stream.write(text))
        except BrokenPipeError:
            self._let_go()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._let_go()

    def _let_go(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _patient_output() -> Iterator[None]:
    # A stream is None where the shell has closed it.
    streams = [io.StringIO() if stream is None else _Patient(stream) for stream in (sys.stdout, sys.stderr)]
    with redirect_stdout(cast(Any, streams[0])), redirect_stderr(cast(Any, streams[1])):
        yield


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let signals unwind the verb, so that half-written files are removed; those that are ignored stay so."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Interrupted(number, resumable=False)

    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    heard = {each: handler for each, handler in before.items() if handler is not signal.SIG_IGN}
    for each in heard:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each, handler in heard.items():
            signal.signal(each, handler)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="nls", description="Benchmarks for Controlling Neural Level Sets.")
    parser.add_argument("--version", action="version", version=f"nls {importlib.metadata.version('nls')}")
    parser.set_defaults(verb=lambda arguments: parser.print_help())
    verbs = parser.add_subparsers(metavar="VERB")
    for add in (
        _add_run,
        _add_data,
        _add_attack,
        _add_verify,
        _add_represent,
        _add_reconstruct,
        _add_mesh,
        _add_compare,
        _add_chamfer,
        _add_table,
        _add_figure,
        _add_report,
        _add_status,
        _add_keep,
        _add_doctor,
    ):
        add(verbs)
    return parser


def _add_run(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("run", help="run one spec file into a run directory")
    parser.add_argument("spec", type=Path, metavar="SPEC.yaml")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.set_defaults(verb=_run)


def _run(arguments: argparse.Namespace) -> None:
    from nls.experiments import run_spec

    run_spec(arguments.spec, arguments.out)


def _add_data(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("data", help="obtain datasets and make scans")
    actions = parser.add_subparsers(required=True, dest="action", metavar="ACTION")

    fetch = actions.add_parser("fetch", help="obtain, check and lay out one dataset")
    fetch.add_argument("name", metavar="NAME", help="mnist fashion_mnist cifar10 digits bodies faust curves")
    fetch.add_argument("--root", type=Path, required=True, metavar="DIR")
    fetch.add_argument(
        "--mirror",
        default=os.environ.get("NLS_MIRROR") or None,
        metavar="DIR_OR_URL",
        help="holds NAME/OFFICIAL_FILE or NAME.npz; default: the environment variable NLS_MIRROR",
    )
    fetch.add_argument(
        "--archive", type=Path, metavar="PATH", help="MPI-FAUST as its site gives it, for faust"
    )
    fetch.set_defaults(verb=_data_fetch)

    scan = actions.add_parser("scan", help="scan a mesh with virtual cameras")
    scan.add_argument("mesh", type=Path, metavar="MESH", help="any mesh file; y up, metres")
    scan.add_argument("-o", "--out", type=Path, required=True, metavar="SCAN.ply")
    scan.add_argument("--points", type=integer(1, 100_000_000), default=170_000, metavar="N")
    scan.add_argument(
        "--noise", type=number(0, 1), default=0.0005, metavar="METRES", help="standard deviation"
    )
    scan.add_argument("--seed", type=seed, default=0, metavar="S")
    scan.set_defaults(verb=_data_scan)


def _data_fetch(arguments: argparse.Namespace) -> None:
    from nls.data import fetch

    fetch(arguments.name, arguments.root, arguments.mirror, arguments.archive)


def _data_scan(arguments: argparse.Namespace) -> None:
    from nls.data.scanner import scan_file

    scan_file(arguments.mesh, arguments.out, arguments.seed, arguments.points, arguments.noise)


def _add_attack(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("attack", help="attack a classifier of your own and report what it withstands")
    parser.add_argument(
        "--model", required=True, metavar="FILE.py:FACTORY", help="function that returns the network"
    )
    parser.add_argument(
        "--weights", type=Path, required=True, metavar="PATH", help="its checkpoint: .pt or .safetensors"
    )
    parser.add_argument("--weights-key", metavar="KEY", help="where in the checkpoint the state_dict lies")
    parser.add_argument(
        "--dataset", required=True, metavar="NAME", help="mnist fashion_mnist cifar10 digits, or a .npz"
    )
    parser.add_argument("--data-root", type=Path, default=Path("data"), metavar="DIR")
    parser.add_argument(
        "--eps",
        type=number(0, 1000),
        required=True,
        help="radius of the ball, pixels in [0, 1]; 8/255 is understood",
    )
    parser.add_argument("--norm", choices=("linf", "l2"), default="linf")
    parser.add_argument(
        "--attacks",
        default="pgd-xent,pgd-margin,autoattack",
        metavar="A,B",
        help="of pgd-xent pgd-margin apgd-ce apgd-dlr apgd-t fab-t square autoattack; default: %(default)s",
    )
    parser.add_argument("--steps", type=integer(0, 1_000_000), default=40, help="of PGD")
    parser.add_argument(
        "--step-size", type=number(0, 1000, above=True), default=0.01, help="of PGD, in pixel values"
    )
    parser.add_argument("--restarts", type=integer(1, 10_000), default=1, help="random starts of PGD")
    parser.add_argument(
        "--mean-over-starts", action="store_true", help="report the mean over starts beside the worst case"
    )
    parser.add_argument("--apgd-steps", type=integer(1, 1_000_000), default=100)
    parser.add_argument("--fab-steps", type=integer(1, 1_000_000), default=100)
    parser.add_argument("--queries", type=integer(1), default=5000, help="of Square")
    parser.add_argument("--limit", type=integer(1), metavar="N", help="attack the first N test images only")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument("--batch-size", type=integer(1), default=250)
    parser.add_argument(
        "--save-adversarial", type=Path, metavar="FILE.npz", help="write the points; nls verify checks them"
    )
    parser.add_argument("--out", type=Path, metavar="attack.json")
    parser.set_defaults(verb=_attack)


def _attack(arguments: argparse.Namespace) -> None:
    from nls.attacks.command import attack_files
    from nls.attacks.library import Effort

    options = {name: value for name, value in vars(arguments).items() if name != "verb"}
    for name in ("eps", "step_size"):
        value = options[name]
        if options["norm"] == "linf" and value > 1:
            hint = f": did you mean {value:g}/255?" if value < 255 else ""
            raise UserError(f"--{name.replace('_', '-')} {value:g} is more than pixels in [0, 1] allow{hint}")
    effort = Effort(*(options.pop(name) for name in ("apgd_steps", "fab_steps", "queries")))
    attacks = [name.strip() for name in options.pop("attacks").split(",") if name.strip()]
    attack_files(attacks=attacks, effort=effort, **options)


def _add_verify(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("verify", help="check the adversarial points that nls attack wrote")
    parser.add_argument("points", type=Path, metavar="FILE.npz")
    parser.add_argument("--model", required=True, metavar="FILE.py:FACTORY")
    parser.add_argument("--weights", type=Path, required=True, metavar="PATH")
    parser.add_argument("--weights-key", metavar="KEY")
    parser.add_argument("--data-root", type=Path, default=Path("data"), metavar="DIR")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--batch-size", type=integer(1), default=250)
    parser.set_defaults(verb=_verify)


def _verify(arguments: argparse.Namespace) -> None:
    from nls.attacks.command import check_file

    check_file(**{name: value for name, value in vars(arguments).items() if name != "verb"})


def _add_reconstruct(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("reconstruct", help="reconstruct the surface that a point cloud samples")
    parser.add_argument(
        "scan", type=Path, metavar="SCAN", help="PLY, OBJ, STL, OFF, XYZ, PCD, LAS, LAZ, NPY or NPZ"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="MESH", help="PLY, OBJ or GLB")
    parser.add_argument(
        "--method",
        default="levelset",
        help="levelset levelset-detail levelset-paper poisson igr igr-normals atlasnet-25 atlasnet-1 "
        "atlasnet-sphere; default: %(default)s",
    )
    parser.add_argument(
        "--normals", action="store_true", help="use the file's normals (poisson); default: estimate them"
    )
    parser.add_argument(
        "--quality",
        choices=("fast", "default", "fine"),
        default="default",
        help="a third of the steps, or three times as many; 128, 256 or 384 nodes",
    )
    parser.add_argument(
        "--steps", type=integer(1), metavar="N", help="of training; default: those of the quality"
    )
    parser.add_argument(
        "--resolution",
        type=integer(16, 4096),
        metavar="R",
        help="nodes of the meshing grid along an axis; default: those of the quality",
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
        "--watch", type=Path, metavar="DIR", help="draw points and present surface there while training"
    )
    parser.add_argument(
        "--watch-every", type=integer(1), default=100, metavar="N", help="steps; default: %(default)s"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seed", type=seed, default=0, metavar="S")
    parser.set_defaults(verb=_reconstruct)


def _reconstruct(arguments: argparse.Namespace) -> None:
    from nls.experiments.reconstruct_file import reconstruct_file

    reconstruct_file(**{name: value for name, value in vars(arguments).items() if name != "verb"})


def _add_mesh(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("mesh", help="mesh a network of `nls reconstruct --save-network` again")
    parser.add_argument("network", type=Path, metavar="NET.safetensors")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="MESH", help="PLY, OBJ or GLB")
    parser.add_argument("--resolution", type=integer(16, 4096), default=256, metavar="R")
    parser.add_argument("--keep-largest", action="store_true", help="drop all pieces but the largest")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.set_defaults(verb=_mesh)


def _mesh(arguments: argparse.Namespace) -> None:
    from nls.experiments.reconstruct_file import mesh_network_file

    mesh_network_file(**{name: value for name, value in vars(arguments).items() if name != "verb"})


def _add_compare(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("compare", help="print every measure of a mesh against the truth")
    parser.add_argument("mesh", type=Path, metavar="A", help="a mesh")
    parser.add_argument("truth", type=Path, metavar="B", help="the truth: a mesh or points")
    parser.add_argument(
        "--points", type=integer(1, 100_000_000), default=30_000, metavar="N", help="samples of each surface"
    )
    parser.add_argument(
        "--f-share",
        type=number(0, 1, above=True),
        default=0.0025,
        metavar="SHARE",
        help="distance that the F-score counts as near, as a share of the diagonal of B's box; default: %(default)s",
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="S")
    parser.set_defaults(verb=_compare)


def _compare(arguments: argparse.Namespace) -> None:
    from nls.experiments.reconstruct_file import compare_files

    compare_files(**{name: value for name, value in vars(arguments).items() if name != "verb"})


def _add_chamfer(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("chamfer", help="print the Chamfer distances of two meshes")
    parser.add_argument("first", type=Path, metavar="A", help="PLY, OBJ or GLB")
    parser.add_argument("second", type=Path, metavar="B")
    parser.add_argument(
        "--points", type=integer(1, 100_000_000), default=30_000, metavar="N", help="samples of each surface"
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="S")
    parser.set_defaults(verb=_chamfer)


def _chamfer(arguments: argparse.Namespace) -> None:
    from nls.experiments.reconstruct_file import chamfer_files

    chamfer_files(arguments.first, arguments.second, arguments.points, arguments.seed)


def _add_represent(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("represent", help="write a mesh as the exact zero level set of a ReLU network")
    parser.add_argument(
        "mesh", type=Path, metavar="MESH.ply", help="watertight triangles: PLY, OBJ, STL or OFF"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="NET.safetensors")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float64", help="default: float64")
    parser.add_argument("--repair", action="store_true", help="mend the mesh first; says what changed")
    parser.add_argument("--onnx", type=Path, metavar="FILE.onnx", help="write ONNX too")
    parser.set_defaults(verb=_represent)


def _represent(arguments: argparse.Namespace) -> None:
    from nls.universality.command import represent_file

    for line in represent_file(
        arguments.mesh, arguments.out, arguments.dtype, repair=arguments.repair, onnx=arguments.onnx
    ):
        print(line)


def _add_table(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("table", help="make a table from a suite's run directories")
    parser.add_argument("name", metavar="TABLE")
    parser.add_argument("--suite", required=True)
    parser.set_defaults(verb=_table)


def _table(arguments: argparse.Namespace) -> None:
    from nls.reporting.products import make_table

    table = make_table(arguments.name, arguments.suite)
    print(table.text(shutil.get_terminal_size((100, 24)).columns))
    for path in table.write():
        print(f"wrote {path}")


def _add_figure(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("figure", help="make a figure from a suite's run directories")
    parser.add_argument("name", metavar="FIGURE")
    parser.add_argument("--suite", required=True)
    parser.set_defaults(verb=_figure)


def _figure(arguments: argparse.Namespace) -> None:
    from nls.reporting.products import write_figure

    for path in write_figure(arguments.name, arguments.suite):
        print(f"wrote {path}")


def _add_report(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("report", help="gather a suite's tables and figures on one page")
    parser.add_argument("--suite", required=True)
    parser.set_defaults(verb=_report)


def _report(arguments: argparse.Namespace) -> None:
    from nls.reporting.report import write_report

    print(f"wrote {write_report(arguments.suite)}")


def _add_status(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("status", help="tell how far a suite's runs are")
    parser.add_argument("--suite", required=True)
    parser.set_defaults(verb=_status)


def _status(arguments: argparse.Namespace) -> None:
    from nls.reporting.status import status_text

    print(status_text(arguments.suite))


def _add_keep(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("keep", help="file a suite's complete runs as the reference in git")
    parser.add_argument("suite", metavar="SUITE")
    parser.set_defaults(verb=_keep)


def _keep(arguments: argparse.Namespace) -> None:
    from nls.reporting.keep import keep

    for line in keep(arguments.suite):
        print(line)


def _add_doctor(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("doctor", help="tell what would stop a suite here, and what it will cost")
    parser.add_argument("--suite", default="paper", help="a config of config/; default: %(default)s")
    parser.set_defaults(verb=_doctor)


def _doctor(arguments: argparse.Namespace) -> None:
    from nls.experiments.doctor import examine

    examine(arguments.suite, os.environ.get("NLS_MIRROR") or None)


if __name__ == "__main__":
    sys.exit(main())
