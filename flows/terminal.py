"""Tables in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

TEXT_WIDTH = 100  # columns of running text


def table(*columns: str) -> Table:
    """An empty table with these columns."""
    from rich import box
    from rich.table import Table

    empty = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        empty.add_column(column, overflow="fold")
    return empty


def print_table(filled: Table) -> None:
    """Print a table as wide as the terminal; into a pipe or a file nothing is folded, so that it can be searched."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console()
    if not console.is_terminal:
        unbounded = Console(width=100_000)
        console = Console(width=Measurement.get(unbounded, unbounded.options, filled).maximum)
    console.print(filled)


def wrapped(text: str, first: str = "", rest: str = "") -> str:
    """The text broken into lines of 100 columns between words; `first` and `rest` are put before the lines."""
    import textwrap

    return textwrap.fill(
        text, TEXT_WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
