"""Score folders of masks against true ones, video by video and part by part; tables of scores."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from flows.errors import FlowError
from flows.files import atomic_path
from flows.progress import report
from segmentation.errors import MaskError
from segmentation.mask_sets import MaskVideo, find_videos, match, open_masks
from segmentation.masks import PARTS
from segmentation.pictures import read_mask
from segmentation.scoring import GLOBAL, FrameScores, Score, over_videos

COLUMNS = ("video", "part", "frames", "J", "F", "J&F", "note")
FAILED = "not scored: "


def score_masks(
    predicted: str | Path,
    truth: str | Path,
    parts: Sequence[str] = (),
    *,
    missing_empty: bool = False,
    by_order: bool = False,
    skip_ends: bool = False,
) -> list[Score]:
    """J and F of every video and part that the truth has, then "global" scores: means over the videos.

    The frames are those of the truth's folder. A video without a part gives no score of it; a video that cannot be
    scored gives a score without figures whose note says why and begins with `FAILED`.

    Args:
        parts: those to score; default all that both sides have.
        missing_empty: a frame without a predicted mask counts as an empty one instead of failing the video.
        by_order: match masks in natural order rather than by name or number.
        skip_ends: leave out the first and the last labelled frame of every video.

    Raises:
        MaskError: a folder without masks. FlowError: nothing in common.
    """
    mine, true = find_videos(predicted), find_videos(truth)
    alone = len(mine) == len(true) == 1  # two folders of one video each need not have one name
    known = {name: next(iter(mine.values())) if alone else mine.get(name) for name in true}
    if not any(known.values()):
        raise FlowError(
            f"{predicted} has the videos {_some(mine)}, {truth} has {_some(true)}: none in common;"
            " give folders of one video each, or videos of the same names"
        )
    opened = {name: open_masks(folder) if folder else None for name, folder in known.items()}
    offered = {part for video in opened.values() if video for part in video.files}
    labelled = {name: open_masks(folder) for name, folder in true.items()}
    wanted = [p for p in PARTS if p in (parts or offered) and any(p in v.files for v in labelled.values())]
    if not wanted or not offered & set(wanted):
        held = {part for video in labelled.values() for part in video.files}
        raise FlowError(
            f"{predicted} has parts {', '.join(sorted(offered))}, {truth} {', '.join(sorted(held))}: none in common"
            + (f" among {', '.join(parts)}" if parts else "")
        )
    scores = []
    for done, (name, video) in enumerate(labelled.items()):
        for part in (p for p in wanted if p in video.files):
            try:
                scores.append(_score_part(opened[name], video, part, missing_empty, by_order, skip_ends))
            except (MaskError, OSError) as error:
                scores.append(Score(part, name, note=f"{FAILED}{error}"))
        report("evaluate", done + 1, len(labelled))
    unscored = [p for p in PARTS if any(p in v.files for v in labelled.values()) and p not in offered and not parts]
    return [*scores, *over_videos(scores), *(Score(p, GLOBAL, note="no predictions", videos=0) for p in unscored)]


def write_scores(path: str | Path, scores: Iterable[Score]) -> None:
    """A CSV with a row a score, the columns `COLUMNS`, fractions with six decimals, empty where there is no figure."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(COLUMNS)
        for s in scores:
            figures = ["" if math.isnan(v) else f"{v:.6f}" for v in (s.jaccard, s.boundary, s.both)]
            rows.writerow([s.video, s.part, s.frames, *figures, s.note])


def _score_part(
    mine: MaskVideo | None, true: MaskVideo, part: str, missing_empty: bool, by_order: bool, skip_ends: bool
) -> Score:
    if mine is None:
        raise MaskError("no predicted masks of this video")
    pairs = match(true.files[part], mine.files.get(part, {}), by_order)
    if not pairs:
        raise MaskError(f"{true.folder}: no true masks in its folder for {part}")
    if skip_ends and len(pairs) < 3:
        raise MaskError(f"{true.folder}: only {len(pairs)} labelled frames, none is left without the first and last")
    lost = [stem for stem, file in pairs.items() if file is None]
    frames, absent = FrameScores(), []
    for stem in list(pairs)[1:-1] if skip_ends else pairs:
        file, true_file = pairs[stem], true.files[part][stem]
        wanted = read_mask(true_file)
        found = read_mask(file) if file is not None else None
        if found is not None and found.shape != wanted.shape:
            (h, w), (height, width) = found.shape, wanted.shape
            raise MaskError(f"{file}: {w}x{h} pixels, the true mask has {width}x{height}; give masks of one size")
        # before anything has appeared a prediction is not needed
        if frames.add(found, wanted) is not None and found is None:
            absent.append(stem)
            if not missing_empty:
                have = list(mine.files.get(part, {}))
                range_ = f"it has {have[0]}.png to {have[-1]}.png" if have else "it has none"
                raise MaskError(
                    f"{mine.folder}: no predicted {part} mask of frame {stem} ({len(lost)} of {len(pairs)} missing;"
                    f" {range_}); --missing-empty counts them as empty, --by-order ignores names"
                )
    score = frames.score(part, true.name)
    note = f"{len(absent)} frames without a prediction counted as empty" if absent else score.note
    if mine.folder.samefile(true.folder):
        note = note or "PRED and GT are the same folder"
    return Score(part, true.name, score.frames, score.jaccard, score.boundary, note)


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:3]) + (f", ... ({len(listed)})" if len(listed) > 3 else "")
