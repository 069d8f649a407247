"""Masks on disk: folders `robot/`, `arm/`, `gripper/` of one PNG a frame, or PNGs directly in the folder (=
robot)."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

import cv2
import numpy as np

from segmentation.errors import MaskError
from segmentation.video import natural_key

PARTS = ("robot", "arm", "gripper")


def write_mask(folder: str | Path, part: str, index: int, mask: np.ndarray, links: Collection[str] = ()) -> Path:
    """Write one mask as folder/part/00000.png with values 0 and 255; the file appears whole or not at all.

    Args:
        links: names that are parts, too.
        mask: (H,W) bool, integers (non-zero is inside) or floats in 0..1 (from 0.5 on is inside).

    Raises:
        MaskError: an unknown part, a negative index, or an array that is no mask.
    """
    if part not in PARTS and part not in links:
        raise MaskError(f"part {part!r}: expected one of {', '.join(PARTS)}")
    if index < 0:
        raise MaskError(f"frame {index}: expected 0 or more")
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.size == 0:
        raise MaskError(f"a mask must be an array (H,W), got shape {mask.shape}")
    inside = mask >= 0.5 if np.issubdtype(mask.dtype, np.floating) else mask != 0
    path = Path(folder) / part / f"{index:05d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    data = cv2.imencode(".png", inside.astype(np.uint8) * 255)[1]
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data.tobytes())
    os.replace(temporary, path)
    return path


def read_part(folder: str | Path, index: int) -> np.ndarray:
    """The mask (H,W) uint8, 0 or 255, of a frame in a folder of one part, as `write_mask` names it.

    Raises:
        MaskError: there is none, or it cannot be read.
    """
    file = Path(folder) / f"{index:05d}.png"
    if not file.is_file():
        raise MaskError(f"{file}: no such mask")
    return _read(file)


class MaskFolder:
    """Masks of a video, read when asked for: `masks[t]` is a dict part -> (H,W) uint8 with 0 or 255.

    Attributes:
        parts: those present. size: (width, height) of the first mask.
    """

    def __init__(self, path: str | Path, links: Collection[str] = ()):
        """Look through the folder; `links`: names of links whose folders count, too.

        Raises:
            MaskError: no such folder, no masks in it, parts with different numbers of masks, or beside masks of links a
                folder that is neither a part nor a link.
        """
        self.path = Path(path)
        if not self.path.is_dir():
            raise MaskError(f"{self.path}: no such folder of masks")
        folders = [f.name for f in sorted(self.path.iterdir(), key=natural_key) if f.is_dir()]
        named = [*(part for part in PARTS if part in folders), *(f for f in folders if f in links and f not in PARTS)]
        self.files = {part: _pngs(self.path / part) for part in named}
        strange = [f for f in folders if f not in named and _pngs(self.path / f)]
        if strange and links and (not self.files or set(named) - set(PARTS)) and not _pngs(self.path):
            raise MaskError(
                f"{self.path / strange[0]}: neither a part (robot, arm, gripper) nor a link of the robot"
                f" ({', '.join(links)})"
            )
        if not self.files:
            self.files = {"robot": _pngs(self.path)}
        empty = [part for part, files in self.files.items() if not files]
        if empty:
            raise MaskError(
                f"{self.path}: no PNG masks for {', '.join(empty)}; expected one PNG a frame"
                " in robot/, arm/ or gripper/, or PNGs directly in it"
            )
        counts = {part: len(files) for part, files in self.files.items()}
        if len(set(counts.values())) > 1:
            listing = ", ".join(f"{part} {n}" for part, n in counts.items())
            raise MaskError(f"{self.path}: the parts have different numbers of masks ({listing})")
        self.parts = tuple(self.files)
        first = _read(next(iter(self.files.values()))[0])
        self.size = first.shape[1], first.shape[0]

    def __len__(self) -> int:
        return len(next(iter(self.files.values())))

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        masks = {}
        for part, files in self.files.items():
            mask = _read(files[index])
            if (mask.shape[1], mask.shape[0]) != self.size:
                raise MaskError(
                    f"{files[index]}: {mask.shape[1]}x{mask.shape[0]} pixels, the first mask has"
                    f" {self.size[0]}x{self.size[1]}"
                )
            masks[part] = mask
        return masks

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return (self[i] for i in range(len(self)))

    def check(self, width: int, height: int, count: int | None) -> None:
        """Do the masks fit a video of this size and, where known, number of frames?

        Raises:
            MaskError: they do not.
        """
        if self.size != (width, height):
            raise MaskError(
                f"{self.path}: masks of {self.size[0]}x{self.size[1]} pixels for a video of {width}x{height};"
                " give masks at the video's own size"
            )
        if count is not None and len(self) != count:
            raise MaskError(f"{self.path}: {len(self)} masks for a video of {count} frames; give one mask a frame")


def _pngs(folder: Path) -> list[Path]:
    files = (p for p in folder.iterdir() if p.suffix.lower() == ".png" and not p.name.startswith("."))
    return sorted(files, key=natural_key)


def _read(file: Path) -> np.ndarray:
    data = np.fromfile(file, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if image is None:
        raise MaskError(f"{file}: not a readable PNG")
    if image.ndim == 3:  # colour masks: any colour is inside; transparency is not
        image = image[..., :3].max(2)
    return np.where(image > 0, 255, 0).astype(np.uint8)
