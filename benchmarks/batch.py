"""Batches: overhead, scaling, memory, kills, corrupt inputs.

    OMP_NUM_THREADS=1 python -m benchmarks.batch overhead [--episodes 200] [--runner prefect|dask|ray]
    OMP_NUM_THREADS=1 python -m benchmarks.batch scaling [--episodes 12]        whole jobs, 1 and 2 workers
    OMP_NUM_THREADS=1 python -m benchmarks.batch memory [--episodes 200] [--whole]
    OMP_NUM_THREADS=1 python -m benchmarks.batch kills [--episodes 40] [--kills 5]
    OMP_NUM_THREADS=1 python -m benchmarks.batch corrupt

overhead, kills and corrupt use tiny clips with stand-ins for segmentation and fit, see `benchmarks.batch_work`; scaling
and `memory --whole` do the real thing. Everything is made in a temporary folder, or in --work.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.batch_work import TINY, make_clips
from flows.batch.batch import BatchReport, carry_out
from flows.batch.local import LocalExecutor, Pool
from flows.batch.manifest import Manifest
from flows.batch.run import finish, make_batch
from flows.batch.supervise import WORK
from flows.episode import load_episode

if TYPE_CHECKING:
    from flows.batch.cluster import ClusterExecutor
from flows.errors import user_errors


def once(folder: Path, out: Path, work: str = TINY, workers: int = 1, reports: bool = True) -> BatchReport:
    """A batch of the folder's clips."""
    batch = make_batch(folder, "panda", out, episode_reports=reports)
    return finish(carry_out(batch, lambda: LocalExecutor(workers, work=work, logs=out / "logs")))


def rows_of(out: Path) -> list[dict]:
    """All rows of a batch's manifest."""
    return Manifest(out / "manifest").table().to_pylist()


def overhead(work: Path, episodes: int, runner: str) -> None:
    """Seconds an episode beyond its stages, and beyond the worker's function; one worker."""
    folder = make_clips(work / "clips", episodes)
    start = time.perf_counter()
    if runner == "local":
        told = once(folder, work / "out", reports=False)
    else:
        from flows.batch.prefect_batch import PrefectExecutor  # first: it gives Prefect's server longer to start

        batch = make_batch(folder, "panda", work / "out", episode_reports=False)
        from prefect import flow

        @flow(name="benchmark")
        def run() -> BatchReport:
            nonlocal start
            executor: PrefectExecutor | ClusterExecutor
            if runner == "prefect":
                executor = PrefectExecutor(Pool(1, work=TINY))
            else:  # a cluster takes long to start, and does so once
                executor = cluster(runner)
                print(f"{runner}: started in {time.perf_counter() - start:.1f} s")
                start = time.perf_counter()
            return finish(carry_out(batch, lambda: executor))

        told = run()
    wall = time.perf_counter() - start
    rows = rows_of(work / "out")
    stages = sum(seconds for row in rows for _, seconds in row["stages_s"])
    function = sum(row["total_s"] for row in rows)
    begin = time.perf_counter()
    again = once(folder, work / "out", reports=False)
    resumed = time.perf_counter() - begin
    print(f"{told.summary()}; {runner}")
    print(f"wall {wall:.1f} s, stages {stages:.1f} s, the worker's function {function:.1f} s")
    print(f"beyond the stages {1000 * (wall - stages) / episodes:.0f} ms an episode (aim 300), start included")
    print(f"beyond the worker's function {1000 * (wall - function) / episodes:.0f} ms")
    print(f"again, with nothing to do: {resumed:.1f} s")
    assert again.before == episodes


def cluster(runner: str) -> ClusterExecutor:
    """A cluster on this machine with one worker."""
    if runner == "dask":
        from flows.batch.dask_runner import DaskExecutor

        return DaskExecutor(work=TINY)
    from flows.batch.ray_runner import RayExecutor

    return RayExecutor(work=TINY)


def scaling(work: Path, episodes: int) -> None:
    """Whole jobs on one worker and on two, one thread each."""
    folder = make_clips(work / "clips", episodes, frames=8)
    walls = {}
    for workers in (1, 2):
        start = time.perf_counter()
        told = once(folder, work / f"out{workers}", WORK, workers)
        walls[workers] = time.perf_counter() - start
        fits = [dict(row["stages_s"])["fit"] for row in rows_of(work / f"out{workers}")]
        print(f"{workers} workers: {told.summary()}; wall {walls[workers]:.1f} s, median fit {np.median(fits):.1f} s")
    print(f"speed-up {walls[1] / walls[2]:.2f} (aim 1.6)")


