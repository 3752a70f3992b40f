"""Tables for a terminal, as text."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from frbench.harness.reporting.tables.rendering import Table

_WIDTH = 160  # columns of output that goes to a file or a pipe
_WHOLE = 12  # characters of a value that is never folded, such as a number
_CUT = 2_000  # characters of one value


def terminal_text(parts: Sequence[str | Table]) -> str:
    """Sentences and tables one below the other, as wide as the terminal.

    The result is text, so that a closed pipe, as after ``| head``, ends the command as in any other verb.
    """
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    with console.capture() as captured:
        for part in parts:
            if isinstance(part, str):
                console.print(Text(printable(part)), soft_wrap=not sys.stdout.isatty())
            else:
                console.print(Text(printable(part.title), style="bold"))
                console.print(_grid(part))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _grid(table: Table) -> Grid:
    grid = Grid(show_edge=False, pad_edge=False)
    for place, name in enumerate(table.header):
        longest = max((len(row[place].text) for row in table.rows), default=0)
        grid.add_column(Text(printable(name)), overflow="fold", min_width=longest if longest <= _WHOLE else None)
    for row in table.rows:
        grid.add_row(*(Text(printable(cell.text)) for cell in row))
    return grid


def printable(text: str) -> str:
    """``text`` cut to 2,000 characters, with every control character but a line break as an escape."""
    cut = text if len(text) <= _CUT else f"{text[:_CUT]} …"
    return "".join(each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in cut)
