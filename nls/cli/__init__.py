"""The command line: a file for the verbs of a subject, one verb a function, each a thin call into the package.

Heavy imports stay inside the verbs, so that ``nls --help`` and a Snakemake dry run answer at once.
"""

import argparse
import errno
import importlib.metadata
import sys
from collections.abc import Sequence

from nls.arguments import Parser, Verbs
from nls.cli import benchmarks, classifiers, data, surfaces
from nls.cli.streams import output_of, patient_output, stoppable
from nls.engine.memory import keep_freed_memory
from nls.engine.user_code import raised_in_user_code
from nls.errors import Interrupted, NlsError, RunError, memory_lacked, one_line

# Why a file or folder cannot be made.
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return 0, or print one line and return 2 (bad input), 1 (it cannot go on), 128 + signal."""
    keep_freed_memory()
    with patient_output(), stoppable():
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
    arguments.result_to = sys.stdout
    try:
        with output_of(arguments):
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
    classifiers.add_verbs(verbs)
    surfaces.add_verbs(verbs)
    verbs.group("data")
    data.add_verbs(verbs)
    verbs.group("the benchmarks, mostly called by Snakemake")
    benchmarks.add_verbs(verbs)
    parser.description = f"Controlling Neural Level Sets: its methods and its benchmarks.\n\n{verbs.text()}"
    parser.epilog = "nls VERB --help tells what a verb takes, with an example."
    parser.set_defaults(verb=lambda arguments: _without_verb(arguments, parser, verbs))
    return parser


def _without_verb(arguments: argparse.Namespace, parser: Parser, verbs: Verbs) -> None:
    print(verbs.completion(arguments.completion) if arguments.completion else parser.format_help())
