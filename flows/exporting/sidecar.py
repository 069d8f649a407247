"""What a robot learner wants to know that LeRobot's format has no place for: masks, and where an episode is from.

    urdfit/masks/chunk-000/file-000.parquet       episode_index, frame_index, mask: PNG with 0 nothing, 1 robot or arm,
                                                  2 gripper; a row a frame, a row group an episode
    urdfit/episodes/chunk-000/file-000.parquet    episode_index, source and digest, and as JSON the camera (exact K,
                                                  distortion, T_cam_base), smoothing, quality, warnings, versions

File numbers are those of the block that the episodes were written in.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

MASKS_PATH = "urdfit/masks/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
ORIGINS_PATH = "urdfit/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_MASKS = pa.schema([("episode_index", pa.int64()), ("frame_index", pa.int64()), ("mask", pa.binary())])


def coded(labels: np.ndarray) -> bytes:
    """A label image (H,W) uint8 as PNG."""
    return cv2.imencode(".png", labels)[1].tobytes()


class MaskFile:
    """Writes the masks of one block; its file is made with the first episode."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None

    def add(self, episode: int, masks: Sequence[bytes]) -> None:
        """Append an episode's masks, `coded`, one a row."""
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._path, _MASKS, compression="none")  # PNGs are packed already
        columns: list[Sequence[Any]] = [[episode] * len(masks), range(len(masks)), masks]
        self._writer.write_table(pa.table([pa.array(c, f.type) for c, f in zip(columns, _MASKS)], schema=_MASKS))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()


def write_origins(path: Path, origins: dict[int, dict[str, Any]]) -> None:
    """A row an episode: `flows.exporting.clips.provenance` by episode index."""
    rows = [
        {
            "episode_index": index,
            "digest": origin["digest"],
            "segment": origin["segment"],
            "source": origin["source"]["name"],
            "source_sha256": origin["source"]["sha256"],
            "origin": json.dumps(origin, default=float),
        }
        for index, origin in origins.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def known_digests(out: Path) -> set[str]:
    """Digests of the episodes that a data set holds already."""
    found: set[str] = set()
    for path in sorted(out.glob("urdfit/episodes/chunk-*/file-*.parquet")):
        found.update(pq.read_table(path, columns=["digest"])["digest"].to_pylist())
    return found
