"""Folders as cameras' own tools and known data sets leave them, read as rigs.

Axes and pixel centres are converted here: nerfstudio and embodied gaussians use OpenGL's (y up, z back), and nerfstudio
counts pixels from their corners.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pose.camera import Camera
from segmentation.video import IMAGE_SUFFIXES, natural_key, open_video
from twin.depth import DepthFolder
from twin.errors import TwinError
from twin.rig import Rig, RigCamera
from twin.rig_files import PictureFiles, depth_files, read_object, stamps

T_CV_GL = np.diag([1.0, -1.0, -1.0, 1.0])
COLOR = ("color", "rgb", "image", "images", "left")
INTRINSICS = ("cam.json", "camera.json", "intrinsics.json", "camera_info.yaml", "camera_info.json")


def _pictures(files: list[Path], fps: float = 30.0) -> Callable[[], PictureFiles]:
    return lambda: PictureFiles(files, fps)


def _found(folder: Path, pattern: str) -> list[Path]:
    return sorted((p for p in folder.glob(pattern) if p.suffix.lower() in IMAGE_SUFFIXES), key=natural_key)


def _rigid(value: Any, where: str) -> np.ndarray:
    try:
        T = np.array(value, float)
    except (TypeError, ValueError):
        T = np.empty(0)
    if T.shape != (4, 4) or not np.isfinite(T).all() or np.abs(T[:3, :3] @ T[:3, :3].T - np.eye(3)).max() > 1e-2:
        raise TwinError(f"{where}: expected a rigid motion as a 4x4 matrix")
    u, _, vt = np.linalg.svd(T[:3, :3])  # printed digits are not quite a rotation
    T[:3, :3] = u @ vt
    return T


def _camera(width: Any, height: Any, K: Any, distortion: Any, T_cam_base: Any, where: str) -> Camera:
    content = {"width": width, "height": height, "K": K, "distortion": distortion, "T_cam_base": T_cam_base}
    return Camera.from_dict(content, where)


def nerfstudio(folder: Path) -> Rig:
    """`transforms.json`: every picture of a moving camera, or every camera of a still rig, is a view of its own.

    Its world is the reconstruction's: poses count among each other only. Source: docs.nerf.studio, "Data conventions".
    """
    file = folder / "transforms.json"
    data = read_object(file)
    frames = data.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(f, dict) for f in frames):
        raise TwinError(f"{file}: no frames in it")
    frames = sorted(frames, key=lambda f: natural_key(Path(str(f.get("file_path", "")))))
    files, depths, Ts = [], [], []
    for frame in frames:
        where = f"{file}: {frame.get('file_path')}"
        picture = _inside(folder, frame.get("file_path"), where)
        if not picture.suffix:
            picture = next((p for p in picture.parent.glob(picture.name + ".*") if p.suffix in IMAGE_SUFFIXES), picture)
        files.append(picture)
        depth = frame.get("depth_file_path")
        depths.append(None if depth is None else _inside(folder, depth, where))
        Ts.append(np.linalg.inv(_rigid(frame.get("transform_matrix"), where) @ T_CV_GL))
    lenses = [{**data, **frame} for frame in frames]
    scale = float(data.get("depth_unit_scale_factor", 0.001))
    same = all(_lens(lens, file) == _lens(lenses[0], file) for lens in lenses)
    whole = all(depth is not None for depth in depths)
    if same:
        size, K, distortion = _lens(lenses[0], file)
        camera = _camera(*size, K, distortion, None, str(file))
        depth = DepthFolder(tuple(d for d in depths if d is not None), scale) if whole else None
        one = RigCamera("camera", _pictures(files), folder, camera, depth, Ts_cam_base=np.stack(Ts))
        return Rig((one,), "other", ("the world of transforms.json is not the robot's base",))
    cameras = []
    for i, (lens, picture, T) in enumerate(zip(lenses, files, Ts)):
        size, K, distortion = _lens(lens, file)
        depth_file = depths[i]
        depth = None if depth_file is None else DepthFolder((depth_file,), scale)
        camera = _camera(*size, K, distortion, T.tolist(), f"{file}: {picture.name}")
        cameras.append(RigCamera(f"{i:03d}", _pictures([picture]), picture, camera, depth))
    return Rig(tuple(cameras), "other", ("the world of transforms.json is not the robot's base",))


def _lens(data: dict[str, Any], file: Path) -> tuple[tuple[int, int], list, list]:
    try:
        width, height, fx = int(data["w"]), int(data["h"]), float(data["fl_x"])
        fy, cx, cy = float(data.get("fl_y", fx)), float(data["cx"]) - 0.5, float(data["cy"]) - 0.5
        distortion = [float(data.get(k, 0.0)) for k in ("k1", "k2", "p1", "p2", "k3")]
    except (KeyError, TypeError, ValueError) as error:
        raise TwinError(f"{file}: w, h, fl_x, cx and cy must be numbers ({error})") from None
    if data.get("camera_model", "OPENCV") not in ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE"):
        raise TwinError(f"{file}: camera model {data['camera_model']} is not supported; undistort the pictures first")
    return (width, height), [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], distortion if any(distortion) else []


def _inside(folder: Path, name: Any, where: str) -> Path:
    """A path of a description, kept within its folder."""
    path = (folder / str(name)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise TwinError(f"{where}: {name!r} lies outside {folder}")
    return path


def embodied(folder: Path) -> Rig:
    """A recording with `cameras.json`: camera-to-world in OpenGL's axes, K and stamps beside each video."""
    data = read_object(folder / "cameras.json")
    cameras = []
    for name, entry in data.items():
        where = f"{folder / 'cameras.json'}: camera {name}"
        if not isinstance(entry, dict) or not {"X_WC", "video_path", "metadata_path"} <= set(entry):
            raise TwinError(f"{where}: needs X_WC, video_path and metadata_path")
        video = _inside(folder, entry["video_path"], where)
        meta = read_object(_inside(folder, entry["metadata_path"], where))
        T = np.linalg.inv(_rigid(entry["X_WC"], where) @ T_CV_GL)
        width, height = _size(meta, where)
        camera = _camera(width, height, meta.get("K"), [], T.tolist(), where)
        times = stamps(meta.get("timestamps"), where)
        cameras.append(RigCamera(name, lambda video=video: open_video(video), video, camera, stamps=times))  # type: ignore[misc]
    return Rig(tuple(cameras))


