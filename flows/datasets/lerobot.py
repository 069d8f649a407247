"""LeRobotDataset v3.0 and v2.1.

States come under the names that the data set gives them; the format states no units (some robots log degrees), so the
notes say so, unless the data set is our own export, whose units are ours and whose cameras are known.
"""

from __future__ import annotations

import string
from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.spatial.transform import Rotation

from flows.datasets.jsons import read_lines, read_object
from flows.datasets.location import Location, inside
from flows.datasets.source import Dataset, JointLog, SourceEpisode, View
from flows.datasets.videos import Stretch
from flows.errors import FlowError
from flows.files import sha256_json
from pose.camera import Camera
from segmentation.video import VideoFile, VideoReader

STATE = "observation.state"
GRIPPER_RANGE = (-0.05, 1.05)  # a gripper's column outside of it is no fraction
UNITS = "the format states no units of observation.state: look at its numbers before taking them for radians"


def open_lerobot(location: Location) -> LeRobot:
    """The reader for the version that `meta/info.json` states.

    Raises:
        FlowError: another version than 3.0 and 2.1 (2.0), or a damaged description.
    """
    info = read_object(location, "meta/info.json")
    version = str(info.get("codebase_version"))
    if version.startswith("v3."):
        return LeRobot3(location, info)
    if version.startswith("v2."):
        return LeRobot2(location, info)
    raise FlowError(f"{location.name}/meta/info.json: codebase_version {version!r}; v3.0 and v2.1 can be read")


