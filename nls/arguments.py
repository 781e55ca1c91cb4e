"""What stands on a command line, checked before anything else happens."""

import argparse
import math
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

from nls.engine.limits import LARGEST_SEED
from nls.errors import one_line, shortened


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self.paths: list[argparse.Action] = []

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        """Add an argument, and note it where it is a path."""
        action = super().add_argument(*names, **options)
        if options.get("type") is Path:
            self.paths.append(action)
        return action

    def error(self, message: str) -> NoReturn:
        """Print the complaint and exit with code 2."""
        self.exit(2, f"{one_line(f'{self.prog}: {message}')}; see {self.prog} --help\n")


class Verbs:
    """The verbs of a command line, in groups.

    Args:
        parser: the parser whose verbs they are.
        metavar: what its usage calls a verb.
        required: whether the parser cannot go without one.
    """

    def __init__(self, parser: Parser, metavar: str, *, required: bool = False) -> None:
        self._actions = parser.add_subparsers(
            metavar=metavar, required=required, parser_class=Parser, prog=parser.prog
        )
        self._title = ""
        self.groups: dict[str, dict[str, str]] = {}
        self.parsers = [parser]

    def group(self, title: str) -> None:
        """Begin a group of verbs, which :meth:`text` tells and argparse does not."""
        self._title = title
        self._actions.help = argparse.SUPPRESS

    def add(
        self, name: str, help: str, example: str, do: Callable[[Any], None] | None, *, result: bool = False
    ) -> Parser:
        """Add a verb and return its parser.

        Args:
            name: the word that is typed.
            help: what it does, in a line that begins in lower case.
            example: a command that can be copied.
            do: what carries it out; None for a verb with verbs of its own.
            result: whether it can print its result as JSON.
        """
        self.groups.setdefault(self._title, {})[name] = help
        parser: Parser = self._actions.add_parser(
            name,
            help=help,
            description=f"{help[0].upper()}{help[1:]}.",
            epilog=f"example:\n  {example}",
        )
        self.parsers.append(parser)
        if do is not None:
            parser.set_defaults(verb=do)
            parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but complaints")
            if result:
                parser.add_argument(
                    "--json", action="store_true", help="print the figures as JSON, only them"
                )
        return parser

    def text(self) -> str:
        """Return the verbs and what they do, group by group."""
        width = max(len(name) for group in self.groups.values() for name in group) + 2
        return "\n\n".join(
            "\n".join([f"{title}:", *(f"  {name:<{width}}{help}" for name, help in group.items())])
            for title, group in self.groups.items()
        )

    def completion(self, shell: str) -> str:
        """Return what a shell reads to complete the command line."""
        import shtab

        self._actions.help = None
        for parser in self.parsers:
            for action in parser.paths:
                vars(action)["complete"] = shtab.FILE
        return str(shtab.complete(self.parsers[0], shell))


def integer(least: int, most: int = 10**9) -> Callable[[str], int]:
    """Return a reader of whole numbers from ``least`` to ``most``."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{shortened(text)!r} is no whole number") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{shortened(text)!r} is not from {least} to {most}")
        return value

    return read


def number(least: float, most: float, *, above: bool = False) -> Callable[[str], float]:
    """Return a reader of numbers, and of fractions such as 8/255, from ``least`` (or above it) to ``most``."""

    def read(text: str) -> float:
        try:
            value = float(Fraction(text)) if "/" in text else float(text)
        except (ValueError, ZeroDivisionError, OverflowError):
            raise argparse.ArgumentTypeError(f"{shortened(text)!r} is no number") from None
        if not math.isfinite(value) or not least <= value <= most or (above and value == least):
            start = f"above {least:g}" if above else f"from {least:g}"
            raise argparse.ArgumentTypeError(f"{shortened(text)!r} is not {start} to {most:g}")
        return value

    return read


def seed(text: str) -> int:
    """Read the seed of random numbers."""
    return integer(0, LARGEST_SEED)(text)


def check_configs_of_snakemake(words: Sequence[str]) -> None:
    """Stop with a line where a word after ``--configfile`` is no file.

    Snakemake takes every word after that option for a config, a target too, and ends in a traceback where it cannot
    open one. It has read nothing by then but its profile, which calls this.

    Args:
        words: those after ``snakemake`` on its command line.

    Raises:
        SystemExit: with the line; Snakemake would bury any other exception under its usage.
    """
    for place, option in enumerate(words):
        if option in ("--configfile", "--configfiles"):
            for word in takewhile(lambda word: not word.startswith("-"), words[place + 1 :]):
                if not Path(word).exists():
                    raise SystemExit(
                        f"nls: {option} {shortened(word)!r}: no such file; a target goes before {option}, "
                        f"or write {option}=FILE"
                    )


def suite_or_config(text: str) -> str:
    """Read the name of a suite, or the path of its YAML file."""
    return text if text.endswith((".yaml", ".yml")) else suite(text)


def suite(text: str) -> str:
    """Read the name of a suite, which is one of a folder and of a config file."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", text):
        raise argparse.ArgumentTypeError(f"{shortened(text)!r} is no name of a suite")
    return text