def tag_poses(folder: Path) -> Rig:
    """`calib_and_poses.json`: still poses, `NNN_<camera>.jpg`."""
    file = folder / "calib_and_poses.json"
    given = read_object(file).get("cameras")
    if not isinstance(given, dict) or not given:
        raise TwinError(f"{file}: no cameras in it")
    cameras = []
    for name, entry in given.items():
        where = f"{file}: camera {name}"
        width, height = _size(entry, where)
        camera = _camera(width, height, entry.get("K"), [], entry.get("T_cam_base"), where)
        cameras.append(RigCamera(name, _pictures(_found(folder, f"*_{name}.*"), 1.0), folder, camera))
    return Rig(tuple(cameras))


def _size(entry: Any, where: str) -> tuple[Any, Any]:
    size = entry.get("resolution") if isinstance(entry, dict) else None
    if not isinstance(size, list) or len(size) != 2:
        raise TwinError(f"{where}: expected its resolution as [width, height], got {size!r}")
    return size[0], size[1]


def scan(folder: Path) -> Rig:
    """`cam.info.txt`, `frame-*.color.png`, `.depth.png`: one camera carried around, depth on the colour's pixels."""
    file = folder / "cam.info.txt"
    blocks = _matrices(file)
    K = next((m for title, m in blocks if title.startswith("Color camera intrinsic")), None)
    Ts = [np.linalg.inv(_rigid(m, str(file))) for title, m in blocks if title.startswith("Camera-to-world")]
    files = _found(folder, "*.color.png")
    if K is None or len(Ts) != len(files):
        raise TwinError(f"{file}: {len(Ts)} poses for {len(files)} pictures, or no colour intrinsics")
    height, width = PictureFiles(files).height, PictureFiles(files).width
    depth = DepthFolder(tuple(_found(folder, "*.depth.png")), 1e-4, rotated=3)
    camera = _camera(width, height, K.tolist(), [], None, str(file))
    one = RigCamera("camera", _pictures(files, 1.0), folder, camera, depth, Ts_cam_base=np.stack(Ts))
    return Rig((one,), "other")


