"""DROID as it was recorded: `<date>/{metadata_<id>.json, trajectory.h5, recordings/MP4/<serial>.mp4}`.

Joints, gripper and timestamps are in the HDF5 file (15 Hz; milliseconds). Its gripper is 1 = closed, turned here. The
cameras' poses are often wrong; K is only in the SVO files, which need the camera maker's software.

Source: droid-dataset/droid, droid/postprocessing/schema.py and droid/robot_env.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from glob import escape
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from flows.datasets.jsons import numbers, read_object
from flows.datasets.lerobot import euler_pose
from flows.datasets.location import Location
from flows.datasets.source import Dataset, JointLog, SourceEpisode, View
from flows.datasets.videos import Timed
from flows.errors import FlowError

CAMERAS = ("ext1", "ext2", "wrist")
JOINTS = tuple(f"panda_joint{i}" for i in range(1, 8))
MAX_STEPS = 1_000_000
STATE = "observation/robot_state"
TIME = "observation/timestamp"
NOTE = "DROID's camera poses are often wrong by centimetres and more: solve for the camera"


class DroidRaw(Dataset):
    """Every folder with a `trajectory.h5` under a folder."""

    kind = "droid"

    def __init__(self, location: Location) -> None:
        self.location = location

    @cached_property
    def _folders(self) -> dict[str, None]:
        return dict.fromkeys(PurePosixPath(n).parent.as_posix() for n in self.location.find("**/trajectory.h5"))

    def ids(self) -> Iterator[str]:
        yield from self._folders

    def episode(self, id: str) -> SourceEpisode:
        if id not in self._folders:
            raise FlowError(f"{self.location.name}: no trajectory in {id!r}")
        found = self.location.find(f"{escape(id)}/metadata_*.json")
        meta = read_object(self.location, found[0]) if found else {}
        log = _read_log(self.location.local(f"{id}/trajectory.h5"), f"{self.location.name}/{id}/trajectory.h5")
        present = {
            PurePosixPath(n).stem: n
            for n in self.location.find(f"{escape(id)}/recordings/MP4/*.mp4")
            if "-stereo" not in n
        }
        serials = {name: str(meta.get(f"{name}_cam_serial")) for name in CAMERAS}
        named = {present[s]: name for name, s in serials.items() if s in present}
        named |= {n: stem for stem, n in present.items() if n not in named}  # without metadata: by serial number
        if not named:
            raise FlowError(f"{self.location.name}/{id}: no recordings/MP4/*.mp4; DROID's SVO files need the ZED SDK")
        views = tuple(self._view(id, file, name, meta, log) for file, name in named.items())
        start = log.get("robot_time")
        joints = JointLog(
            JOINTS, log["joints"], None if start is None else (start - start[0]) / 1000, log.get("gripper")
        )
        task = str(meta.get("current_task") or "").strip()
        return SourceEpisode(id, views, task or None, "panda_robotiq", joints, (NOTE,))

    def _view(self, id: str, file: str, name: str, meta: dict[str, Any], log: dict[str, np.ndarray]) -> View:
        location, serial = self.location, PurePosixPath(file).stem
        stamps = log.get(f"captured/{serial}")
        times = np.zeros(0) if stamps is None else stamps / 1000
        pose = meta.get(f"{name}_cam_extrinsics")
        T_cam_base = None
        if pose is not None and name != "wrist":  # the wrist camera's is that of its first moment
            T_cam_base = np.linalg.inv(euler_pose(numbers(pose, (6,), f"{location.name}/{id}: {name}_cam_extrinsics")))

        def files() -> list[Path]:
            return [location.local(file)]

        return View(name, lambda: Timed(location.local(file), times), files, T_cam_base=T_cam_base)


def _read_log(path: Path, where: str) -> dict[str, np.ndarray]:
    """joints (T,7) rad, gripper (T,) 1 = open, robot_time (T,) ms, captured/<serial> (T,) ms of each camera.

    Raises:
        FlowError: h5py is absent, or the file is not what DROID writes.
    """
    try:
        import h5py
    except ImportError:
        raise FlowError(f"{where}: DROID's trajectories need the package h5py; pip install 'urdfit[droid]'") from None
    try:
        with h5py.File(path, "r") as file:
            out = {"joints": _values(file, f"{STATE}/joint_positions", (7,), where)}
            count = len(out["joints"])
            if f"{STATE}/gripper_position" in file:
                out["gripper"] = 1 - _values(file, f"{STATE}/gripper_position", (), where, count)
            if f"{TIME}/robot_state/read_start" in file:
                out["robot_time"] = _values(file, f"{TIME}/robot_state/read_start", (), where, count)
            cameras = file.get(f"{TIME}/cameras", {})
            for key in cameras:
                if key.endswith("_estimated_capture"):
                    serial = key.removesuffix("_estimated_capture").split("_")[0]
                    out[f"captured/{serial}"] = _values(file, f"{TIME}/cameras/{key}", (), where, count)
        return out
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise FlowError(f"{where}: not a readable DROID trajectory ({' '.join(str(error).split())[:200]})") from None


def _values(file: Any, name: str, shape: tuple[int, ...], where: str, count: int | None = None) -> np.ndarray:
    """A data set of the file itself: links to other files and foreign storage are refused, sizes checked first."""
    import h5py

    part = ""
    for piece in name.split("/"):
        part = f"{part}/{piece}"
        if not isinstance(file.get(part, getlink=True), h5py.HardLink):
            raise FlowError(f"{where}: {part} is missing, or a link to elsewhere")
    data = file[name]
    if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
        raise FlowError(f"{where}: {name} is not data of this file")
    if data.shape[1:] != shape or not 0 < len(data) <= MAX_STEPS or count not in (None, len(data)):
        raise FlowError(f"{where}: {name} has the shape {data.shape}; expected {(count or 'T', *shape)}")
    values = np.array(data[()], float)
    if not np.isfinite(values).all():
        raise FlowError(f"{where}: {name} holds values that are not finite")
    return values