class LeRobot(Dataset):
    """What both versions share."""

    def __init__(self, location: Location, info: dict[str, Any]) -> None:
        self.location, self.info = location, info
        features = info.get("features")
        try:
            self.fps, self.total = float(info["fps"]), int(info["total_episodes"])
        except (KeyError, TypeError, ValueError):
            self.fps = self.total = 0
        if not isinstance(features, dict) or not 0 < self.fps < 1e5 or not 0 <= self.total < 1 << 31:
            raise FlowError(f"{location.name}/meta/info.json: expected fps, total_episodes and features")
        self.features = {str(k): v for k, v in features.items() if isinstance(v, dict)}
        self.cameras = [k for k, f in self.features.items() if f.get("dtype") == "video"]
        if not self.cameras:
            raise FlowError(f"{location.name}: no video feature in it; there is nothing to look at")

    def ids(self) -> Iterator[str]:
        yield from (f"episode_{i:06d}" for i in range(self.total))

    def episode(self, id: str) -> SourceEpisode:
        digits = id.removeprefix("episode_")
        if not digits.isdecimal() or int(digits) >= self.total:
            raise FlowError(f"{self.location.name}: no episode {id!r}; it has {self.total}")
        return self._episode(int(digits), id)

    @abstractmethod
    def _episode(self, index: int, id: str) -> SourceEpisode: ...

    def _path(self, key: str, **fields: int | str) -> str:
        """A file name from a pattern of info.json, which may only insert the fields given."""
        pattern = self.info.get(key)
        where = f"{self.location.name}/meta/info.json: {key}"
        try:
            used = [(name, spec) for _, name, spec, _ in string.Formatter().parse(str(pattern)) if name is not None]
            if any(name not in fields or len(spec or "") > 4 for name, spec in used):
                raise ValueError
            return inside(str(pattern).format(**fields), where)
        except (ValueError, IndexError, KeyError):
            raise FlowError(f"{where}: {pattern!r} is no pattern of {', '.join(fields)}") from None

    def _rows(self, name: str, index: int) -> dict[str, np.ndarray]:
        """An episode's states and camera, by feature."""
        wanted = [
            STATE,
            *(f"{k}.{_short(c)}" for c in self.cameras for k in ("camera_extrinsics", "camera_intrinsics")),
        ]
        try:
            file = pq.ParquetFile(self.location.local(name))
            columns = [c for c in wanted if c in file.schema_arrow.names]
            if not columns:
                return {}
            table = pq.read_table(self.location.local(name), columns=columns, filters=[("episode_index", "==", index)])
            return {c: np.array(table[c].to_pylist(), float) for c in columns}
        except (pa.ArrowException, OSError, ValueError) as error:
            raise FlowError(f"{self.location.name}/{name}: not a readable table ({error})") from None

    def _joints(self, rows: dict[str, np.ndarray]) -> JointLog | None:
        states = rows.get(STATE)
        names = _names(self.features.get(STATE, {}))
        if states is None or states.ndim != 2 or states.shape[1] != len(names) or not len(states):
            return None
        grips = [i for i, n in enumerate(names) if "gripper" in n.lower()]
        column = states[:, grips[0]] if len(grips) == 1 else None
        gripper = None
        if column is not None and GRIPPER_RANGE[0] <= np.nanmin(column) <= np.nanmax(column) <= GRIPPER_RANGE[1]:
            gripper = column
            states, names = np.delete(states, grips[0], 1), [n for i, n in enumerate(names) if i != grips[0]]
        return JointLog(tuple(names), states, np.arange(len(states)) / self.fps, gripper)

    def _camera(self, key: str, rows: dict[str, np.ndarray]) -> tuple[Camera | None, np.ndarray | None]:
        """K with pose, or the pose alone, from the columns that our exports and the DROID port have."""
        pose = rows.get(f"camera_extrinsics.{_short(key)}")
        lens = rows.get(f"camera_intrinsics.{_short(key)}")
        T_cam_base = None
        if pose is not None and pose.ndim == 2 and pose.shape[1] == 6 and len(pose) and np.isfinite(pose).all():
            if np.ptp(pose, axis=0).max() < 1e-4:
                T_cam_base = np.linalg.inv(euler_pose(pose[0]))
        shape = self.features[key].get("shape")
        if lens is None or lens.ndim != 2 or lens.shape[1] != 4 or not len(lens) or not isinstance(shape, list):
            return None, T_cam_base
        fx, fy, cx, cy = lens[0]
        K = [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]
        entry = {"width": shape[1], "height": shape[0], "K": K, "T_cam_base": T_cam_base}
        return Camera.from_dict(entry, f"{self.location.name}: {key}"), T_cam_base

    def _build(self, id: str, views: list[View], rows: dict[str, np.ndarray], task: Any) -> SourceEpisode:
        ours = self.location.has("urdfit/episodes/chunk-000/file-000.parquet")
        joints = self._joints(rows)
        notes = () if ours or joints is None else (UNITS,)
        text = task[0] if isinstance(task, list) and task else task
        robot = str(self.info["robot_type"]) if ours and self.info.get("robot_type") else None
        return SourceEpisode(id, tuple(views), str(text) if text else None, robot, joints, notes)