def _matrices(file: Path) -> list[tuple[str, np.ndarray]]:
    """Matrices of a text file, each under a line with # and its title."""
    blocks: list[tuple[str, list[list[float]]]] = []
    for line in file.read_text(encoding="utf-8", errors="replace")[:1_000_000].splitlines():
        if line.startswith("#"):
            blocks.append((line.lstrip("# ").strip(), []))
        elif line.strip() and blocks:
            try:
                blocks[-1][1].append([float(v) for v in re.split(r"[\s,]+", line.strip())])
            except ValueError:
                raise TwinError(f"{file}: {line.strip()[:40]!r} is no row of numbers") from None
    return [(title, np.array(rows)) for title, rows in blocks if rows and len({len(r) for r in rows}) == 1]


def ros_stereo(folder: Path) -> Rig:
    """`<side>_camera_info.yaml` with `<side>_image_*.png`, as ROS drivers of stereo cameras name them."""
    cameras = []
    for info in sorted(folder.glob("*_camera_info.yaml")):
        side = info.name.removesuffix("_camera_info.yaml")
        files = _found(folder, f"{side}_image_*")
        cameras.append(RigCamera(side, _pictures(files, 1.0), folder, _ros_camera(info)))
    return Rig(tuple(cameras))


def _ros_camera(file: Path) -> Camera:
    import yaml

    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
        K = np.array(data["k"] if "k" in data else data["K"], float).reshape(3, 3)
        lens = [float(v) for v in data.get("d", data.get("D", []))]
        size = data["width"], data["height"]
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise TwinError(f"{file}: not a ROS camera info ({type(error).__name__}: {error})") from None
    if any(lens[5:]):
        raise TwinError(f"{file}: its distortion has more than five numbers; rectify the pictures first")
    return _camera(*size, K.tolist(), lens[:5] if any(lens) else [], None, str(file))


def _sensor_folders(folder: Path) -> list[Path]:
    return [d for d in sorted(folder.iterdir(), key=natural_key) if d.is_dir() and _color(d) is not None]


def _color(folder: Path) -> Path | None:
    """Where a camera's colour pictures are: a folder or a video called color, rgb, image or left."""
    for name in COLOR:
        if (folder / name).is_dir() and _found(folder / name, "*"):
            return folder / name
        video = next((p for s in (".mp4", ".mkv", ".avi") if (p := folder / f"{name}{s}").is_file()), None)
        if video is not None:
            return video
    return None


def sensors(folder: Path) -> Rig:
    """A folder a camera: `color/` (or rgb, image, left; or a video of that name), `depth/`, and intrinsics.

    Intrinsics are a cam.json, a RealSense `intrinsics.json` (fx, fy, ppx, ppy, coeffs), or a ROS camera info.
    """
    cameras = []
    for place in _sensor_folders(folder):
        color = _color(place)
        assert color is not None
        file = next((place / n for n in INTRINSICS if (place / n).is_file()), None)
        depth = DepthFolder(depth_files(place / "depth", place.name)) if (place / "depth").is_dir() else None
        camera = None if file is None else _ros_camera(file) if file.suffix == ".yaml" else _json_camera(file)
        cameras.append(RigCamera(place.name, lambda color=color: open_video(color), color, camera, depth))  # type: ignore[misc]
    return Rig(tuple(cameras))


def _json_camera(file: Path) -> Camera:
    data = read_object(file)
    if "fx" not in data:
        return Camera.from_dict(data, str(file))
    cx, cy = (data.get(a, data.get(b)) for a, b in (("ppx", "cx"), ("ppy", "cy")))
    K = [[data["fx"], 0, cx], [0, data.get("fy"), cy], [0, 0, 1]]
    lens = data.get("coeffs") or data.get("distortion") or []
    return _camera(data.get("width"), data.get("height"), K, lens if any(lens) else [], None, str(file))


LAYOUTS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Rig]], ...] = (
    (lambda f: (f / "transforms.json").is_file(), nerfstudio),
    (lambda f: (f / "cameras.json").is_file(), embodied),
    (lambda f: (f / "calib_and_poses.json").is_file(), tag_poses),
    (lambda f: (f / "cam.info.txt").is_file(), scan),
    (lambda f: any(f.glob("*_camera_info.yaml")), ros_stereo),
    (lambda f: bool(_sensor_folders(f)), sensors),
)
