"""LeRobotDataset v3.0, written directly with pyarrow and PyAV, and appended to without rewriting it.

    meta/info.json, stats.json, tasks.parquet                     small; written anew
    meta/episodes/chunk-000/file-000.parquet                      a row an episode: where its parts are, its statistics
    data/chunk-000/file-000.parquet                               a row a frame, a row group an episode
    videos/<feature>/chunk-000/file-000.mp4                       the episodes' pictures end to end
    urdfit/{masks,episodes}/chunk-000/file-000.parquet            sidecar, see `flows.exporting.sidecar`

Episodes are written in blocks of about a minute, each with files of its own. A block is made in a sibling folder in
which the files of the blocks before it are hard links, and the two folders change places at its end. So a killed export
leaves the data set of the last block, whole, and readers never see half of one. (On a file system without hard links
files are copied instead.)
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.exporting.layout import (
    DATA_PATH,
    EPISODES_PATH,
    VIDEO_MB,
    VIDEO_PATH,
    data_schema,
    data_table,
    next_file,
    read_tasks,
    write_tasks,
)
from flows.exporting.stats import Stats, column_stats, merge, plain
from flows.exporting.video import EpisodeVideo
from flows.files import read_json, write_json

BLOCK_EPISODES, BLOCK_SECONDS = 100, 60.0  # a kill loses no more than that


class Block:
    """The files of one block, being written into the staging folder `out` of a data set whose old files are linked.

    Attributes:
        episodes: written so far in this block.
    """

    def __init__(self, out: Path, info: dict[str, Any], cam: str | None) -> None:
        self.out, self.info = out, info
        self.fps = int(info["fps"])
        self.video_key = None if cam is None else f"observation.images.{cam}"
        self.chunk, self.file = next_file(out)
        self.frames = int(info["total_frames"])
        self.first = self.count = int(info["total_episodes"])
        self.rows: list[dict[str, Any]] = []
        self.stats: list[dict[str, Stats]] = []
        self.tasks = read_tasks(out)
        self.schema = data_schema(info["features"])
        self._begun = time.monotonic()
        self._data: pq.ParquetWriter | None = None
        self._video: EpisodeVideo | None = None

    @property
    def episodes(self) -> int:
        """Episodes in this block."""
        return len(self.rows)

    @property
    def full(self) -> bool:
        """Whether the next episode should go into another block."""
        big = self._video is not None and self._video.megabytes >= VIDEO_MB
        late = time.monotonic() - self._begun > BLOCK_SECONDS
        return self.episodes > 0 and (big or late or self.episodes >= BLOCK_EPISODES)

    def path(self, pattern: str) -> Path:
        """This block's file of a kind; its folder exists."""
        name = pattern.format(chunk_index=self.chunk, file_index=self.file, video_key=self.video_key)
        (self.out / name).parent.mkdir(parents=True, exist_ok=True)
        return self.out / name

    def video(self, size: tuple[int, int]) -> EpisodeVideo:
        """The file that takes the pictures; what an episode that failed left in it is passed over."""
        if self._video is None:
            self._video = EpisodeVideo(self.path(VIDEO_PATH), self.fps, size)
        return self._video

    def add(self, columns: dict[str, np.ndarray], task: str, first_picture: int, picture_stats: Stats | None) -> int:
        """Append an episode's rows; returns its index.

        Args:
            columns: as `flows.exporting.features.columns`.
            first_picture: number in the video file of the episode's first picture.
        """
        length = len(columns["frame_index"])
        index = self.count
        number = self.tasks.setdefault(task, len(self.tasks))
        columns = columns | {
            "episode_index": np.full(length, index),
            "index": self.frames + np.arange(length),
            "task_index": np.full(length, number),
        }
        if self._data is None:
            self._data = pq.ParquetWriter(self.path(DATA_PATH), self.schema, compression="snappy")
        self._data.write_table(data_table(columns, self.schema))
        stats = {name: column_stats(values) for name, values in columns.items()}
        row: dict[str, Any] = {
            "episode_index": index,
            "tasks": [task],
            "length": length,
            "data/chunk_index": self.chunk,
            "data/file_index": self.file,
            "dataset_from_index": self.frames,
            "dataset_to_index": self.frames + length,
        }
        if self.video_key is not None and picture_stats is not None:
            stats[self.video_key] = picture_stats
            row |= {
                f"videos/{self.video_key}/chunk_index": self.chunk,
                f"videos/{self.video_key}/file_index": self.file,
                f"videos/{self.video_key}/from_timestamp": first_picture / self.fps,
                f"videos/{self.video_key}/to_timestamp": (first_picture + length) / self.fps,
            }
        for feature, entry in plain(stats).items():
            row |= {f"stats/{feature}/{name}": value for name, value in entry.items()}
        row |= {"meta/episodes/chunk_index": self.chunk, "meta/episodes/file_index": self.file}
        self.rows.append(row)
        self.stats.append(stats)
        self.frames += length
        self.count += 1
        return index

    def close(self) -> None:
        """Finish the files and bring the data set's own up to date."""
        if self._data is not None:
            self._data.close()
        if self._video is not None:
            self._video.__exit__(None, None, None)
        if not self.rows:
            return
        pq.write_table(pa.Table.from_pylist(self.rows), self.path(EPISODES_PATH), compression="snappy")
        write_tasks(self.out, self.tasks)
        write_json(self.out / "meta" / "stats.json", plain(self._totals()))
        total = {"total_episodes": self.count, "total_frames": self.frames, "total_tasks": len(self.tasks)}
        self.info = self.info | total | {"splits": {"train": f"0:{self.count}"}}
        write_json(self.out / "meta" / "info.json", self.info)

    def _totals(self) -> dict[str, Stats]:
        """Statistics of the whole data set."""
        path = self.out / "meta" / "stats.json"
        parts: list[dict[str, Any]] = list(self.stats)
        if self.first and path.exists():
            parts.insert(0, read_json(path, "statistics"))
        return {name: merge([p[name] for p in parts if name in p]) for name in self.stats[0]}
