"""Training data as tar shards: pictures or clips with part masks, depth and a JSON text each.

The files of a frame share a name, as WebDataset reads them (`<clip>_<frame>` before the first dot):

    0007_00003.rgb.jpg      the picture
    0007_00003.part.png     uint8: 0 background, 1 arm, 2 gripper, 255 ignore
    0007_00003.depth.png    optional, uint16: millimetres, 0 unknown
    0007_00003.json         robot, joint_names, q, camera (as cam.json), source, ...

A shard is read where it lies: an index of offsets is kept in memory, bytes are read when asked for, nothing is
unpacked.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segmentation.errors import TrainingError
from segmentation.pictures import decode_picture

IGNORE = 255
RGB, PART, DEPTH, META = "rgb.jpg", "part.png", "depth.png", "json"
MAX_BYTES = {RGB: 32 * 2**20, PART: 8 * 2**20, DEPTH: 64 * 2**20, META: 2**20}  # of one file in a shard
FARTHEST = 65.535  # metres that 16 bits of millimetres hold
_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]*)_(\d{5,9})\.([a-z.]+)")


@dataclass(frozen=True)
class Sample:
    """One frame as it lies in a shard.

    Attributes:
        clip: letters, digits, `-` and `_`; frames of one clip share it, within one shard.
        frame: number within the clip.
        rgb, part, depth: encoded JPEG, PNG and PNG; see `decode` and `decode_depth`.
        meta: content of the JSON.
    """

    clip: str
    frame: int
    rgb: bytes = field(repr=False)
    part: bytes = field(repr=False)
    depth: bytes | None = field(default=None, repr=False)
    meta: dict[str, Any] = field(default_factory=dict)


def encode(
    rgb: np.ndarray, part: np.ndarray, depth: np.ndarray | None = None, *, clip: str = "picture", frame: int = 0,
    quality: int = 94, **meta: Any,
) -> Sample:  # fmt: skip
    """A sample from arrays.

    Args:
        rgb: (H,W,3) uint8. part: (H,W) uint8, 0 background, 1 arm, 2 gripper, 255 ignore.
        depth: (H,W) metres, 0 where unknown; stored to the millimetre, beyond 65.535 m as unknown.
        clip, frame: its name. quality: of the JPEG, 0 to 100.
        meta: becomes the JSON text; plain values only.
    """
    jpeg = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    fast = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    deep = None
    if depth is not None:
        known = np.where(depth <= FARTHEST, depth, 0)
        deep = cv2.imencode(".png", np.rint(known * 1000).astype(np.uint16), fast)[1].tobytes()
    return Sample(clip, frame, jpeg, cv2.imencode(".png", part)[1].tobytes(), deep, meta)


def decode(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """rgb (H,W,3) uint8 and part (H,W) uint8: 0 background, 1 arm, 2 gripper, 255 ignore.

    Raises:
        TrainingError: damaged, too large, of two sizes, or with other values in the part mask.
    """
    name = f"{sample.clip}_{sample.frame:05d}"
    rgb = decode_picture(sample.rgb, cv2.IMREAD_COLOR, f"{name}.{RGB}", TrainingError)
    part = decode_picture(sample.part, cv2.IMREAD_UNCHANGED, f"{name}.{PART}", TrainingError)
    if part.shape != rgb.shape[:2] or part.dtype != np.uint8:
        what = "x".join(map(str, part.shape[1::-1])), "x".join(map(str, rgb.shape[1::-1]))
        raise TrainingError(f"{name}.{PART}: {what[0]} {part.dtype}; expected one uint8 channel of {what[1]} pixels")
    other = part[(part > 2) & (part != IGNORE)]
    if other.size:
        raise TrainingError(f"{name}.{PART}: value {other.min()}; expected 0, 1, 2 or 255")
    return np.ascontiguousarray(rgb[..., ::-1]), part


def decode_depth(sample: Sample) -> np.ndarray | None:
    """(H,W) float32 metres with 0 where unknown, or None when the sample has no depth.

    Raises:
        TrainingError: damaged, or not 16 bits deep.
    """
    if sample.depth is None:
        return None
    name = f"{sample.clip}_{sample.frame:05d}.{DEPTH}"
    depth = decode_picture(sample.depth, cv2.IMREAD_UNCHANGED, name, TrainingError)
    if depth.ndim != 2 or depth.dtype != np.uint16:
        raise TrainingError(f"{name}: {depth.dtype}, {depth.ndim} dimensions; expected one uint16 channel")
    return depth.astype(np.float32) / 1000


def write_shard(path: str | Path, samples: Iterable[Sample]) -> None:
    """Write samples as they come; the file appears whole or not at all. The same samples give the same bytes.

    Raises:
        TrainingError: a name that cannot be stored, or two frames of one name.
        ValueError: meta with values that JSON does not have, such as NaN.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    seen: set[str] = set()
    try:
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
            for sample in samples:
                name = f"{sample.clip}_{sample.frame:05d}"
                if not _NAME.fullmatch(f"{name}.{META}") or len(name) > 80 or name in seen:
                    raise TrainingError(
                        f"{path}: {name!r} names {'two frames' if name in seen else 'no frame'}; expected a clip of "
                        "letters, digits, - and _, and a frame number once"
                    )
                seen.add(name)
                text = json.dumps(sample.meta, allow_nan=False, separators=(",", ":")).encode()
                for kind, data in ((RGB, sample.rgb), (PART, sample.part), (DEPTH, sample.depth), (META, text)):
                    if data is not None:
                        info = tarfile.TarInfo(f"{name}.{kind}")
                        info.size, info.mode = len(data), 0o644
                        tar.addfile(info, io.BytesIO(data))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one sample lies."""

    shard: Path
    clip: str
    frame: int
    places: dict[str, tuple[int, int]]  # kind -> offset and size in the shard


class ShardSet:
    """All samples of the shards in some folders, in the order of the shards' paths; new ones append at `refresh`.

    `clips` lists the indices of each clip's frames, in order. Reading is safe from several threads.

    Raises:
        TrainingError: no such folder, or a shard that is damaged or holds anything else.
    """

    def __init__(self, folders: Path | Sequence[Path]):
        self.folders = [Path(folders)] if isinstance(folders, str | Path) else [Path(f) for f in folders]
        for folder in self.folders:
            if not folder.is_dir():
                raise TrainingError(f"{folder}: no such folder of shards")
        self._known: set[Path] = set()
        self._entries: list[Entry] = []
        self.clips: list[list[int]] = []
        self.refresh()

    def refresh(self) -> int:
        """Take in shards that appeared since; returns the number of new samples."""
        before = len(self._entries)
        for folder in self.folders:
            for path in sorted(folder.rglob("*.tar")):
                if path not in self._known and not path.name.startswith("."):
                    self._add(path)
        return len(self._entries) - before

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Sample:
        entry = self._entries[index]
        data: dict[str, bytes] = {}
        with open(entry.shard, "rb") as stream:
            for kind, (offset, size) in entry.places.items():
                stream.seek(offset)
                data[kind] = stream.read(size)
                if len(data[kind]) != size:
                    raise TrainingError(f"{entry.shard}: shorter than when it was opened; write it again")
        try:
            meta = json.loads(data[META])
        except (ValueError, RecursionError):
            meta = None
        if not isinstance(meta, dict):
            raise TrainingError(f"{entry.shard}: {entry.clip}_{entry.frame:05d}.json is no JSON object")
        return Sample(entry.clip, entry.frame, data[RGB], data[PART], data.get(DEPTH), meta)

    def _add(self, path: Path) -> None:
        clips: dict[str, list[Entry]] = {}
        for entry in read_index(path):
            clips.setdefault(entry.clip, []).append(entry)
        self._known.add(path)
        for entries in clips.values():
            start = len(self._entries)
            self._entries += sorted(entries, key=lambda e: e.frame)
            self.clips.append(list(range(start, len(self._entries))))


def read_index(path: Path) -> list[Entry]:
    """Names and places of the samples in one shard.

    Raises:
        TrainingError: damaged, or holds anything else.
    """
    found: dict[tuple[str, int], dict[str, tuple[int, int]]] = {}
    end = path.stat().st_size
    try:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                match = _NAME.fullmatch(info.name)
                if not match or match[3] not in MAX_BYTES or not info.isfile() or info.issparse():
                    raise TrainingError(
                        f"{path}: holds {info.name[:80]!r}; expected CLIP_FRAME.{RGB}, .{PART}, .{META}"
                    )
                if info.size > MAX_BYTES[match[3]]:
                    raise TrainingError(
                        f"{path}: {info.name[:80]} has {info.size} bytes; expected at most {MAX_BYTES[match[3]]}"
                    )
                if info.offset_data + info.size > end:
                    raise TrainingError(f"{path}: ends within {info.name[:80]}; write it again")
                found.setdefault((match[1], int(match[2])), {})[match[3]] = info.offset_data, info.size
    except tarfile.TarError as error:
        raise TrainingError(f"{path}: not a readable tar file ({error}); write it again") from None
    for (clip, frame), places in found.items():
        missing = [kind for kind in (RGB, PART, META) if kind not in places]
        if missing:
            raise TrainingError(f"{path}: {clip}_{frame:05d} has no {' and no '.join(missing)}; write the shard again")
    return [Entry(path, clip, frame, places) for (clip, frame), places in found.items()]
