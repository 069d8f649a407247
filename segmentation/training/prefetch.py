"""Batches made by a thread while the network trains on the ones before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LOOK = 0.2  # seconds after which a waiting thread looks whether it is still wanted


@contextmanager
def prefetched(make: Callable[[int], Any], start: int, stop: int, ahead: int) -> Iterator[Iterator[Any]]:
    """make(start), ..., make(stop - 1) in order, up to `ahead` of them made before they are asked for.

    An exception of `make` is raised where its result is asked for. The thread ends with the context.
    """
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(maxsize=ahead)
    ended = threading.Event()

    def put(item: tuple[Any, BaseException | None]) -> bool:
        while not ended.is_set():
            try:
                ready.put(item, timeout=LOOK)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        for i in range(start, stop):
            try:
                item = make(i), None
            except BaseException as error:
                put((None, error))
                return
            if not put(item):
                return

    def take() -> Iterator[Any]:
        for _ in range(start, stop):
            item, error = ready.get()
            if error is not None:
                raise error
            yield item

    thread = threading.Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        ended.set()
        thread.join()
