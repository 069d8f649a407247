"""Episodes for `benchmarks.batch`: tiny clips of a Panda, and the job on them without the two slow computations.

`tiny` is the real worker's function with stand-ins for segmentation (by grey value) and fit (the truth is known), so
that what remains is all the rest: reading, hashing, stages, files, overlay, report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from flows.batch.executor import EpisodeTask, Outcome

FRAMES, ARM, GRIPPER = 4, 230, 30
TINY = "benchmarks.batch_work:tiny"


def make_clips(folder: Path, count: int, frames: int = FRAMES) -> Path:
    """A folder of `count` clips of 160x120 with their camera, all different."""
    from flows.drawing import part_image
    from flows.files import write_json
    from flows.job import robot_of
    from flows.overlay import VideoWriter
    from flows.sample import sample_camera, sample_motion

    folder.mkdir(parents=True, exist_ok=True)
    robot, camera = robot_of("panda"), sample_camera().scaled(0.25)
    parts = [part_image(robot, q, camera) for q in sample_motion(frames)[0]]
    for number in range(count):
        ground = np.random.default_rng(number).integers(90, 150, (120, 160, 3), dtype=np.uint8)
        with VideoWriter(folder / f"clip{number:04d}.mp4", 10.0, crf=10) as writer:
            for part in parts:
                image = ground.copy()
                image[part == 0], image[part == 1] = ARM, GRIPPER
                writer.write(image)
    write_json(folder / "cam.json", camera.to_dict())
    return folder


class ByGrey:
    """A segmenter for these clips alone."""

    def track(self, frames: Iterable[np.ndarray], prompts: Any = (), parts: Any = ()) -> Iterator[tuple[int, dict]]:
        """Index and probability of each part, frame by frame."""
        for index, image in enumerate(frames):
            arm, gripper = image.min(2) > 190, image.max(2) < 60
            masks = {"arm": arm, "gripper": gripper, "robot": arm | gripper}
            yield index, {part: mask.astype(np.float32) for part, mask in masks.items()}


def _truth(robot: Any, masks: Any, **options: Any) -> Any:
    """What the clips were drawn from, as if it had been fitted."""
    from flows.sample import sample_camera, sample_motion
    from pose import Trajectory

    count, n = len(options["times"]), len(robot.joint_names)
    return Trajectory(
        joint_names=robot.joint_names,
        q=sample_motion(max(count, 2))[0][:count],
        sigma=np.full((count, n), 0.01),
        observable=np.ones((count, n), bool),
        iou=np.full(count, 0.95),
        valid=np.ones(count, bool),
        camera=replace(sample_camera().scaled(0.25)),
        camera_sigma=np.full(6, 0.002),
        focal_sigma=1.0,
        mask_offset=0.5,
        solved=("joints", "gripper"),
    )


@cache
def _stand_in() -> None:
    import pose
    import segmentation

    segmentation.load_segmenter = lambda name="default", device=None: ByGrey()  # type: ignore[assignment]
    pose.fit_video = _truth  # type: ignore[assignment]


def tiny(task: EpisodeTask) -> Outcome:
    """The worker's function with stand-ins."""
    from flows.batch.worker import run_task

    _stand_in()
    return run_task(task)
