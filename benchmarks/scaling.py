"""What a batch costs: seconds, memory and bytes of every stage on real video, and what that makes of large data sets.

    python -m benchmarks.scaling [--data ../shared/data] [--threads 1] [--repeat 1] [--price 0.04] [--out costs.json]
    python -m benchmarks.scaling --from costs.json      # only the tables, from figures measured before

Clips of a real recording (franka_pusht_3cam: a Franka, HEVC) are cut to several lengths at 30 frames/s and two
sizes, and go through one worker process as a batch's episodes do: nothing known but the robot. Costs are seconds of a
core: a stage's seconds by the clock, times what share of the episode's the processor worked (over 1 where an encoder
has threads), so that other work on the machine hardly counts. Seconds, bytes and files are taken as a + b * frames,
by least squares over the lengths; the larger size gives a factor. The first episode of a worker (loading, compiling)
is told apart.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import av
import numpy as np

FPS = 30.0
SMALL, LARGE = (480, 270), (1280, 720)
LENGTHS = (60, 300)  # frames of the small clips, at most: the recording has 268; the large one has the first length
RECORDING = "franka_pusht_3cam/examples/embodied_environments/pusht_embodied/sample_demos/0/videos/234222303707.mp4"
STAGES = ("segment", "fit", "actions", "report")


@dataclass(frozen=True)
class Measured:
    """One clip. seconds: of a core, by stage. total: of the whole episode. clock: the same by the clock. peak_mb: of
    the worker's memory. sizes: bytes and files of what is left, by kind."""

    frames: int
    width: int
    source_bytes: int
    seconds: dict[str, float]
    total: float
    clock: float
    peak_mb: float
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Corpus:
    """A data set to be priced: `clips` of `frames` frames at a width of about `width` pixels."""

    name: str
    clips: int
    frames: int
    width: int


CORPORA = (
    Corpus("1,000 hours of a lab's recordings: 180,000 episodes of 20 s at 15 frames/s, 480x270", 180_000, 300, 480),
    Corpus("1,000,000 internet clips of 10 s at 30 frames/s, 1280x720", 1_000_000, 300, 1280),
)