def memory(work: Path, episodes: int, whole: bool) -> None:
    """Resident memory of a worker after each of its episodes."""
    folder = make_clips(work / "clips", episodes)
    once(folder, work / "out", WORK if whole else TINY)
    rss = np.array([row["rss_mb"] for row in rows_of(work / "out")])
    marks = sorted({0, 9, len(rss) // 4, len(rss) // 2, 3 * len(rss) // 4, len(rss) - 1} & set(range(len(rss))))
    print("after episode: " + ", ".join(f"{mark + 1}: {rss[mark]:.0f} MiB" for mark in marks))
    half = rss[len(rss) // 2 :]
    slope = np.polyfit(np.arange(len(half)), half, 1)[0]
    print(f"{len(rss)} episodes; in the second half {1000 * slope:+.0f} KiB an episode")


CHILD = """
import sys
from pathlib import Path
from benchmarks.batch import once
once(Path(sys.argv[1]), Path(sys.argv[2]), workers=2)
"""


def kills(work: Path, episodes: int, count: int, seed: int) -> None:
    """Kill a batch (its parent, or a worker of it) at random moments; then let it end and count."""
    folder, out, rng = make_clips(work / "clips", episodes), work / "out", random.Random(seed)
    killed = 0
    while killed < count:
        process = subprocess.Popen([sys.executable, "-c", CHILD, str(folder), str(out)])
        before = len(Manifest(out / "manifest"))
        while process.poll() is None and len(Manifest(out / "manifest")) <= before:
            time.sleep(0.05)  # until it is at work
        time.sleep(rng.uniform(0.0, 3.0))
        if process.poll() is not None:
            print("it ended before it could be killed; more --episodes are needed")
            break
        victims = [process.pid] if killed % 2 == 0 else children(process.pid)
        os.kill(rng.choice(victims), signal.SIGKILL)
        killed += 1
        if killed % 2 == 0:  # a worker: the batch itself must go on
            time.sleep(1.0)
            assert process.poll() is None, "the batch died with its worker"
            process.kill()
        process.wait()
        print(f"kill {killed}: {len(Manifest(out / 'manifest'))} rows")
    told = once(folder, out, workers=2)
    done = Counter(row["id"] for row in rows_of(out) if row["status"] == "done")
    whole = sum(len(load_episode(path)) > 0 for path in (out / "episodes").iterdir())
    print(f"{told.summary()}; rows done {len(done)}, twice {sum(n > 1 for n in done.values())}, whole folders {whole}")
    hidden = [p.name for p in (out / "episodes").iterdir() if p.name.startswith(".")]
    print(f"lost {episodes - len(done)}, left half-done {len(hidden)}, in work/ {len(list((out / 'work').glob('*')))}")
    assert len(done) == whole == episodes and set(done.values()) == {1}


def children(pid: int) -> list[int]:
    """Processes that a process started."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Cut, with bytes changed, with a piece doubled or gone, or noise."""
    how, at = rng.randrange(5), rng.randrange(len(data))
    if how == 0:
        return data[:at]
    if how == 1:
        out = bytearray(data)
        for _ in range(rng.randrange(1, 40)):
            out[rng.randrange(len(out))] = rng.randrange(256)
        return bytes(out)
    if how == 2:
        return data[:at] + data[at + rng.randrange(1, 400) :]
    if how == 3:
        return data[:at] + data[max(0, at - 300) :]
    return rng.randbytes(rng.randrange(3000))


def corrupt(work: Path, seed: int) -> None:
    """20 mutated videos among good ones; 20 mutated tables; 20 mutated manifests of a finished batch."""
    rng = random.Random(seed)
    folder = make_clips(work / "clips", 5)
    good = (folder / "clip0000.mp4").read_bytes()
    for number in range(20):
        (folder / f"mutated{number:02d}.mp4").write_bytes(mutated(good, rng))
    told = once(folder, work / "out", workers=2)
    print(f"videos: {told.summary()}; {json.dumps(told.causes, indent=1)}")
    assert told.left == 0 and "worker process lost" not in told.causes
    text = "video,id,camera\n" + "".join(f"clip{n:04d}.mp4,e{n},cam.json\n" for n in range(5))
    ends: Counter[str] = Counter()
    table = folder / "episodes.csv"
    for _ in range(20):
        table.write_bytes(mutated(text.encode(), rng))
        ends[attempt(lambda: once(table, Path(tempfile.mkdtemp(dir=work)) / "out", reports=False))] += 1
    print(f"tables: {dict(ends)}")
    ends.clear()
    clean = {p: p.read_bytes() for p in (work / "out" / "manifest").glob("rows-*")}
    for _ in range(20):
        path = rng.choice(list(clean))
        path.write_bytes(mutated(clean[path], rng))
        ends[attempt(lambda: once(folder, work / "out"))] += 1
        assert len({row["id"] for row in rows_of(work / "out")}) == 25
        for file in (work / "out" / "manifest").glob("*-*"):
            file.unlink()
        for file, data in clean.items():
            file.write_bytes(data)
    print(f"manifests: {dict(ends)}")


def attempt(run) -> str:  # type: ignore[no-untyped-def]
    """How a batch ended: with a report, or refused in one line. Anything else is raised: a crash."""
    try:
        told = run()
        return "ran" if told.left == 0 else "ran in part"
    except user_errors() as error:
        assert "\n" not in str(error)
        return "refused"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["overhead", "scaling", "memory", "kills", "corrupt"])
    parser.add_argument("--episodes", type=int)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runner", choices=["local", "prefect", "dask", "ray"], default="local")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--work", type=Path)
    a = parser.parse_args()
    work = a.work or Path(tempfile.mkdtemp(prefix="urdfit-batch-"))
    if a.what == "overhead":
        overhead(work, a.episodes or 200, a.runner)
    elif a.what == "scaling":
        scaling(work, a.episodes or 12)
    elif a.what == "memory":
        memory(work, a.episodes or 200, a.whole)
    elif a.what == "kills":
        kills(work, a.episodes or 40, a.kills, a.seed)
    else:
        corrupt(work, a.seed)


if __name__ == "__main__":
    main()
