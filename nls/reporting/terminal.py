"""Tables for a terminal: no wider than it is, what rows share said once, long notes folded."""

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

import pandas as pd

from nls.reporting.cells import is_number

_GAP = "  "
# Lines of a column's head: its name, and the source below.
_HEADS = 2


def terminal_text(frame: pd.DataFrame, notes: Sequence[str], width: int) -> str:
    """Return a table of texts and its notes in lines of at most ``width`` columns, as far as a cell is not wider.

    A column with one value in all rows is told above the table. What a column's name has in brackets (its source)
    goes below the name. A table that is too wide goes on in further blocks, each with the columns that name a row:
    those in front of the first one with a source. Where these leave no room for another, rows that agree in the first
    of them become a table of their own.
    """
    lines = ["No run is complete."] if frame.empty else _table(frame, width)
    lines += [""] if notes else []
    for note in notes:
        lines += textwrap.wrap(note, max(width, 20), initial_indent="- ", subsequent_indent="  ")
    return "\n".join(lines)


def _table(frame: pd.DataFrame, width: int) -> list[str]:
    """Return the lines of a table, or of one table after another."""
    shared = [
        name for name in frame if len(frame) > 1 and frame[name].nunique() == 1 and frame[name].iloc[0] != ""
    ]
    shown = frame.drop(columns=shared)
    lines = [f"{name}: {frame[name].iloc[0]}" for name in shared]
    lines += [""] if shared and len(shown.columns) else []
    columns = [_lines_of(str(name), list(shown.iloc[:, place])) for place, name in enumerate(shown.columns)]
    names = next((place for place, name in enumerate(shown.columns) if " (" in str(name)), 1)
    if not _leave_room(columns, names, width) and len(groups := _groups(shown)) <= len(shown) / 2:
        tables = [_table(group, width) for group in groups]
        return lines + [line for table in tables for line in ("", *table)][1:]
    while names > 1 and not _leave_room(columns, names, width):
        names -= 1
    for number, block in enumerate(_blocks(columns, names, width)):
        lines += [""] if number else []
        texts = [_GAP.join(cells).rstrip() for cells in zip(*block, strict=True)]
        lines += [text for text in texts[:_HEADS] if text] + texts[_HEADS:]
    return lines


def _groups(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the rows that agree in the first column, in the order of its values, without columns that are empty."""
    groups = [group for _, group in frame.groupby(frame.columns[0], sort=False)]
    return [group.loc[:, (group != "").any()] for group in groups]


def _lines_of(name: str, cells: Sequence[str]) -> list[str]:
    """Return a column as lines of equal width: two of its head, a rule, and its cells; numbers stand to the right."""
    title, _, source = name.partition(" (")
    head = [title, source.removesuffix(")")]
    width = max(_width(text) for text in (*head, *cells))
    right = all(map(is_number, cells))
    padded = [_padded(text, width, right) for text in (*head, *cells)]
    return [*padded[:_HEADS], "─" * width, *padded[_HEADS:]]


def _leave_room(columns: Sequence[list[str]], names: int, width: int) -> bool:
    """Tell whether any further column fits beside the first ``names``."""
    return all(_total([*columns[:names], column]) <= width for column in columns[names:])


def _blocks(columns: Sequence[list[str]], names: int, width: int) -> Iterator[list[list[str]]]:
    """Share the columns out into blocks that fit; the first ``names`` stand in each."""
    block = list(columns[:names])
    for column in columns[names:]:
        if len(block) > names and _total([*block, column]) > width:
            yield block
            block = list(columns[:names])
        block.append(column)
    if block:
        yield block


def _total(columns: Sequence[list[str]]) -> int:
    return sum(_width(column[0]) for column in columns) + len(_GAP) * (len(columns) - 1)


def _padded(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes: marks above a letter take none, wide letters two."""
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
    )