class LeRobot3(LeRobot):
    """v3.0: many episodes in a file."""

    kind = "lerobot v3"

    @cached_property
    def _index(self) -> dict[int, tuple[str, int]]:
        """File and row group of `meta/episodes` of every episode, in order."""
        found: dict[int, tuple[str, int]] = {}
        for name in self.location.find("meta/episodes/*/*.parquet"):
            try:
                file = pq.ParquetFile(self.location.local(name))
                for group in range(file.num_row_groups):
                    indices = file.read_row_group(group, columns=["episode_index"])["episode_index"].to_numpy()
                    found |= {int(i): (name, group) for i in indices}
            except (pa.ArrowException, OSError, ValueError, KeyError) as error:
                raise FlowError(f"{self.location.name}/{name}: not a readable table ({error})") from None
        return dict(sorted(found.items()))

    def ids(self) -> Iterator[str]:
        yield from (f"episode_{i:06d}" for i in self._index)

    def _episode(self, index: int, id: str) -> SourceEpisode:
        row = self._row(index)
        try:
            place = {k: int(row[f"data/{k}"]) for k in ("chunk_index", "file_index")}
            cuts = {}
            for key in self.cameras:
                file = {k: int(row[f"videos/{key}/{k}"]) for k in ("chunk_index", "file_index")}
                start, end = (float(row[f"videos/{key}/{k}"]) for k in ("from_timestamp", "to_timestamp"))
                if not 0 <= start < end < 1e8:
                    raise ValueError(f"from {start} to {end} s")
                cuts[key] = file, start, end
        except (KeyError, TypeError, ValueError) as error:
            raise FlowError(f"{self.location.name}: {id}: its entry in meta/episodes is damaged ({error})") from None
        rows = self._rows(self._path("data_path", **place), index)
        views = [
            self._view(key, self._path("video_path", video_key=key, **file), start, end, rows)
            for key, (file, start, end) in cuts.items()
        ]
        return self._build(id, views, rows, row.get("tasks"))

    def _view(self, key: str, name: str, start: float, end: float, rows: dict[str, np.ndarray]) -> View:
        location, fps = self.location, self.fps

        def open_view() -> VideoReader:
            return Stretch(location.local(name), start, end, fps)

        def files() -> list[Path]:
            return [location.local(name)]

        return View(_short(key), open_view, files, *self._camera(key, rows), part=(round(start, 6), round(end, 6)))

    def _row(self, index: int) -> dict[str, Any]:
        found = self._index.get(index)
        if found is None:
            raise FlowError(f"{self.location.name}: episode {index} is not in meta/episodes")
        file = pq.ParquetFile(self.location.local(found[0]))
        columns = [n for n in file.schema_arrow.names if not n.startswith("stats/")]
        table = file.read_row_group(found[1], columns=columns)
        return next(r for r in table.to_pylist() if r["episode_index"] == index)


class LeRobot2(LeRobot):
    """v2.1 (and 2.0): a file an episode."""

    kind = "lerobot v2"

    @cached_property
    def _tasks(self) -> dict[int, Any]:
        return {
            r["episode_index"]: r.get("tasks")
            for r in read_lines(self.location, "meta/episodes.jsonl")
            if "episode_index" in r
        }

    def _episode(self, index: int, id: str) -> SourceEpisode:
        size = self.info.get("chunks_size", 1000)
        if not isinstance(size, int) or size < 1:
            raise FlowError(f"{self.location.name}/meta/info.json: chunks_size {size!r}; expected a whole number")
        place = {"episode_chunk": index // size, "episode_index": index}
        rows = self._rows(self._path("data_path", **place), index)
        views = [self._view(key, self._path("video_path", video_key=key, **place), rows) for key in self.cameras]
        return self._build(id, views, rows, self._tasks.get(index))

    def stamp(self, id: str) -> str | None:
        index, size = int(id.removeprefix("episode_")), self.info.get("chunks_size", 1000)
        if not isinstance(size, int) or size < 1:
            return None
        place = {"episode_chunk": index // size, "episode_index": index}
        names = [self._path("video_path", video_key=key, **place) for key in self.cameras]
        stamps = [self.location.stamp(name) for name in names]
        return None if None in stamps else sha256_json(stamps)[:16]

    def _view(self, key: str, name: str, rows: dict[str, np.ndarray]) -> View:
        location = self.location

        def open_view() -> VideoReader:
            return VideoFile(location.local(name))

        def files() -> list[Path]:
            return [location.local(name)]

        return View(_short(key), open_view, files, *self._camera(key, rows))


def euler_pose(pose: np.ndarray) -> np.ndarray:
    """(4,4) from x y z (m) and roll pitch yaw about fixed axes (rad)."""
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("xyz", pose[3:]).as_matrix()
    T[:3, 3] = pose[:3]
    return T


def _short(key: str) -> str:
    return key.removeprefix("observation.images.").removeprefix("observation.image.")


def _names(feature: dict[str, Any]) -> list[str]:
    """The names of a vector's entries, in any of the shapes that data sets give them."""
    names = feature.get("names")
    if isinstance(names, dict):
        names = next(iter(names.values()), None) if len(names) == 1 else list(names)
    return [str(n) for n in names] if isinstance(names, list) else []
