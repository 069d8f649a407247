"""How far a batch is, on stderr: a bar with rate and time left on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flows.batch.report import span
from flows.progress import listening

EVERY = 30.0  # seconds between two lines
WINDOW = 1800.0  # seconds over which a bar's rate is taken: episodes take minutes


@contextmanager
def batch_progress(quiet: bool = False) -> Iterator[None]:
    """Show what `flows.progress.report` tells of "episodes" within the block."""
    if quiet:
        yield
    elif sys.stderr.isatty():
        yield from _bar()
    else:
        yield from _lines()


def _lines() -> Iterator[None]:
    start = last = time.monotonic()

    def show(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done and (now - last >= EVERY or done == total):
            last = now
            print(progress_line(done, total, now - start), file=sys.stderr, flush=True)

    with listening(show):
        yield


def progress_line(done: int, total: int, seconds: float) -> str:
    """Done so far, the rate, and the time left at that rate."""
    rate = done / max(seconds, 1e-9)
    return f"urdfit: {done} of {total} episodes, {rate_text(rate)}, {span((total - done) / rate)} left"


def rate_text(rate: float) -> str:
    """Episodes a second as people say it."""
    if rate >= 1:
        return f"{rate:.1f}/s"
    return f"{rate * 60:.1f}/min" if rate * 60 >= 1 else f"{rate * 3600:.1f}/h"


def _bar() -> Iterator[None]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed
    from rich.progress import TimeRemainingColumn as Remaining
    from rich.text import Text

    class Rate(ProgressColumn):
        """Episodes a second, minute or hour."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if not speed else rate_text(speed), style="progress.data.speed")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), Elapsed(), Remaining())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=False, speed_estimate_period=WINDOW) as progress:
        task = progress.add_task("episodes", total=None)
        with listening(lambda stage, done, total: progress.update(task, completed=done, total=total or None)):
            yield
