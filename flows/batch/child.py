"""The program of a worker process: takes tasks from a socket it inherits, and answers with outcomes.

`python -m flows.batch.child FD WORK`: FD is the socket, WORK names the function that does a task ("module:function").
It is started by `flows.batch.supervise`, ends when the socket closes, and never outlives the process that started it.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from dataclasses import replace
from multiprocessing.connection import Connection

from flows.batch.executor import EpisodeTask, Outcome

READY = "ready"


def main(fd: int, work: str) -> None:
    """Serve tasks until the socket closes."""
    parent = os.getppid()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _write("/proc/self/oom_score_adj", "800")  # where memory runs out, the system ends a worker, not the batch
    module, _, name = work.partition(":")
    function = getattr(importlib.import_module(module), name)
    with Connection(fd) as connection:
        connection.send(READY)
        while True:
            try:
                task: EpisodeTask = connection.recv()
            except EOFError:
                return
            _write("/proc/self/clear_refs", "5")  # the peak of memory counts from here
            outcome: Outcome = function(task)
            peak, resident = _memory()
            connection.send(replace(outcome, peak_mb=peak, rss_mb=resident))


def _end_with(parent: int) -> None:
    """A process whose parent was killed works for nobody."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError:
        pass  # not Linux, or not allowed: only less comfort


def _memory() -> tuple[float, float]:
    """The most and the present resident memory of this process in MiB; 0 where the system does not tell.

    Both come from one reading: the process still grows, and of two readings the later can exceed the earlier's peak.
    """
    try:
        with open("/proc/self/status") as file:
            said = dict(line.split(":", 1) for line in file)
        return int(said["VmHWM"].split()[0]) / 1024, int(said["VmRSS"].split()[0]) / 1024
    except (OSError, KeyError):
        return 0.0, 0.0


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
