"""Progress bars: stages report (stage, done, total); the listener is set around the work, not passed in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Report = Callable[[str, int, int], None]


def _silent(stage: str, done: int, total: int) -> None:
    """Nobody is watching."""


_listener: ContextVar[Report] = ContextVar("urdfit_progress", default=_silent)


def report(stage: str, done: int, total: int) -> None:
    """Tell whoever listens how far a stage is; total 0 = unknown."""
    _listener.get()(stage, done, total)


@contextmanager
def listening(listener: Report) -> Iterator[None]:
    """Send progress to `listener` within the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def progress_bars(quiet: bool = False) -> Iterator[None]:
    """One bar a stage on stderr, with frames/s and time left; nothing when quiet or not on a terminal."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Units a second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:6.1f}/s", style="progress.data.speed")

    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False) as progress:
        tasks: dict[str, object] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total or None)
            progress.update(tasks[stage], completed=done, total=total or None)  # type: ignore[arg-type]

        with listening(show):
            yield
