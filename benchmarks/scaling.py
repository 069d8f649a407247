"""What a batch costs: seconds, memory and bytes of every stage on real video, and what that makes of large data sets.

    python -m benchmarks.scaling [--data ../shared/data] [--threads 1] [--repeat 1] [--price 0.04] [--out costs.json]
    python -m benchmarks.scaling --from costs.json      # only the tables, from figures measured before

Clips of a real recording (franka_pusht_3cam: a Franka, 54 Hz, HEVC) are cut to several lengths at 30 frames/s and two
sizes, and go through one worker process as a batch's episodes do: nothing known but the robot. Costs are seconds of a
core: a stage's seconds by the clock, times what share of the episode's the processor worked (over 1 where an encoder
has threads), so that other work on the machine hardly counts. A stage's cost is taken as a + b * frames, by least
squares over the lengths; the larger size gives the factor for it. The first episode of a worker (loading, compiling)
is told apart.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import av
import numpy as np

FPS = 30.0
SMALL, LARGE = (480, 270), (1280, 720)
LENGTHS = (60, 300)  # frames of the small clips; the large one has the first length
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


def cut(recording: Path, out: Path, frames: int, size: tuple[int, int]) -> None:
    """The first frames of a recording at FPS, scaled, as H.264."""
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
    if written < frames:
        raise SystemExit(f"{recording}: only {written} frames; {frames} are needed")


def measure(recording: Path, folder: Path, threads: int, repeat: int) -> Iterator[Measured]:
    """The clips one after the other in one worker process; the first comes twice, the first time cold."""
    from flows.batch.executor import DONE, EpisodeTask, Settings
    from flows.batch.supervise import Supervised

    videos = folder / "videos"
    videos.mkdir()
    worker = Supervised(threads=threads, log=folder / "worker.log")
    before = 0.0
    plan = [(LENGTHS[0], SMALL), *[(n, SMALL) for n in LENGTHS for _ in range(repeat)], *[(LENGTHS[0], LARGE)] * repeat]
    for number, (frames, size) in enumerate(plan):
        name = f"{number}.mp4"
        cut(recording, videos / name, frames, size)
        out = folder / f"episode-{number}"
        task = EpisodeTask(
            name, str(videos), "videos", "panda", str(out), str(folder / "work"), Settings(), f"{number}"
        )
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
    """Seconds of a clip's stage: `fixed` + `per_frame` * frames, times `large` at the larger size."""

    fixed: float
    per_frame: float
    large: float

    def of(self, corpus: Corpus) -> float:
        share = np.clip((corpus.width - SMALL[0]) / (LARGE[0] - SMALL[0]), 0, 1)
        return (self.fixed + self.per_frame * corpus.frames) * float(1 + share * (self.large - 1))


def costs(measured: list[Measured]) -> dict[str, Cost]:
    """The cost of each stage, and of `rest`: hashing, looking, writing; the first, cold clip is left out."""
    warm = measured[1:]
    small = [m for m in warm if m.width == SMALL[0]]
    found = {}
    for stage in (*STAGES, "rest"):
        seconds = {id(m): m.seconds.get(stage, m.total - sum(m.seconds.values())) for m in warm}
        A = np.array([[1.0, m.frames] for m in small])
        fixed, slope = np.linalg.lstsq(A, np.array([seconds[id(m)] for m in small]), rcond=None)[0]
        fixed, slope = max(fixed, 0.0), max(slope, 0.0)
        large = [seconds[id(m)] / max(fixed + slope * m.frames, 1e-3) for m in warm if m.width == LARGE[0]]
        found[stage] = Cost(float(fixed), float(slope), float(np.mean(large)))
    return found


def show_measured(measured: list[Measured]) -> None:
    print(f"\n| clip | {' | '.join(STAGES)} | rest | in all | by the clock, s | peak memory, MB |")
    print("|---" * (len(STAGES) + 5) + "|")
    for number, m in enumerate(measured):
        rest = m.total - sum(m.seconds.values())
        name = f"{m.frames} frames, {m.width} wide" + (", the worker's first" if number == 0 else "")
        values = [m.seconds[s] for s in STAGES] + [rest, m.total, m.clock]
        print(f"| {name} | {' | '.join(f'{v:.2f}' for v in values)} | {m.peak_mb:.0f} |")


def show_corpus(corpus: Corpus, measured: list[Measured], price: float) -> None:
    by_stage = {stage: cost.of(corpus) for stage, cost in costs(measured).items()}
    total = sum(by_stage.values())
    nearest = max((m for m in measured if abs(m.width - corpus.width) < 100), key=lambda m: m.frames)
    scale = corpus.frames / nearest.frames  # sizes grow with the frames
    print(f"\n{corpus.name}\n\n| stage | s a clip | share | core hours |\n|---|---|---|---|")
    for stage, seconds in by_stage.items():
        print(f"| {stage} | {seconds:.2f} | {seconds / total:.0%} | {seconds * corpus.clips / 3600:,.0f} |")
    hours = total * corpus.clips / 3600
    print(f"| in all | {total:.2f} | | {hours:,.0f} |")
    print(f"\n{hours * price:,.0f} at {price:g} a core hour; days on 2, 64, 1,024 cores: "
          + ", ".join(f"{hours / 24 / n:,.1f}" for n in (2, 64, 1024)))  # fmt: skip
    print(f"read {nearest.source_bytes * scale * corpus.clips / 1e12:,.2f} TB")
    print("\n| left behind | TB | million files |\n|---|---|---|")
    for kind, (size, files) in sorted(nearest.sizes.items(), key=lambda item: -item[1][0]):
        count = round(files * (scale if kind == "masks" else 1)) * corpus.clips
        print(f"| {kind} | {size * scale * corpus.clips / 1e12:,.2f} | {count / 1e6:,.1f} |")


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
