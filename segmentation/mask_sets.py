"""Masks of one or many videos on disk, in the layouts that people have, and which mask belongs to which.

A video's masks lie in `robot/`, `arm/`, `gripper/` or VRS's `002/`, `000/`, `001/`, or directly in its folder (=
robot). Several videos are folders of such folders. `mask_gt/`, `mask/` and `masks/` around them, and a benchmark's
`test/`, are looked into.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from segmentation.errors import MaskError
from segmentation.masks import PARTS
from segmentation.video import natural_key

VRS_FOLDERS = {"arm": "000", "gripper": "001", "robot": "002"}
CONTAINERS = ("mask_gt", "mask", "masks", "test/mask_gt", "test/mask")


@dataclass(frozen=True)
class MaskVideo:
    """Masks of one video: `files[part]` maps file stems to PNGs in natural order, possibly none."""

    name: str
    folder: Path
    files: dict[str, dict[str, Path]]


def find_videos(path: str | Path) -> dict[str, Path]:
    """Folders with masks under `path`, by name in natural order; just `path` itself where it holds masks.

    Raises:
        MaskError: no such folder, no masks where they are looked for, or PNGs beside folders of PNGs.
    """
    path = Path(path)
    if not path.is_dir():
        raise MaskError(f"{path}: no such folder of masks")
    if _has_parts(path):
        return {path.name: path}
    for folder in (*(path / name for name in CONTAINERS if (path / name).is_dir()), path):
        if _has_parts(folder):
            return {folder.name: folder}
        videos = {p.name: p for p in folders(folder) if _has_parts(p) or list_masks(p)}
        loose = list_masks(folder)
        if loose and videos:
            raise MaskError(
                f"{folder}: holds masks and folders of masks ({next(iter(videos))}/, ...); give one of them"
            )
        if loose or videos:
            return videos or {folder.name: folder}
    raise MaskError(
        f"{path}: no masks found; expected PNGs, or folders robot/, arm/, gripper/ (or 002/, 000/, 001/) of PNGs,"
        " or folders of videos with these"
    )


def open_masks(folder: Path) -> MaskVideo:
    """List the masks of one video.

    Raises:
        MaskError: a part has two folders.
    """
    named = {}
    for part, number in VRS_FOLDERS.items():
        found = [folder / name for name in (part, number) if (folder / name).is_dir()]
        if len(found) > 1:
            raise MaskError(f"{folder}: has both {part}/ and {number}/; give the {part} once")
        if found:
            named[part] = list_masks(found[0])
    return MaskVideo(folder.name, folder, named or {"robot": list_masks(folder)})


def list_masks(folder: Path) -> dict[str, Path]:
    """Stem -> PNG of one folder in natural order; hidden files and other types are passed over.

    Raises:
        MaskError: two files of one stem.
    """
    files = [p for p in folder.iterdir() if p.suffix.lower() == ".png" and not p.name.startswith(".")]
    stems = {p.stem: p for p in sorted(files, key=natural_key)}
    if len(stems) < len(files):
        raise MaskError(f"{folder}: two masks of one name that differ in the case of .png only")
    return stems


def match(truth: dict[str, Path], predicted: dict[str, Path], by_order: bool = False) -> dict[str, Path | None]:
    """For every true mask's stem the predicted file of that frame, None where there is none.

    Files belong together that have one stem, else those with the same last number in the stem (`gtmask_007.png` and
    `00007.png`), if numbers are unique on both sides.

    Raises:
        MaskError: by_order and the numbers of files differ.
    """
    if by_order:
        if len(truth) != len(predicted):
            raise MaskError(f"{len(predicted)} masks for {len(truth)} true ones; to match by order, give as many")
        return dict(zip(truth, predicted.values()))
    mine, true = ({_number(stem): stem for stem in stems} for stems in (predicted, truth))
    unique = len(mine) == len(predicted) and len(true) == len(truth) and None not in mine and None not in true
    found: dict[str, Path | None] = {}
    for stem in truth:
        other = stem if stem in predicted else mine.get(_number(stem)) if unique else None
        found[stem] = predicted[other] if other is not None else None
    return found


def folders(path: Path) -> list[Path]:
    """Sub-folders in natural order, hidden ones left out."""
    return sorted((p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")), key=natural_key)


def _has_parts(path: Path) -> bool:
    return any((path / name).is_dir() for name in [*PARTS, *VRS_FOLDERS.values()])


def _number(stem: str) -> int | None:
    digits = re.findall(r"\d+", stem)
    return int(digits[-1]) if digits and len(digits[-1]) < 19 else None
