"""The command line: one verb a function, each a thin call into the package.

Heavy imports stay inside the verbs, so that ``nls --help`` and a Snakemake dry run answer at once.
"""

import argparse
import errno
import importlib.metadata
import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any, cast

from nls.arguments import Parser, Verbs, integer, number, seed, suite
from nls.engine.memory import keep_freed_memory
from nls.engine.user_code import raised_in_user_code
from nls.errors import Interrupted, NlsError, RunError, UserError, memory_lacked, one_line

# Why a file or folder cannot be made.
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return 0, or print one line and return 2 (bad input), 1 (it cannot go on), 128 + signal."""
    keep_freed_memory()
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
    arguments.figures = sys.stdout
    try:
        with _told(arguments):
            arguments.verb(arguments)
    except NlsError as error:
        print("\n".join(filter(None, [f"nls: {one_line(str(error))}", error.below])), file=sys.stderr)
        return 1 if isinstance(error, RunError) else 2
    except (Exception, SystemExit) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            print(f"nls: {error.strerror}: free some space, then run the same command again", file=sys.stderr)
            return 1
        if (lack := memory_lacked(error)) is not None:
            print(f"nls: {one_line(lack)}", file=sys.stderr)
            return 1
        if (theirs := raised_in_user_code(error)) is not None:
            print(f"nls: {one_line(str(theirs))}\n{theirs.below}", file=sys.stderr)
            return 1
        if isinstance(error, OSError) and error.filename is not None and error.errno in _NOT_WRITABLE:
            place = one_line(str(error.filename))
            remedy = "make it writable or work in another folder"
            print(f"nls: {place}: {error.strerror}: {remedy}", file=sys.stderr)
            return 2
        raise
    return 0


@contextmanager
def _told(arguments: argparse.Namespace) -> Iterator[None]:
    """Let what a verb tells on its way be silent (--quiet) or leave the output to its figures (--json)."""
    if getattr(arguments, "quiet", False):
        cast(_Patient, sys.stderr).has_terminal = False  # bars are for terminals
        with redirect_stdout(io.StringIO()):
            yield
    elif getattr(arguments, "json", False):
        with redirect_stdout(sys.stderr):
            yield
    else:
        yield


class _Patient:
    """A stream whose reader may go away (``| head``) without stopping the work that is told about."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.has_terminal = bool(stream.isatty())
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that knows only ASCII shows \\u221e for ∞.
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        try:
            return cast(int, self._stream.write(text))
        except BrokenPipeError:
            self._let_go()
            return len(text)

    def isatty(self) -> bool:
        return self.has_terminal

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
    parser = Parser(prog="nls", usage="nls [-h] [--version] VERB ...")
    parser.add_argument("--version", action="version", version=f"nls {importlib.metadata.version('nls')}")
    parser.add_argument(
        "--print-completion",
        choices=("bash", "zsh", "tcsh"),
        dest="completion",
        help='print what completes this command: eval "$(nls --print-completion bash)"',
    )
    verbs = Verbs(parser, "VERB")
    verbs.group("classifiers and surfaces of your own")
    for add in (
        _add_attack,
        _add_verify,
        _add_reconstruct,
        _add_mesh,
        _add_compare,
        _add_chamfer,
        _add_represent,
    ):
        add(verbs)
    verbs.group("data")
    _add_data(verbs)
    verbs.group("the benchmarks, mostly called by Snakemake")
    for add in (_add_doctor, _add_run, _add_status, _add_table, _add_figure, _add_report, _add_keep):
        add(verbs)
    parser.description = f"Controlling Neural Level Sets: its methods and its benchmarks.\n\n{verbs.text()}"
    parser.epilog = "nls VERB --help tells what a verb takes, with an example."
    parser.set_defaults(verb=lambda arguments: _without_verb(arguments, parser, verbs))
    return parser


def _without_verb(arguments: argparse.Namespace, parser: Parser, verbs: Verbs) -> None:
    print(verbs.completion(arguments.completion) if arguments.completion else parser.format_help())


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of the verb's own."""
    common = ("verb", "completion", "quiet", "json", "figures")
    return {name: value for name, value in vars(arguments).items() if name not in common}


