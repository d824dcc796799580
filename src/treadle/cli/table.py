"""A table on the standard output: with rich on a terminal, in plain columns elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_COLOURS = {"ok": "green", "limited": "yellow", "off": "red"}


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print the rows under their head; the last column may be long.

    Example:
        >>> print_table(("name", "state"), [("jobs", "3 items")])
        name  state
        jobs  3 items
    """
    if sys.stdout.isatty():
        try:
            _print_rich(head, rows)
        except ImportError:  # it is an extra, treadle[ui]
            pass
        else:
            return
    rows = [[_written(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _written(cell: str) -> str:
    """The cell as it comes out, which is longer if the output escapes some of its letters."""
    try:
        encoding = sys.stdout.encoding or "utf-8"
        return cell.encode(encoding, sys.stdout.errors or "strict").decode(encoding)
    except UnicodeError:
        return cell


def _print_rich(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*head, box=SIMPLE)
    for row in rows:
        table.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
    Console().print(table)
