"""The first stage of a run: masks of every frame. Reads a video and fills a folder; no Prefect here.

    segment   video                    -> masks/{robot,arm,gripper}/00000.png, frames.json

The key is the hash of all that the result depends on: contents, settings that concern it, and the code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.errors import FlowError
from flows.files import sha256_json, sha256_path, write_json
from flows.job import Job, link_names
from flows.progress import report
from flows.store import code_version

if TYPE_CHECKING:
    from segmentation.segmenter import Segmenter

CODE = code_version("segmentation", "flows/segmenting.py")
MIN_ROBOT_SHARE = 0.001  # of the picture: less than this is noise, not a robot


def segment_key(job: Job) -> str:
    """Video, and either the masks given or the segmenter."""
    return sha256_json(
        {
            "code": CODE,
            "video": job.video_hash(),
            "fps": job.fps,
            "masks": None if job.masks is None else sha256_path(job.masks),
            "links": link_names(job.robot) if job.masks is not None else (),
            "weights": _weights_id(job) if job.masks is None else None,
            "prompts": [_prompt_id(kind, text) for kind, text in job.prompts],
        }
    )


def _weights_id(job: Job) -> list[Any]:
    """The content of the weights' file, whatever name it goes by, the parts asked of it, and what computes them."""
    from segmentation.segmenter import default_device
    from segmentation.weights_store import DEFAULT_WEIGHTS, content_hash, find

    file = find(job.weights)
    several = ["several"] if job.weights == "several" else []
    return [content_hash(file), _parts(job), "cpu" if file == DEFAULT_WEIGHTS else default_device(), *several]


def _parts(job: Job) -> tuple[str, ...]:
    """The parts to compute: the built-in network gives all of them at the price of one."""
    from segmentation.weights_store import DEFAULT_WEIGHTS, find

    return () if find(job.weights) == DEFAULT_WEIGHTS else job.parts


def _prompt_id(kind: str, text: str) -> list[str]:
    """A prompt as it is written; of a mask the content counts, not the path."""
    from segmentation.prompts import mask_path

    if kind != "mask":
        return [kind, text]
    file = mask_path(text)
    return [kind, text.removesuffix(file), sha256_path(file)]


def segment_stage(job: Job, out: Path) -> None:
    """Write the masks of every frame, and what is needed of the video later.

    Raises:
        VideoError, MaskError, WeightsError: an input that cannot be used.
        FlowError: no robot in any frame.
    """
    from segmentation import write_mask

    links = link_names(job.robot) if job.masks is not None else ()
    shares: dict[int, float] = {}
    reader = job.open()
    source = _given_masks(job) if job.masks is not None else _found_masks(job)
    report("segment", 0, reader.frame_count or 0)
    times: list[float] = []
    for times, index, masks in source:  # noqa: B007  (whole after the last frame)
        for part, mask in masks.items():
            write_mask(out / "masks", part, index, mask, links)
        if links and "robot" not in masks and set(masks) & set(links):  # all that comes later looks at the robot
            write_mask(out / "masks", "robot", index, np.maximum.reduce(list(masks.values())))
        shares[index] = float(np.maximum.reduce([m > 0 for m in masks.values()]).mean())
        report("segment", len(shares), max(reader.frame_count or 0, len(shares)))
    areas = [shares[index] for index in sorted(shares)]
    if not areas or max(areas) < MIN_ROBOT_SHARE:
        best = f"the largest mask covers {max(areas):.2%} of the picture" if areas else "it has no frames"
        what = "with these masks" if job.masks is not None else f"by the weights {job.weights!r}"
        raise FlowError(
            f"{job.video}: no robot found in any of {len(areas)} frames {what} ({best}); "
            "give masks with --masks, or other weights"
        )
    write_json(
        out / "frames.json",
        {
            "time_s": [round(t - times[0], 6) for t in times],
            "robot_share": areas,
            "fps": reader.fps,
            "width": reader.width,
            "height": reader.height,
        },
    )


Found = Iterator[tuple[list[float], int, dict[str, np.ndarray]]]  # times of the frames, index, part -> 0 or 255


def _found_masks(job: Job) -> Found:
    import segmentation
    from segmentation import open_frames, parse_prompts
    from segmentation.weights_store import content_hash, find

    frames = open_frames(job.open())
    times: list[float] = []
    segmenter = _segmenter(segmentation.load_segmenter, job.weights, content_hash(find(job.weights)))
    for index, probabilities in segmenter.track(frames, parse_prompts(job.prompts), _parts(job)):
        masks = {part: np.where(p > 0.5, 255, 0).astype(np.uint8) for part, p in probabilities.items()}
        yield times, index, masks
    times.extend(frames.times)


@lru_cache(maxsize=1)
def _segmenter(load: Callable[[str], Segmenter], weights: str, content: str) -> Segmenter:
    """Loaded once for all the episodes that a process segments."""
    return load(weights)


def _given_masks(job: Job) -> Found:
    from segmentation import MaskFolder

    assert job.masks is not None
    masks, reader = MaskFolder(job.masks, link_names(job.robot)), job.open()
    masks.check(reader.width, reader.height, reader.frame_count)
    times: list[float] = []
    for t, frame in enumerate(reader):
        times.append(frame.time_s)
        if t < len(masks):
            yield times, t, masks[t]
    masks.check(reader.width, reader.height, len(times))  # containers may not say how many frames they have