def _print_figures(arguments: argparse.Namespace, figures: Any) -> None:
    """Print figures where they go even if everything else is silent."""
    print(json.dumps(figures, indent=2, ensure_ascii=False), file=arguments.figures)


def _add_run(verbs: Verbs) -> None:
    parser = verbs.add(
        "run",
        "run one spec file into a run directory",
        "nls run results/smoke/specs/figure1/linf.yaml --out results/smoke/figure1/linf",
        _run,
    )
    parser.add_argument("spec", type=Path, metavar="SPEC.yaml", help="all settings of the run")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the run directory")


def _run(arguments: argparse.Namespace) -> None:
    from nls.experiments import run_spec

    run_spec(arguments.spec, arguments.out)


def _add_data(verbs: Verbs) -> None:
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
    scan.add_argument(
        "--seed", type=seed, default=0, metavar="S", help="of all random draws; default: %(default)s"
    )


def _data_fetch(arguments: argparse.Namespace) -> None:
    from nls.data import fetch

    fetch(arguments.name, arguments.root, arguments.mirror, arguments.archive)


def _data_scan(arguments: argparse.Namespace) -> None:
    from nls.experiments.scan_file import scan_file

    scan_file(arguments.mesh, arguments.out, arguments.seed, arguments.points, arguments.noise)


def _add_attack(verbs: Verbs) -> None:
    parser = verbs.add(
        "attack",
        "attack a classifier of your own and report what it withstands",
        "nls attack --model my_net.py:network --weights w.pt --dataset mnist --eps 0.3 --out attack.json",
        _attack,
        figures=True,
    )
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
    parser.add_argument(
        "--data-root",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help="folder of the datasets; default: %(default)s",
    )
    parser.add_argument(
        "--eps",
        type=number(0, 1000),
        required=True,
        help="radius of the ball, pixels in [0, 1]; 8/255 is understood",
    )
    parser.add_argument(
        "--norm", choices=("linf", "l2"), default="linf", help="of the ball; default: %(default)s"
    )
    parser.add_argument(
        "--attacks",
        default="pgd-xent,pgd-margin,autoattack",
        metavar="A,B",
        help="of pgd-xent pgd-margin apgd-ce apgd-dlr apgd-t fab-t square autoattack; default: %(default)s",
    )
    parser.add_argument(
        "--steps", type=integer(0, 1_000_000), default=40, metavar="N", help="of PGD; default: %(default)s"
    )
    parser.add_argument(
        "--step-size",
        type=number(0, 1000, above=True),
        default=0.01,
        metavar="A",
        help="of PGD, in pixel values; default: %(default)s",
    )
    parser.add_argument(
        "--restarts",
        type=integer(1, 10_000),
        default=1,
        metavar="N",
        help="random starts of PGD; default: %(default)s",
    )
    parser.add_argument(
        "--mean-over-starts", action="store_true", help="report the mean over starts beside the worst case"
    )
    parser.add_argument(
        "--apgd-steps",
        type=integer(1, 1_000_000),
        default=100,
        metavar="N",
        help="of each run of APGD; default: %(default)s",
    )
    parser.add_argument(
        "--fab-steps",
        type=integer(1, 1_000_000),
        default=100,
        metavar="N",
        help="of FAB for each target; default: %(default)s",
    )
    parser.add_argument(
        "--queries", type=integer(1), default=5000, metavar="N", help="of Square; default: %(default)s"
    )
    parser.add_argument("--limit", type=integer(1), metavar="N", help="attack the first N test images only")
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto, the default, takes a GPU if there is one",
    )
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="S", help="of all random draws; default: %(default)s"
    )
    parser.add_argument(
        "--batch-size", type=integer(1), default=250, metavar="N", help="images at once; default: %(default)s"
    )
    parser.add_argument(
        "--save-adversarial", type=Path, metavar="FILE.npz", help="write the points; nls verify checks them"
    )
    parser.add_argument("--out", type=Path, metavar="attack.json", help="write the report there as JSON")


