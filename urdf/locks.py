"""One process at a time, by a lock that the system drops when its holder dies."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt

    def _take(stream: IO[bytes]) -> None:
        stream.seek(0)
        try:
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError from error
else:
    try:
        import fcntl
    except ImportError:  # a system without file locks
        fcntl = None  # type: ignore[assignment]

    def _take(stream: IO[bytes]) -> None:
        if fcntl is None:
            raise OSError("no file locks here")
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked(path: Path, waiting: str) -> Iterator[bool]:
    """Hold the lock of a file, which stays behind empty.

    Args:
        path: the lock file; its folder exists.
        waiting: said once on stderr when another process holds the lock.

    Yields:
        Whether the lock is held: some file systems have none, and the caller goes on without.
    """
    with path.open("ab") as stream:
        said = False
        while True:
            try:
                _take(stream)
                held = True
            except BlockingIOError:
                if not said:
                    print(f"urdfit: {waiting}", file=sys.stderr, flush=True)
                    said = True
                time.sleep(0.1)
                continue
            except OSError:
                held = False
            break
        yield held