def cut(recording: Path, out: Path, frames: int, size: tuple[int, int]) -> int:
    """The first frames of a recording at FPS, scaled, as H.264; how many there were, up to `frames`."""
    with av.open(str(recording)) as source, av.open(str(out), "w") as target:
        stream = target.add_stream("libx264", rate=round(FPS), options={"crf": "20", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        written = 0
        for frame in source.decode(video=0):
            if frame.time * FPS < written:
                continue
            picture = av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24", width=size[0], height=size[1]))
            target.mux(stream.encode(picture))
            written += 1
            if written == frames:
                break
        target.mux(stream.encode(None))
    return written


def measure(recording: Path, folder: Path, threads: int, repeat: int) -> Iterator[Measured]:
    """The clips one after the other in one worker process; the first comes twice, the first time cold."""
    from flows.batch import supervise
    from flows.batch.executor import DONE, EpisodeTask, Settings

    supervise.GROWTH = math.inf  # a worker that is replaced on the way would be cold again
    videos = folder / "videos"
    videos.mkdir()
    worker = supervise.Supervised(threads=threads, log=folder / "worker.log")
    before = 0.0
    plan = [(LENGTHS[0], SMALL), *[(n, SMALL) for n in LENGTHS for _ in range(repeat)], *[(LENGTHS[0], LARGE)] * repeat]
    for number, (most, size) in enumerate(plan):
        name = f"{number}.mp4"
        frames = cut(recording, videos / name, most, size)
        out, work = folder / f"episode-{number}", folder / f"work-{number}"  # work of its own: nothing is done already
        task = EpisodeTask(name, str(videos), "videos", "panda", str(out), str(work), Settings(), f"{number}")
        outcome = worker.run(task)
        if outcome.status != DONE:
            raise SystemExit(f"{frames} frames, {size[0]}x{size[1]}: {outcome.status}: {outcome.error}")
        after = core_seconds(int(outcome.worker.rpartition(":")[2]))
        spent, before = after - before, after
        stages = {stage: outcome.seconds[stage] * spent / outcome.total for stage in STAGES}
        source = (videos / name).stat().st_size
        yield Measured(frames, size[0], source, stages, spent, outcome.total, outcome.peak_mb, sizes_of(out))
    worker.stop()


def core_seconds(pid: int) -> float:
    """What a process has used of the processor, in itself and in the system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def sizes_of(episode: Path) -> dict[str, tuple[int, int]]:
    """(bytes on disk, files) by kind: bytes in blocks of 4096, as file systems give them."""
    sizes: dict[str, tuple[int, int]] = {}
    for path in episode.rglob("*"):
        if path.is_file():
            kind = path.relative_to(episode).parts[0]
            size, count = sizes.get(kind, (0, 0))
            sizes[kind] = size + -(-path.stat().st_size // 4096) * 4096, count + 1
    return sizes


@dataclass(frozen=True)
class Cost:
    """What a clip needs (seconds, bytes, files): `fixed` + `per_frame` * frames, times `large` at the larger size."""

    fixed: float
    per_frame: float
    large: float

    def of(self, corpus: Corpus) -> float:
        share = np.clip((corpus.width - SMALL[0]) / (LARGE[0] - SMALL[0]), 0, 1)
        return (self.fixed + self.per_frame * corpus.frames) * float(1 + share * (self.large - 1))


def cost(measured: list[Measured], value: Callable[[Measured], float]) -> Cost:
    """How something grows with frames and size; the first, cold clip is left out."""
    small = [m for m in measured[1:] if m.width == SMALL[0]]
    A = np.array([[1.0, m.frames] for m in small])
    fixed, slope = np.linalg.lstsq(A, np.array([value(m) for m in small]), rcond=None)[0]
    fixed, slope = max(float(fixed), 0.0), max(float(slope), 0.0)
    large = [value(m) / max(fixed + slope * m.frames, 1e-3) for m in measured[1:] if m.width == LARGE[0]]
    return Cost(fixed, slope, float(np.mean(large)))


def spent_in(stage: str) -> Callable[[Measured], float]:
    """Seconds of a stage, or of `rest`: hashing, looking, writing."""
    return lambda m: m.seconds[stage] if stage in m.seconds else m.total - sum(m.seconds.values())


def left_in(kind: str, which: int) -> Callable[[Measured], float]:
    """Bytes (0) or files (1) of a kind."""
    return lambda m: m.sizes.get(kind, (0, 0))[which]


def show_measured(measured: list[Measured]) -> None:
    print(f"\n| clip | {' | '.join(STAGES)} | rest | in all | by the clock, s | peak memory, MB |")
    print("|---" * (len(STAGES) + 5) + "|")
    for number, m in enumerate(measured):
        rest = m.total - sum(m.seconds.values())
        name = f"{m.frames} frames, {m.width} wide" + (", the worker's first" if number == 0 else "")
        values = [m.seconds[s] for s in STAGES] + [rest, m.total, m.clock]
        print(f"| {name} | {' | '.join(f'{v:.2f}' for v in values)} | {m.peak_mb:.0f} |")


def show_corpus(corpus: Corpus, measured: list[Measured], price: float) -> None:
    by_stage = {stage: cost(measured, spent_in(stage)).of(corpus) for stage in (*STAGES, "rest")}
    total = sum(by_stage.values())
    print(f"\n{corpus.name}\n\n| stage | s a clip | share | core hours |\n|---|---|---|---|")
    for stage, seconds in by_stage.items():
        print(f"| {stage} | {seconds:.2f} | {seconds / total:.0%} | {seconds * corpus.clips / 3600:,.0f} |")
    hours = total * corpus.clips / 3600
    print(f"| in all | {total:.2f} | | {hours:,.0f} |")
    print(f"\n{hours * price:,.0f} at {price:g} a core hour; days on 2, 64, 1,024 cores: "
          + ", ".join(f"{hours / 24 / n:,.1f}" for n in (2, 64, 1024)))  # fmt: skip
    read = cost(measured, lambda m: m.source_bytes).of(corpus)
    print(f"read {read * corpus.clips / 1e12:,.2f} TB")
    print("\n| left behind | MB a clip | TB | files a clip | million files |\n|---|---|---|---|---|")
    rows = []
    for kind in {kind for m in measured for kind in m.sizes}:
        size, files = (cost(measured, left_in(kind, which)).of(corpus) for which in (0, 1))
        rows.append((size, files, kind))
    rows.sort(reverse=True)
    for size, files, kind in [*rows, (sum(row[0] for row in rows), sum(row[1] for row in rows), "in all")]:
        many = f"{files:,.0f} | {files * corpus.clips / 1e6:,.1f}"
        print(f"| {kind} | {size / 1e6:,.2f} | {size * corpus.clips / 1e12:,.2f} | {many} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--threads", type=int, default=1, help="of the worker")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each clip")
    parser.add_argument("--price", type=float, default=0.04, help="of a core for an hour, in any currency")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    parser.add_argument("--from", dest="before", type=Path, help="JSON file of an earlier run: only print the tables")
    arguments = parser.parse_args()
    if arguments.before:
        measured = [Measured(**entry) for entry in json.loads(arguments.before.read_text())]
    else:
        with tempfile.TemporaryDirectory(prefix="urdfit-scaling-") as folder:
            measured = []
            for one in measure(arguments.data / RECORDING, Path(folder), arguments.threads, arguments.repeat):
                measured.append(one)
                print(f"{one.frames} frames, {one.width} wide: {one.total:.1f} s of a core", flush=True)
        if arguments.out:
            arguments.out.write_text(json.dumps([asdict(one) for one in measured]))
    show_measured(measured)
    for corpus in CORPORA:
        show_corpus(corpus, measured, arguments.price)


if __name__ == "__main__":
    main()