def _attack(arguments: argparse.Namespace) -> None:
    from nls.attacks.command import attack_files
    from nls.attacks.library import Effort

    options = _options(arguments)
    for name in ("eps", "step_size"):
        value = options[name]
        if options["norm"] == "linf" and value > 1:
            hint = f": did you mean {value:g}/255?" if value < 255 else ""
            raise UserError(f"--{name.replace('_', '-')} {value:g} is more than pixels in [0, 1] allow{hint}")
    effort = Effort(*(options.pop(name) for name in ("apgd_steps", "fab_steps", "queries")))
    attacks = [name.strip() for name in options.pop("attacks").split(",") if name.strip()]
    found = attack_files(attacks=attacks, effort=effort, **options)
    if arguments.json:
        _print_figures(arguments, found)


def _add_verify(verbs: Verbs) -> None:
    parser = verbs.add(
        "verify",
        "check the adversarial points that nls attack wrote",
        "nls verify points.npz --model my_net.py:network --weights w.pt",
        _verify,
    )
    parser.add_argument("points", type=Path, metavar="FILE.npz", help="what --save-adversarial wrote")
    parser.add_argument("--model", required=True, metavar="FILE.py:FACTORY", help="as for nls attack")
    parser.add_argument("--weights", type=Path, required=True, metavar="PATH", help="as for nls attack")
    parser.add_argument("--weights-key", metavar="KEY", help="as for nls attack")
    parser.add_argument(
        "--data-root",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help="folder of the datasets; default: %(default)s",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto, the default, takes a GPU if there is one",
    )
    parser.add_argument(
        "--batch-size", type=integer(1), default=250, metavar="N", help="images at once; default: %(default)s"
    )


def _verify(arguments: argparse.Namespace) -> None:
    from nls.attacks.command import check_file

    check_file(**_options(arguments))


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
        type=integer(16, 4096),
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
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto, the default, takes a GPU if there is one",
    )
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="S", help="of all random draws; default: %(default)s"
    )


def _reconstruct(arguments: argparse.Namespace) -> None:
    from nls.experiments.reconstruct_file import reconstruct_file

    reconstruct_file(**_options(arguments))


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
        type=integer(16, 4096),
        default=384,
        metavar="R",
        help="nodes of the grid along an axis; default: %(default)s",
    )
    parser.add_argument("--keep-largest", action="store_true", help="drop all pieces but the largest")
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto, the default, takes a GPU if there is one",
    )


def _mesh(arguments: argparse.Namespace) -> None:
    from nls.experiments.reconstruct_file import mesh_network_file

    mesh_network_file(**_options(arguments))


def _add_compare(verbs: Verbs) -> None:
    parser = verbs.add(
        "compare",
        "print every measure of a mesh against the truth",
        "nls compare mesh.ply truth.ply",
        _compare,
        figures=True,
    )
    parser.add_argument("mesh", type=Path, metavar="A", help="a mesh")
    parser.add_argument("truth", type=Path, metavar="B", help="the truth: a mesh or points")
    parser.add_argument(
        "--points",
        type=integer(1, 100_000_000),
        default=30_000,
        metavar="N",
        help="samples of each surface; default: %(default)s",
    )
    parser.add_argument(
        "--f-share",
        type=number(0, 1, above=True),
        default=0.0025,
        metavar="SHARE",
        help="distance that the F-score counts as near, as a share of the diagonal of B's box; default: %(default)s",
    )
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="S", help="of all random draws; default: %(default)s"
    )


def _compare(arguments: argparse.Namespace) -> None:
    from nls.experiments.reconstruct_file import compare_files

    _print_figures(arguments, compare_files(**_options(arguments)))


def _add_chamfer(verbs: Verbs) -> None:
    parser = verbs.add(
        "chamfer",
        "print the Chamfer distances of two meshes",
        "nls chamfer mesh.ply truth.ply",
        _chamfer,
        figures=True,
    )
    parser.add_argument("first", type=Path, metavar="A", help="PLY, OBJ, STL, OFF or GLB")
    parser.add_argument("second", type=Path, metavar="B", help="the other")
    parser.add_argument(
        "--points",
        type=integer(1, 100_000_000),
        default=30_000,
        metavar="N",
        help="samples of each surface; default: %(default)s",
    )
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="S", help="of all random draws; default: %(default)s"
    )


