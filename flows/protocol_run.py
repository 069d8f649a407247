"""The RobotSeg benchmark over a folder of labelled videos: masks, scores and speed, taken up again where it stopped.

The output folder holds `protocol.json` (settings), `videos/<video>.json` (results of one video),
`masks/<video>/<part>/<frame>.png` and `results_<part>.csv`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from flows.errors import FlowError, UsageError
from flows.files import make_folder, read_json, write_json
from flows.mask_scores import FAILED, write_scores
from flows.progress import report
from segmentation.errors import WeightsError
from segmentation.masks import PARTS
from segmentation.outline_filter import refine_outline
from segmentation.pictures import save_mask
from segmentation.protocol import Predictor, Prompting, Usage, segment_video
from segmentation.scoring import GLOBAL, FrameScores, Score, over_videos
from segmentation.vrs import LabelledVideo, LabelledVideos

OPEN = "protocol.json"
SEED = 0  # RobotSeg draws the first of its memory tokens at random


@dataclass(frozen=True)
class ProtocolResult:
    """Scores per video and part with those over all videos at the end; frames and seconds of propagation and of
    prompting; how many videos were taken from an earlier run; whether outlines were filtered."""

    scores: list[Score]
    frames: int
    seconds: float
    prompt_seconds: float
    reused: int
    guided: bool


def run_protocol(
    dataset: str | Path,
    out: str | Path,
    load: Callable[[], Predictor],
    weights: dict[str, Any],
    *,
    prompting: Prompting,
    parts: Sequence[str] = ("robot",),
    guided: bool | None = None,
    names: Sequence[str] = (),
    split: str = "test",
) -> ProtocolResult:
    """Run a predictor over a VRS- or RoboEngine-shaped folder and score it.

    A video that is done already with the same settings is not run again; one that fails gets a score without figures
    whose note begins with `FAILED`, and the others go on.

    Args:
        load: makes the predictor; called when the first video needs it.
        weights: what identifies the predictor (name, sha256); part of the settings.
        parts: of every video; parts a video has no masks of are passed over.
        guided: the filter of `segmentation.outline_filter` on every frame of a pass but the first; None = as the
            benchmark does: for VRS, not for RoboEngine.
        names: videos to run, default all.

    Raises:
        FlowError: `out` holds other files or results of other settings. VideoError: no such folder or videos.
        WeightsError: the predictor cannot be loaded or refuses this kind of prompt.
    """
    videos = LabelledVideos(dataset, split)
    unknown = [name for name in names if name not in videos.names]
    if unknown:
        raise UsageError(f"{dataset}: no video {unknown[0]!r}; it has {', '.join(videos.names[:3])}, ...")
    guided = videos.kind == "vrs" if guided is None else guided
    settings = {
        "dataset": str(videos.mask_root.resolve()),
        "weights": weights,
        "prompting": asdict(prompting),
        "guided": guided,
    }
    out = _prepare(Path(out), settings)
    runner = _Runner(out, load, prompting, guided)
    chosen = names or videos.names
    records = []
    for done, name in enumerate(chosen):
        report("videos", done, len(chosen))
        records.append(runner.video(videos, name, parts))
    report("videos", len(chosen), len(chosen))
    scores = [score for record in records for score in _scores(record, parts)]
    means = list(over_videos(scores))
    lacking = [part for part in parts if not any(s.part == part for s in scores)]
    means += [Score(part, GLOBAL, note="no video has masks of it", videos=0) for part in lacking]
    for part in parts:
        write_scores(out / f"results_{part}.csv", [s for s in [*scores, *means] if s.part == part])
    total = {key: sum(record.get(key, 0) for record in records) for key in ("frames", "seconds", "prompt_seconds")}
    return ProtocolResult([*scores, *means], reused=runner.reused, guided=guided, **total)


class _Runner:
    """Runs single videos; keeps the predictor, which is made when it is first needed."""

    def __init__(self, out: Path, load: Callable[[], Predictor], prompting: Prompting, guided: bool):
        self.out, self.load, self.prompting, self.guided = out, load, prompting, guided
        self.predictor: Predictor | None = None
        self.reused = 0

    def video(self, videos: LabelledVideos, name: str, parts: Sequence[str]) -> dict[str, Any]:
        """The record of one video, from its file where all parts are in it."""
        file = self.out / "videos" / f"{name}.json"
        record = _read_record(file, name)
        todo = [part for part in parts if part not in record["parts"]]
        if not todo:
            self.reused += 1
            return record
        if self.predictor is None:
            self.predictor = self.load()  # outside the net below: without it no video can run
        try:
            with torch.random.fork_rng(devices=[]):  # every video starts alike, whichever were run before it
                torch.manual_seed(SEED)
                fresh = self._run(videos.open(name), todo)
        except WeightsError:  # no other video would fare better
            raise
        except Exception as error:
            if os.environ.get("URDFIT_DEBUG"):
                raise
            reason = " ".join(f"{error}".split()) or type(error).__name__
            failed = {part: {"note": f"{FAILED}{reason}"} for part in todo}
            return record | {"parts": record["parts"] | failed}  # not written: tried again next time
        for key in ("frames", "seconds", "prompt_seconds"):
            record[key] = record.get(key, 0) + fresh[key]
        record["parts"].update(fresh["parts"])
        write_json(file, record)
        return record

    def _run(self, video: LabelledVideo, parts: Sequence[str]) -> dict[str, Any]:
        assert self.predictor is not None
        starts = {part: video.start(part) for part in parts}
        usage, scores = Usage(), {part: FrameScores() for part in parts}
        for part in parts:
            make_folder(self.out / "masks" / video.name / part)
            for index in video.masks.get(part, {}):  # frames before the start: both sides are empty
                truth, start = video.truth(part, index), starts[part]
                if truth is not None and (start is None or index < start):
                    scores[part].add(None, truth)
        prompted = {part: start for part, start in starts.items() if start is not None}
        frames = segment_video(self.predictor, video, prompted, self.prompting, usage)
        for index, masks, first in frames:
            for part, mask in masks.items():
                mask = refine_outline(mask, video[index]) if self.guided and not first else mask
                save_mask(self.out / "masks" / video.name / part / f"{video.images[index].stem}.png", mask)
                truth = video.truth(part, index)
                if truth is not None:
                    scores[part].add(mask, truth)
            report("frames", index + 1, len(video))
        rows: dict[str, Any] = {}
        for part in parts:
            score = scores[part].score(part)
            corrected = usage.corrected.get(part, [])
            figures = {"frames": score.frames, "J": score.jaccard, "F": score.boundary, "note": score.note}
            rows[part] = figures | {"start": starts[part], "corrected": corrected} if part in video.masks else None
        times = {"frames": usage.frames, "seconds": usage.seconds, "prompt_seconds": usage.prompt_seconds}
        return {"parts": rows} | times


def _read_record(file: Path, name: str) -> dict[str, Any]:
    """The record of a video that was run before; an empty one where there is none or none that can be used."""
    empty: dict[str, Any] = {"video": name, "parts": {}}
    try:
        record = read_json(file, "result") if file.is_file() else empty
        _scores(record, tuple(record["parts"]))
        whole = record["video"] == name and all(record[key] >= 0 for key in ("frames", "seconds", "prompt_seconds"))
    except (FlowError, LookupError, TypeError, ValueError, AttributeError):
        return empty
    return record if whole else empty


def _scores(record: dict[str, Any], parts: Sequence[str]) -> list[Score]:
    """Scores of a video's record, in the parts' order; none for parts that the video has no masks of."""
    scores = []
    for part in (p for p in parts if record["parts"].get(p) is not None):
        row = record["parts"][part]
        j, f = (math.nan if row.get(key) is None else float(row[key]) for key in ("J", "F"))
        scores.append(Score(part, str(record["video"]), int(row.get("frames", 0)), j, f, str(row["note"])))
    return scores


def _prepare(out: Path, settings: dict[str, Any]) -> Path:
    """The output folder, new or with results of the same settings."""
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / OPEN).is_file()):
        raise FlowError(f"{out}: is a file or holds other files than this command's; give a new folder")
    begun = any((out / "videos").glob("*.json")) if (out / OPEN).is_file() else False
    if not begun:
        make_folder(out / "videos")
        write_json(out / OPEN, settings)
        return out
    held = read_json(out / OPEN, "file of settings")
    different = [key for key in settings if not isinstance(held, dict) or held.get(key) != settings[key]]
    if different:
        raise FlowError(f"{out}: holds results with another {', '.join(different)}; give a new folder")
    return out


def parts_of(names: Sequence[str]) -> tuple[str, ...]:
    """The parts a command was given, in the order robot, arm, gripper; "all" is all three.

    Raises:
        UsageError: an unknown one.
    """
    wrong = [name for name in names if name not in (*PARTS, "all")]
    if wrong:
        raise UsageError(f"--part {wrong[0]}: expected robot, arm, gripper or all")
    return PARTS if "all" in names else tuple(part for part in PARTS if part in names)
