"""Worker processes: kept, watched, killed over their limits, replaced; none outlives the batch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batch_cases import log_of, make_batch, make_folder, make_task
from batch_work import WORK

import flows.batch.drive
from flows.batch.batch import carry_out
from flows.batch.executor import Limits
from flows.batch.local import LocalExecutor, run_limited
from flows.batch.manifest import Manifest
from flows.batch.supervise import Supervised


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(flows.batch.drive, "BACKOFF", 0.01)


@pytest.fixture
def worker():
    worker = Supervised(WORK)
    yield worker
    worker.stop()


def folder_of(tmp_path):
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    return tmp_path / "a" / "b" / "c"


def test_a_worker_is_kept_and_its_memory_told(worker, tmp_path):
    folder = folder_of(tmp_path)
    first, second = (worker.run(make_task(id, folder)) for id in ("one", "two"))
    assert first.status == second.status == "done" and first.quality["frames"] == 8
    assert first.rss_mb > 5 and first.peak_mb >= first.rss_mb


def test_a_worker_that_has_grown_is_replaced_between_episodes(worker, tmp_path):
    folder = folder_of(tmp_path)
    sizes = [worker.run(make_task(id, folder)).rss_mb for id in ("one", "leak", "two")]
    assert sizes[1] > sizes[0] + 250 and abs(sizes[2] - sizes[0]) < 50


@pytest.mark.parametrize(
    ("id", "status", "error"),
    [
        ("slow", "timeout", "took longer than 0.5 s"),
        ("big", "memory", "allowed are 0.5"),
        ("crash", "killed", "SIGABRT"),
    ],
)
def test_over_a_limit_it_is_killed_and_replaced(worker, tmp_path, id, status, error):
    folder = folder_of(tmp_path)
    limits = Limits(0.5 if id == "slow" else 20.0, 0.5)
    start = time.monotonic()
    outcome = worker.run(make_task(id, folder, limits))
    assert outcome.status == status and error in outcome.error and time.monotonic() - start < 15
    assert outcome.retry == (status == "killed")
    assert worker.run(make_task("next", folder)).status == "done"


def test_stop_ends_a_task_under_way(tmp_path):
    folder = folder_of(tmp_path)
    executor = LocalExecutor(1, work=WORK)
    executor.submit(make_task("slow", folder))
    time.sleep(0.5)
    start = time.monotonic()
    executor.close()
    executor.close()
    assert time.monotonic() - start < 5 and next(executor.results()).status == "killed"


def test_work_that_is_not_there_is_an_outcome(tmp_path):
    worker = Supervised("no_such_module:work")
    outcome = worker.run(make_task("a", folder_of(tmp_path)))
    assert outcome.status == "killed" and "exit code 1" in outcome.error


def test_a_batch_on_two_processes_with_all_kinds_of_trouble(tmp_path):
    names = [f"e{i}" for i in range(10)] + ["bad", "flaky", "crash", "slow"]
    folder, out = make_folder(tmp_path / "data", *names), tmp_path / "out"
    batch = make_batch(folder, out, limits=Limits(2.0), retries=1)
    told = carry_out(batch, lambda: LocalExecutor(2, work=WORK, logs=out / "logs"))
    assert (told.done, told.failed, told.retried) == (11, 3, 2)
    assert told.causes == {"no robot": 1, "worker process lost": 1, "over the time limit": 1}
    assert sorted(set(log_of(out))) == sorted([f"{n}.mp4 1" for n in names] + ["crash.mp4 2", "flaky.mp4 2"])
    assert "Fatal Python error" in "".join(p.read_text() for p in (out / "logs").iterdir())


def test_what_a_cluster_calls_works_from_threads(tmp_path):
    outcome = run_limited(make_task("a", folder_of(tmp_path)), work=WORK)
    assert outcome.status == "done"


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from batch_cases import make_batch
from batch_work import WORK
from flows.batch.batch import carry_out
from flows.batch.local import LocalExecutor
batch = make_batch(Path(sys.argv[1]), Path(sys.argv[2]))
carry_out(batch, lambda: LocalExecutor(2, work=WORK))  # no main guard
"""


def run_script(folder, out):
    here = str(Path(__file__).parent)
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder), str(out), here], stderr=subprocess.PIPE)


@pytest.mark.slow
def test_killed_at_a_moment_it_goes_on_where_it_was(tmp_path):
    names = [f"wait{i}" for i in range(12)]
    folder, out = make_folder(tmp_path / "data", *names), tmp_path / "out"
    process = run_script(folder, out)
    while len(Manifest(out / "manifest")) < 3:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    recorded = len(Manifest(out / "manifest"))
    begun = len(log_of(out))
    again = run_script(folder, out)
    _, errors = again.communicate(timeout=240)
    assert again.returncode == 0, errors
    rows = list(Manifest(out / "manifest").latest(["status"]))
    assert len(Manifest(out / "manifest")) == 12 and len(rows) == 12 and {r["status"] for r in rows} == {"done"}
    assert begun - recorded <= 3 and len(log_of(out)) <= 12 + 3  # at most what was under way is done again


ALONE = """
import sys
sys.path.insert(0, sys.argv[1])
from batch_work import WORK
from flows.batch.executor import EpisodeTask, Settings
from flows.batch.local import LocalExecutor
executor = LocalExecutor(2, work=WORK)
for number in range(2):
    executor.submit(EpisodeTask("slow", "", None, None, sys.argv[2] + "/a/b/c", "", Settings(), ""))
list(executor.results())
"""


def test_workers_do_not_outlive_a_killed_batch(tmp_path):
    here = str(Path(__file__).parent)
    process = subprocess.Popen([sys.executable, "-c", ALONE, here, str(tmp_path)])
    while len(log_of(tmp_path / "a")) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    workers = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and parent_of(p) == process.pid]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < end:
        time.sleep(0.1)
    assert len(workers) == 2 and not any(Path(f"/proc/{pid}").exists() for pid in workers)


def parent_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
