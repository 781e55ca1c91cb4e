"""What stands on a command line, checked before anything else happens."""

import argparse
import math
from collections.abc import Callable
from fractions import Fraction
from typing import NoReturn

from nls.errors import one_line

# Above this neither NumPy's nor the attacks' random numbers can be seeded.
LARGEST_SEED = 2**32 - 1


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the complaint and exit with code 2."""
        self.exit(2, f"{one_line(f'{self.prog}: {message}')}; see {self.prog} --help\n")


def integer(least: int, most: int = 10**9) -> Callable[[str], int]:
    """Return a reader of whole numbers from ``least`` to ``most``."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{_short(text)} is no whole number") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{_short(text)} is not from {least} to {most}")
        return value

    return read


def number(least: float, most: float, *, above: bool = False) -> Callable[[str], float]:
    """Return a reader of numbers, and of fractions such as 8/255, from ``least`` (or above it) to ``most``."""

    def read(text: str) -> float:
        try:
            value = float(Fraction(text)) if "/" in text else float(text)
        except (ValueError, ZeroDivisionError, OverflowError):
            raise argparse.ArgumentTypeError(f"{_short(text)} is no number") from None
        if not math.isfinite(value) or not least <= value <= most or (above and value == least):
            start = f"above {least:g}" if above else f"from {least:g}"
            raise argparse.ArgumentTypeError(f"{_short(text)} is not {start} to {most:g}")
        return value

    return read


def seed(text: str) -> int:
    """Read the seed of random numbers."""
    return integer(0, LARGEST_SEED)(text)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