def _chamfer(arguments: argparse.Namespace) -> None:
    from nls.experiments.reconstruct_file import chamfer_files

    _print_figures(arguments, chamfer_files(**_options(arguments)))


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


def _add_table(verbs: Verbs) -> None:
    parser = verbs.add(
        "table",
        "make a table from a suite's run directories",
        "nls table table1 --suite smoke",
        _table,
        figures=True,
    )
    parser.add_argument("name", metavar="TABLE", help="figure2, table1, table2 …; a wrong name lists all")
    parser.add_argument(
        "--suite", type=suite, required=True, help="a suite that was run, or whose reference is in git"
    )


def _table(arguments: argparse.Namespace) -> None:
    from nls.reporting.products import make_table

    table = make_table(arguments.name, arguments.suite)
    written = table.write()
    if arguments.json:
        _print_figures(arguments, table.figures())
    else:
        print(table.text(shutil.get_terminal_size((100, 24)).columns))
    for path in written:
        print(f"wrote {path}")


def _add_figure(verbs: Verbs) -> None:
    parser = verbs.add(
        "figure", "make a figure from a suite's run directories", "nls figure figure2 --suite smoke", _figure
    )
    parser.add_argument("name", metavar="FIGURE", help="figure1, figure2, figure3 …; a wrong name lists all")
    parser.add_argument(
        "--suite", type=suite, required=True, help="a suite that was run, or whose reference is in git"
    )


def _figure(arguments: argparse.Namespace) -> None:
    from nls.reporting.products import write_figure

    for path in write_figure(arguments.name, arguments.suite):
        print(f"wrote {path}")


def _add_report(verbs: Verbs) -> None:
    parser = verbs.add(
        "report", "gather a suite's tables and figures on one page", "nls report --suite smoke", _report
    )
    parser.add_argument(
        "--suite", type=suite, required=True, help="a suite that was run: a folder of results/"
    )


def _report(arguments: argparse.Namespace) -> None:
    from nls.reporting.report import write_report

    print(f"wrote {write_report(arguments.suite)}")


def _add_status(verbs: Verbs) -> None:
    parser = verbs.add(
        "status", "tell how far a suite's runs are", "nls status --suite smoke", _status, figures=True
    )
    parser.add_argument(
        "--suite", type=suite, required=True, help="a suite that was run: a folder of results/"
    )


def _status(arguments: argparse.Namespace) -> None:
    from nls.reporting.status import suite_status

    found = suite_status(arguments.suite)
    if arguments.json:
        _print_figures(arguments, found.figures())
    else:
        print(found.text())


def _add_keep(verbs: Verbs) -> None:
    parser = verbs.add("keep", "file a suite's complete runs as the reference in git", "nls keep mini", _keep)
    parser.add_argument(
        "suite", type=suite, metavar="SUITE", help="a suite that was run: a folder of results/"
    )


def _keep(arguments: argparse.Namespace) -> None:
    from nls.reporting.keep import keep

    for line in keep(arguments.suite):
        print(line)


def _add_doctor(verbs: Verbs) -> None:
    parser = verbs.add(
        "doctor",
        "tell what would stop a suite here, and what it will cost",
        "nls doctor --suite smoke",
        _doctor,
        figures=True,
    )
    parser.add_argument(
        "--suite", type=suite, default="paper", help="a config of config/; default: %(default)s"
    )


def _doctor(arguments: argparse.Namespace) -> None:
    from nls.experiments.doctor import examine

    found = examine(arguments.suite, os.environ.get("NLS_MIRROR") or None)
    if arguments.json:
        _print_figures(arguments, found)
    for finding in found["findings"]:
        if finding["stops"]:
            raise UserError(f"{finding['subject']}: {finding['found']}")


if __name__ == "__main__":
    sys.exit(main())
