"""Exporting: how far the actions are from the truth, how fast it is, and what a kill -9 leaves.

    urdfit demo --out demo
    python -m benchmarks.export demo --work DIR [--episodes 24] [--kills 6]

Actions: the demo's fitted episode against its truth, for several widths of smoothing. Speed: the demo's episode,
copied with small changes. Kills: an appending export of these is killed at random moments; afterwards the data set must
be whole each time, and in the end hold every episode once.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from flows.datasets import SourceEpisode, open_dataset
from flows.episode import load_episode, write_episode
from flows.evaluation import load_truth
from flows.exporting.action_extraction import ExtractionSettings, extract
from flows.exporting.action_quality import judge
from flows.exporting.job import export_lerobot
from flows.exporting.settings import ExportSettings
from flows.files import read_json
from flows.job import robot_of
from urdf.reference import end_effector_poses

# blocks of three episodes, so that kills fall on all parts of one
CHILD = """
import sys, flows.exporting.lerobot as blocks
blocks.BLOCK_EPISODES = 3
from flows.cli import main
sys.exit(main(sys.argv[1:]))
"""


def actions(demo: Path) -> None:
    """Errors of the seven numbers a frame, by the width of smoothing."""
    episode = load_episode(demo / "episode")
    robot = robot_of(episode.robot)
    truth, _ = load_truth(demo / "truth.json")
    poses = end_effector_poses(robot, np.array(truth["q"], float))
    step = np.diff(poses[:, :3, 3], axis=0)
    print(f"median true step {1000 * np.median(np.linalg.norm(step, axis=1)):.1f} mm")
    for half_window in (0.0, 0.1, 0.15, 0.2, 0.3):
        settings = ExtractionSettings(half_window=half_window)
        (clip,) = extract(episode, robot, settings)
        error = np.linalg.norm(clip.actions[:-1, :3] - step[clip.frame[:-1]], axis=1)
        cutoff = settings.smoothing["cutoff_hz"]
        print(
            f"smoothing {half_window:.2f} s (cut-off {cutoff and round(cutoff, 1)} Hz, lag 0): error of a step, median "
            f"{1000 * np.median(error):.2f} mm, 95 % {1000 * np.quantile(error, 0.95):.2f} mm; "
            f"score {judge(episode, [clip]).score:.2f}"
        )


def copies(demo: Path, work: Path, count: int) -> Path:
    """Episodes that differ a little, with the demo's masks and video."""
    base, rng = load_episode(demo / "episode"), np.random.default_rng(0)
    out = work / "episodes"
    for i in range(count):
        folder = write_episode(replace(base, q=base.q + rng.normal(0, 1e-3, base.q.shape)), out / f"e{i:03d}")
        if not (folder / "masks").exists():
            (folder / "masks").symlink_to((demo / "episode" / "masks").absolute())
    return out


def whole(out: Path) -> int:
    """Episodes of a data set, once it is clear that its description, rows, videos and masks agree."""
    info = read_json(out / "meta" / "info.json")
    rows = sum(pq.read_metadata(p).num_rows for p in out.glob("data/*/*.parquet"))
    masks = sum(pq.read_metadata(p).num_rows for p in out.glob("urdfit/masks/*/*.parquet"))
    assert rows == masks == info["total_frames"], (rows, masks, info["total_frames"])
    episodes = list(open_dataset(out))
    assert len(episodes) == info["total_episodes"] and all(isinstance(e, SourceEpisode) for e in episodes)
    for path in out.glob("videos/*/*/*.mp4"):
        assert path.stat().st_size > 0
    last = episodes[-1]
    assert isinstance(last, SourceEpisode) and sum(1 for _ in last.view().open()) == 64
    return len(episodes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--episodes", type=int, default=24)
    parser.add_argument("--kills", type=int, default=6)
    arguments = parser.parse_args()
    actions(arguments.demo)
    episodes = copies(arguments.demo, arguments.work, arguments.episodes)
    few = sorted(episodes.iterdir())[:8]
    for name, images in (("with pictures and masks", True), ("rows only", False)):
        start = time.perf_counter()
        done = export_lerobot(few, arguments.work / f"speed_{images}", ExportSettings(images=images, masks=images))
        seconds, rows = time.perf_counter() - start, sum(o.rows for o in done)
        print(f"{name}: {rows / seconds:.0f} rows/s, {seconds / len(few):.2f} s an episode of 64 frames 640x480")
    out, rng, killed, ends = arguments.work / "killed", np.random.default_rng(1), 0, []
    command = [sys.executable, "-c", CHILD, "export", str(episodes), "--out", str(out), "--append", "--quiet"]
    while True:
        process = subprocess.Popen(command)
        try:
            code = process.wait(rng.uniform(3.0, 9.0) if killed < arguments.kills else None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
            ends.append(whole(out) if out.exists() else 0)
            continue
        assert code == 0, code
        break
    count = whole(out)
    digests = pq.read_table(sorted(out.glob("urdfit/episodes/*/*.parquet")))["digest"].to_pylist()
    assert count == len(set(digests)) == arguments.episodes, (count, len(set(digests)))
    left = [p.name for p in arguments.work.iterdir() if p.name.startswith(".killed")]
    print(f"{killed} kills, whole after each with {ends} episodes; in the end {count}, none twice; left behind: {left}")


if __name__ == "__main__":
    main()
