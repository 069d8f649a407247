"""Tables in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

TEXT_WIDTH = 100  # columns of running text
PIPE_WIDTH = 120  # columns where the output goes into a file


def table(*columns: str) -> Table:
    """An empty table with these columns."""
    from rich import box
    from rich.table import Table

    empty = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        empty.add_column(column, overflow="fold")
    return empty


def print_table(filled: Table) -> None:
    """Print a table as wide as the terminal; a pipe has no width of its own and folds nothing below 120."""
    import shutil

    from rich.console import Console

    console = Console()
    width = None if console.is_terminal else max(PIPE_WIDTH, shutil.get_terminal_size((PIPE_WIDTH, 40)).columns)
    Console(width=width).print(filled)


def wrapped(text: str, first: str = "", rest: str = "") -> str:
    """The text broken into lines of 100 columns between words; `first` and `rest` are put before the lines."""
    import textwrap

    return textwrap.fill(
        text, TEXT_WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
