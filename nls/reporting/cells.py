"""How numbers stand in tables: with equal places down a column, differences with their sign."""

from collections.abc import Sequence

from nls.reporting.statistics import Spread

# Of 0, of numbers from 1 on, and of a spread.
_PLACES = 2


def column_texts(cells: Sequence[object]) -> list[str]:
    """Return the cells of a column as texts, its numbers with equal places.

    These are as many as the smallest number needs for four digits, and two where all are 0 or at least 1. Numbers
    below 0.0001 stand as 1.2e-05, whatever the places of the others.
    """
    needed = [_places(cell) for cell in cells if isinstance(cell, float) and not _is_tiny(cell)]
    needed += [_PLACES for cell in cells if isinstance(cell, Spread)]
    places = max(needed, default=0)
    return [_text(cell, places) for cell in cells]


def signed(value: float) -> str:
    """Return a number with its sign, a true minus; 0.00 has none."""
    text = f"{value:+.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", "−")


def is_number(text: str) -> bool:
    """Tell whether a cell begins with a number, whatever follows; an empty one, in a column of numbers, does too."""
    return text == "" or text.lstrip("−-+")[:1].isdigit()


def _places(number: float) -> int:
    if number == 0 or abs(number) >= 1:
        return _PLACES
    return len(f"{number:.4g}".partition(".")[2])


def _text(cell: object, places: int) -> str:
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:.4g}" if _is_tiny(cell) else f"{cell:.{places}f}"


def _is_tiny(number: float) -> bool:
    return 0 < abs(number) < 1e-4
