"""Reading a rig: `rig.json`, or one of the layouts that cameras and data sets leave behind."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from pose.camera import Camera
from segmentation.video import ImageFolder, VideoReader, natural_key, open_video, read_image
from twin.depth import DepthFolder
from twin.errors import TwinError
from twin.rig import Rig, RigCamera

MOST_CAMERAS = 64
MOST_FOLDERS = 1000  # that are looked into for a rig
LARGEST_JSON = 200_000_000  # bytes
KEYS = {"name", "video", "depth", "depth_scale", "timestamps", "camera", "offset_s", "rotation", "fps"}


class PictureFiles(ImageFolder):
    """Pictures by a list of files, as if they were a folder's."""

    def __init__(self, files: list[Path], fps: float = 30.0) -> None:
        if not files:
            raise TwinError("a camera of the rig has no pictures")
        self.path, self.fps, self.files = files[0].parent, float(fps), files
        self.frame_count = len(files)
        self.height, self.width = read_image(files[0]).shape[:2]


def load_rig(path: str | Path) -> Rig:
    """A rig from a `rig.json`, or from a folder that holds one or is laid out in a way that is known.

    Known are: `rig.json`; nerfstudio's `transforms.json`; a folder a camera with pictures, depth and intrinsics as
    RealSense and ZED tools save them; recordings with `cameras.json` (embodied gaussians); poses with tags
    (`calib_and_poses.json`); RGB-D scans with `cam.info.txt`; ROS stereo pairs with `left_camera_info.yaml`.
    A folder that holds none of these but one folder further down which does is taken for that one.
    No picture is read before it is asked for.

    Raises:
        TwinError, CameraError: what is wrong with which file or camera.
    """
    from twin.rig_layouts import LAYOUTS

    path = Path(path)
    if not path.exists():
        raise TwinError(f"{path}: no such file or folder; give a rig.json")
    if path.is_dir() and not (path / "rig.json").is_file():
        for holds, read in LAYOUTS:
            if holds(path):
                return _checked(read(path), path)
        below = _below(path)
        if len(below) == 1:
            return load_rig(below[0])
        if below:
            named = ", ".join(str(folder.relative_to(path)) for folder in below[:5])
            raise TwinError(f"{path}: holds {len(below)} rigs; give one of {named}")
        raise TwinError(
            f"{path}: holds no rig.json and is laid out in none of the known ways (see `urdfit twin --help`); write a "
            'rig.json: {"cameras": [{"name", "video", "depth"?, "camera"?}, ...]}'
        )
    if path.is_file() and path.name == "transforms.json":
        path = path.parent
        return _checked(next(read for holds, read in LAYOUTS if holds(path))(path), path)
    return _checked(_read(path / "rig.json" if path.is_dir() else path), path)


def _below(path: Path, deep: int = 3) -> list[Path]:
    """Folders below one, at most `deep` of them down, that hold a rig and say so by a file of their own."""
    from twin.rig_layouts import LAYOUTS

    named = LAYOUTS[:-1]  # the last, a folder a camera, is told by names that other folders have, too
    found: list[Path] = []
    level = [path]
    for _ in range(deep):
        level = [d for up in level for d in sorted(up.iterdir()) if d.is_dir() and not d.name.startswith(".")][
            :MOST_FOLDERS
        ]
        held = [d for d in level if (d / "rig.json").is_file() or any(holds(d) for holds, _ in named)]
        found += held
        level = [d for d in level if d not in held]
    return found


