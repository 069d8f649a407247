"""A worker process kept for many tasks, watched: over its time or its memory it is killed and replaced.

A process of its own, because nothing else can end a computation in C, give memory back, or survive a crash. It is
started with `subprocess` rather than `multiprocessing`: that works from any thread, from daemonic processes (Dask's
workers are) and from scripts without a main guard.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from flows.batch.child import READY
from flows.batch.executor import KILLED, MEMORY, TIMEOUT, EpisodeTask, Outcome

WORK = "flows.batch.worker:run_task"
POLL = 0.2  # seconds between looks at time and memory
START = 300.0  # seconds that a worker may take to load its libraries
GROWTH = (
    200.0  # MiB beyond the first task's end: libraries leak (Rerun 1.4 an episode), and a fresh process costs seconds
)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_PROGRAM = (sys.executable, "-P", "-X", "faulthandler", "-m", "flows.batch.child")  # -P: no module from the folder
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Supervised:
    """One worker process. Not for two threads at a time, except `stop`.

    Args:
        work: "module:function" that turns an EpisodeTask into an Outcome.
        threads: for its libraries; None leaves the environment as it is.
        log: file for what it prints; None = thrown away.
    """

    def __init__(self, work: str = WORK, threads: int | None = None, log: Path | None = None) -> None:
        self._work, self._threads, self._log = work, threads, log
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._stopped = False
        self._settled = 0.0  # MiB of memory after the process' first task

    def run(self, task: EpisodeTask) -> Outcome:
        """Do a task within its limits; a process that had to be killed is replaced at the next one."""
        begun = time.time()
        try:
            if self._process is None or self._process.poll() is not None:
                self._start()
            assert self._connection is not None
            self._connection.send(task)
            outcome = self._watch(task)
            self._settled = self._settled or outcome.rss_mb
            if outcome.rss_mb > self._settled + GROWTH:
                self._end()  # replaced at the next task
            return outcome
        except (EOFError, OSError) as error:
            code = self._end(patience=2.0)
            reason = _reason(code) if code is not None else f"could not be started: {error}"
            return _outcome(task, KILLED, f"its worker process ended ({reason})", begun)

    def stop(self) -> None:
        """End the process, whatever it is doing, from any thread; a `run` under way returns KILLED."""
        self._stopped = True
        process = self._process
        if process is not None:
            _kill(process)

    def _watch(self, task: EpisodeTask) -> Outcome:
        assert self._connection is not None and self._process is not None
        start, peak = time.monotonic(), 0.0
        limits = task.limits
        while not self._connection.poll(POLL):
            spent = time.monotonic() - start
            peak = max(peak, resident_gigabytes(self._process.pid))
            if limits.seconds is not None and spent > limits.seconds:
                self._end()
                return _outcome(task, TIMEOUT, f"took longer than {limits.seconds:g} s", time.time() - spent, peak)
            if limits.gigabytes is not None and peak > limits.gigabytes:
                self._end()
                return _outcome(task, MEMORY, f"used {peak:.1f} GB of memory; allowed are {limits.gigabytes:g}",
                                time.time() - spent, peak)  # fmt: skip
        return self._connection.recv()

    def _start(self) -> None:
        """Raises OSError where the system gives no process, EOFError where that does not come up."""
        self._end()
        self._settled = 0.0
        if self._stopped:
            raise EOFError
        ours, theirs = socket.socketpair()
        environment = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
        if self._threads is not None:
            environment |= {name: str(self._threads) for name in THREADS}
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        output: IO[bytes] | int = subprocess.DEVNULL
        with contextlib.ExitStack() as stack:
            stack.enter_context(theirs)
            if self._log is not None:
                self._log.parent.mkdir(parents=True, exist_ok=True)
                output = stack.enter_context(open(self._log, "ab"))
            self._process = subprocess.Popen(
                [*_PROGRAM, str(theirs.fileno()), self._work],
                pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                process_group=0,  # an interrupt from the keyboard is the parent's to handle
            )  # fmt: skip
        self._connection = Connection(ours.detach())
        if self._stopped or not self._connection.poll(START) or self._connection.recv() != READY:
            raise EOFError

    def _end(self, patience: float = 0.0) -> int | None:
        """Kill the process and what it started, once it has had `patience` seconds to end; its exit code."""
        process, self._process = self._process, None
        connection, self._connection = self._connection, None
        code = None
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
            _kill(process)
            code = process.wait()
        if connection is not None:
            connection.close()
        return code


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _reason(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"{name}, as when memory runs out or somebody kills it" if name == "SIGKILL" else name


def _outcome(task: EpisodeTask, status: str, error: str, begun: float, peak: float = 0.0) -> Outcome:
    return Outcome(
        task.id,
        status,
        error=error,
        cause={TIMEOUT: "over the time limit", MEMORY: "over the memory limit", KILLED: "worker process lost"}[status],
        retry=status == KILLED,
        total=time.time() - begun,
        worker=socket.gethostname(),
        peak_mb=peak * 1e9 / 2**20,
        started=begun,
        attempt=task.attempt,
    )


def resident_gigabytes(pid: int) -> float:
    """Resident memory of a process, 1e9 bytes; 0 where the system does not tell."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * _PAGE / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
