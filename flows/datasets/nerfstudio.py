"""nerfstudio folders: `transforms.json` and its pictures, taken by a camera that moves or stands still.

Its cameras are OpenGL's (y up, z back) and its pixels are counted from their corners; both are converted here. The
world is the reconstruction's, not the robot's base, and its scale need not be metric.

Source: docs.nerf.studio, "Data conventions".
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from flows.datasets.jsons import numbers, read_object, rigid
from flows.datasets.location import Location, inside
from flows.datasets.source import Dataset, SourceEpisode, View
from flows.datasets.videos import Pictures, later
from flows.errors import FlowError
from pose.camera import Camera
from segmentation.video import IMAGE_SUFFIXES, natural_key

T_CV_GL = np.diag([1.0, -1.0, -1.0, 1.0])
STILL = 1e-6  # metres and direction cosines
LENS = ("fl_x", "fl_y", "cx", "cy", "w", "h", "k1", "k2", "p1", "p2", "k3", "camera_model")


class Nerfstudio(Dataset):
    """Every `transforms.json` under a folder."""

    kind = "nerfstudio"

    def __init__(self, location: Location) -> None:
        self.location = location

    @cached_property
    def _files(self) -> dict[str, str]:
        names = (
            ["transforms.json"] if self.location.has("transforms.json") else self.location.find("**/transforms.json")
        )
        return {PurePosixPath(n).parent.as_posix(): n for n in names}

    def ids(self) -> Iterator[str]:
        yield from self._files

    def episode(self, id: str) -> SourceEpisode:
        if id not in self._files:
            raise FlowError(f"{self.location.name}: no transforms.json in {id!r}")
        where = f"{self.location.name}/{self._files[id]}"
        data = read_object(self.location, self._files[id])
        frames = data.get("frames")
        if not isinstance(frames, list) or not frames or not all(isinstance(f, dict) for f in frames):
            raise FlowError(f"{where}: no frames in it")
        frames = sorted(frames, key=_order)
        names = [self._picture(id, f, where) for f in frames]
        Ts = np.stack([rigid(f.get("transform_matrix"), f"{where}: transform_matrix") for f in frames])
        Ts_cam_world = np.linalg.inv(Ts @ T_CV_GL)
        shared = _intrinsics(frames[0])
        own = any(_intrinsics(f) != shared for f in frames)
        camera = None if own else _camera(data | shared, where)
        notes = ["poses are in the reconstruction's world and scale, not in the robot's base"]
        if own:
            notes.append("every picture has a focal length of its own; the camera is left unknown")
        view = View(
            "camera",
            lambda: Pictures(where, later(self.location, names)),
            lambda: [self.location.local(n) for n in names],
            camera,
            Ts_cam_world=Ts_cam_world,
        )
        if np.abs(Ts_cam_world - Ts_cam_world[0]).max() < STILL:
            notes.append("the camera stands still")
        return SourceEpisode(id, (view,), notes=tuple(notes))

    def _picture(self, folder: str, frame: dict[str, Any], where: str) -> str:
        name = (PurePosixPath(folder) / inside(str(frame.get("file_path", "")), where)).as_posix()
        if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
            return name
        found = [n for n in (f"{name}{s}" for s in (".png", ".jpg", ".jpeg")) if self.location.has(n)]  # Blender's way
        if not found:
            raise FlowError(f"{where}: picture {frame.get('file_path')!r} is not there")
        return found[0]


def _order(frame: dict[str, Any]) -> list:
    return natural_key(Path(str(frame.get("file_path", ""))))


def _intrinsics(frame: dict[str, Any]) -> dict[str, Any]:
    """What a frame says of its own lens."""
    return {k: v for k, v in frame.items() if k in LENS}


def _camera(data: dict[str, Any], where: str) -> Camera | None:
    """The camera that a transforms.json states; None where it states none, or a lens that OpenCV's model is not."""
    if data.get("camera_model", "OPENCV") not in ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE") or not {"w", "h"} <= set(data):
        return None
    width, height = (int(numbers(data[k], (), f"{where}: {k}")) for k in ("w", "h"))
    if "fl_x" in data:
        fx = float(numbers(data["fl_x"], (), f"{where}: fl_x"))
    elif "camera_angle_x" in data:
        fx = width / 2 / float(np.tan(numbers(data["camera_angle_x"], (), f"{where}: camera_angle_x") / 2))
    else:
        return None
    fy = float(numbers(data.get("fl_y", fx), (), f"{where}: fl_y"))
    cx, cy = (
        float(numbers(data.get(k, half), (), f"{where}: {k}")) for k, half in (("cx", width / 2), ("cy", height / 2))
    )
    lens = [float(numbers(data.get(k, 0.0), (), f"{where}: {k}")) for k in ("k1", "k2", "p1", "p2", "k3")]
    entry = {
        "width": width,
        "height": height,
        "K": [[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]],
        "distortion": lens if any(lens) else [],
    }
    return Camera.from_dict(entry, where)
