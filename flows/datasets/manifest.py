"""A table that names the episodes: `episodes.csv` with the columns

    video (required), id, task, robot, camera (a cam.json), joints (a q.json), fps (of pictures in a folder)

Paths are relative to the table, absolute, or URLs; in a table behind a URL they stay inside its folder.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from functools import cached_property
from glob import escape
from pathlib import Path, PurePosixPath

import numpy as np

from flows.datasets.jsons import read_object
from flows.datasets.location import LocalFolder, Location, open_location
from flows.datasets.source import Dataset, JointLog, SourceEpisode, View
from flows.datasets.videos import Pictures, later
from flows.errors import FlowError
from flows.files import sha256_json
from pose.camera import Camera
from segmentation.video import IMAGE_SUFFIXES, VideoFile

COLUMNS = ("video", "id", "task", "robot", "camera", "joints", "fps")
FILES = ("video", "camera", "joints")


class Manifest(Dataset):
    """The rows of an `episodes.csv`."""

    kind = "manifest"

    def __init__(self, location: Location, name: str) -> None:
        self.location, self._name = location, name

    @cached_property
    def _rows(self) -> dict[str, dict[str, str]]:
        where = f"{self.location.name}/{self._name}"
        try:
            text = self.location.read(self._name).decode("utf-8-sig")
            reader = csv.DictReader(io.StringIO(text, newline=""))
            names = [str(n).strip() for n in reader.fieldnames or ()]
            if "video" not in names:
                raise FlowError(f"{where}: no column video; expected {', '.join(COLUMNS)} (the first is required)")
            unknown = [n for n in names if n not in COLUMNS]
            if unknown:
                raise FlowError(f"{where}: column {unknown[0]!r} is none of {', '.join(COLUMNS)}")
            rows: dict[str, dict[str, str]] = {}
            for values in reader:
                row = {str(k).strip(): (v or "").strip() for k, v in values.items() if k is not None}
                if None in values or not row.get("video"):
                    raise FlowError(f"{where}: line {reader.line_num}: expected {len(names)} cells, the video's filled")
                id = row.get("id") or row["video"]
                if id in rows:
                    raise FlowError(f"{where}: line {reader.line_num}: a second episode {id!r}; give each its own id")
                rows[id] = row
        except (UnicodeDecodeError, csv.Error) as error:
            raise FlowError(f"{where}: not a readable CSV table ({error})") from None
        return rows

    def ids(self) -> Iterator[str]:
        yield from self._rows

    def episode(self, id: str) -> SourceEpisode:
        row = self._rows.get(id)
        if row is None:
            raise FlowError(f"{self.location.name}/{self._name}: no episode {id!r}")
        location, name = self._place(row["video"])
        pictures = [n for n in location.find(f"{escape(name)}/*") if PurePosixPath(n).suffix.lower() in IMAGE_SUFFIXES]
        try:
            fps = float(row["fps"]) if row.get("fps") else None
        except ValueError:
            raise FlowError(f"{self._name}: episode {id!r}: fps {row['fps']!r} is no number") from None

        def files() -> list[Path]:
            return [location.local(n) for n in pictures or [name]]

        def open_view() -> VideoFile | Pictures:
            if pictures:
                return Pictures(f"{location.name}/{name}", later(location, pictures), fps)
            return VideoFile(location.local(name))

        if not pictures and not location.has(name):
            raise FlowError(f"{location.name}/{name}: no such video (episode {id!r} of {self._name})")
        camera = None
        if row.get("camera"):
            camera = Camera.from_dict(read_object(*self._place(row["camera"])), row["camera"])
        return SourceEpisode(
            id,
            (View("camera", open_view, files, camera),),
            row.get("task") or None,
            row.get("robot") or None,
            self._joints(row["joints"]) if row.get("joints") else None,
        )

    def stamp(self, id: str) -> str | None:
        row = self._rows[id]
        if any("://" in row.get(name, "") for name in FILES):
            return None
        places = [self._place(row[name]) for name in FILES if row.get(name)]
        stamps = [location.stamp(name) for location, name in places]
        return None if None in stamps else sha256_json([stamps, row])[:16]

    def _joints(self, name: str) -> JointLog:
        data = read_object(*self._place(name))
        try:
            names, q = tuple(str(n) for n in data["joint_names"]), np.atleast_2d(np.array(data["q"], float))
            if q.ndim != 2 or q.shape[1] != len(names):
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise FlowError(f'{name}: expected {{"joint_names": [...], "q": [[...], ...]}}, a row a frame') from None
        return JointLog(names, q)

    def _place(self, text: str) -> tuple[Location, str]:
        """Where a path of the table leads."""
        if "://" in text:
            folder, _, name = text.rstrip("/").rpartition("/")
            return open_location(folder), name
        if not isinstance(self.location, LocalFolder):
            return self.location, text  # the location refuses what leads out of it
        path = self.location.path / text
        return LocalFolder(path.parent), path.name