def read_object(file: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        TwinError: no such file, too large, or no JSON object.
    """
    try:
        if file.stat().st_size > LARGEST_JSON:
            raise TwinError(f"{file}: {file.stat().st_size} bytes are too many for a description")
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TwinError(f"{file}: not a readable JSON file ({error})") from None
    if not isinstance(data, dict):
        raise TwinError(f"{file}: expected a JSON object, got {type(data).__name__}")
    return data


def _read(file: Path) -> Rig:
    data = read_object(file)
    entries = data.get("cameras")
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
        raise TwinError(f'{file}: expected {{"cameras": [{{"name": ..., "video": ..., "camera": ...}}, ...]}}')
    world = data.get("world", "base")
    if world not in ("base", "other"):
        raise TwinError(f"{file}: world is {world!r}, expected base (poses in the robot's base frame) or other")
    return Rig(tuple(_camera(entry, i, file) for i, entry in enumerate(entries)), world)


def _camera(entry: dict[str, Any], number: int, file: Path) -> RigCamera:
    name = entry.get("name", f"cam{number}")
    where = f"{file}: camera {name}"
    if not isinstance(name, str) or not name.strip() or any(c in "/\\\0" for c in name) or name.startswith("."):
        raise TwinError(f"{file}: camera {number}: its name must be text without slashes, got {name!r}")
    unknown = sorted(set(entry) - KEYS)
    if unknown:
        raise TwinError(f"{where}: unknown entry {unknown[0]!r}; known are {', '.join(sorted(KEYS))}")
    if not isinstance(entry.get("video"), str):
        raise TwinError(f"{where}: needs a video: the path of a file or of a folder of images")
    video = file.parent / entry["video"]
    if not video.exists():
        raise TwinError(f"{where}: {video}: no such video")
    fps = entry.get("fps")
    if fps is not None and not _positive(fps):
        raise TwinError(f"{where}: fps must be a positive number, got {fps!r}")

    def open_it() -> VideoReader:
        return open_video(video, fps=fps)

    camera = entry.get("camera")
    if isinstance(camera, str):
        camera = read_object(file.parent / camera)
    rotation = entry.get("rotation", 0)
    if rotation not in (0, 90, 180, 270):
        raise TwinError(f"{where}: rotation must be 0, 90, 180 or 270 degrees clockwise, got {rotation!r}")
    return RigCamera(
        name=name,
        open=open_it,
        source=video,
        camera=None if camera is None else Camera.from_dict(camera, where),
        depth=_depth(entry, file, where),
        stamps=_times(entry.get("timestamps"), file, where),
        offset=_number(entry.get("offset_s", 0.0), f"{where}: offset_s"),
        rotation=rotation,
    )


def _depth(entry: dict[str, Any], file: Path, where: str) -> DepthFolder | None:
    if entry.get("depth") is None:
        return None
    scale = entry.get("depth_scale", 0.001)
    if not _positive(scale):
        raise TwinError(f"{where}: depth_scale must be metres a unit, for example 0.001, got {scale!r}")
    folder = file.parent / str(entry["depth"])
    return DepthFolder(depth_files(folder, where), float(scale))


def depth_files(folder: Path, where: str) -> tuple[Path, ...]:
    """The PNGs of a folder in natural order.

    Raises:
        TwinError: none there.
    """
    files = sorted(folder.glob("*.png"), key=natural_key) if folder.is_dir() else []
    if not files:
        raise TwinError(f"{where}: depth {folder}: expected a folder of 16-bit PNGs, one a frame")
    return tuple(files)


def _times(given: Any, file: Path, where: str) -> np.ndarray | None:
    """Seconds from a list, or from a JSON file that holds one (by itself, or as "timestamps")."""
    if given is None:
        return None
    if isinstance(given, str):
        path = file.parent / given
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise TwinError(f"{where}: timestamps {path}: not a readable JSON file ({error})") from None
        given = content.get("timestamps") if isinstance(content, dict) else content
    return stamps(given, where)


def stamps(given: Any, where: str) -> np.ndarray:
    """(T,) rising seconds, checked.

    Raises:
        TwinError: anything else.
    """
    try:
        times = np.array(given, float)
    except (TypeError, ValueError):
        times = np.empty(0)
    if times.ndim != 1 or not len(times) or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise TwinError(f"{where}: timestamps must be rising numbers of seconds, one a frame")
    return times


def _checked(rig: Rig, path: Path) -> Rig:
    if len(rig) > MOST_CAMERAS:
        raise TwinError(f"{path}: {len(rig)} cameras; at most {MOST_CAMERAS} make a rig")
    names = rig.names
    double = next((n for n in names if names.count(n) > 1), None)
    if double is not None:
        raise TwinError(f"{path}: two cameras are called {double!r}; names must differ")
    return rig


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _number(value: Any, what: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise TwinError(f"{what} must be a number of seconds, got {value!r}")
    return float(value)
