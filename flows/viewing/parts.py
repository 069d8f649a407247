"""Pieces of a page: the robot, a camera with its picture, a time line."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import trimesh
from scipy.spatial.transform import Rotation

from flows.errors import FlowError
from pose.camera import Camera
from urdf import Robot

TICK = 1 / 30  # s between two pictures of a running time line, at least


def placed(T: np.ndarray) -> dict[str, np.ndarray]:
    """A rigid (4,4) motion as viser wants it: wxyz and position."""
    return {"wxyz": Rotation.from_matrix(T[:3, :3]).as_quat(scalar_first=True), "position": np.array(T[:3, 3])}


def columns_for(robot: Robot, names: Sequence[str], what: str) -> list[int]:
    """Where each joint of the robot is among `names`; raises FlowError where they are not the same joints."""
    if sorted(names) != sorted(robot.joint_names):
        raise FlowError(
            f"{what} moves joints {', '.join(names)}; the description of its robot has {', '.join(robot.joint_names)}"
        )
    return [names.index(name) for name in robot.joint_names]


class RobotModel:
    """The robot's links at `path`, moved by forward kinematics; its base is the world."""

    def __init__(self, server: Any, robot: Robot, path: str = "/robot"):
        self.robot, self._server = robot, server
        self.root = server.scene.add_frame(path, show_axes=False)
        self._frames: list[tuple[int, Any]] = []
        mesh = robot.mesh
        for link, name in enumerate(robot.link_names):
            mine = mesh.face_link == link
            if not mine.any():
                continue
            at = f"{path}/{link}_{name.replace('/', '_')}"
            self._frames.append((link, server.scene.add_frame(at, show_axes=False)))
            color = np.column_stack([mesh.face_color[mine] * 255, np.full(mine.sum(), 255)]).astype(np.uint8)
            corners = mesh.vertices[mesh.faces[mine]].reshape(-1, 3)  # a face its own: flat shading, one colour
            surface = trimesh.Trimesh(
                corners, np.arange(len(corners)).reshape(-1, 3), vertex_colors=np.repeat(color, 3, 0), process=False
            )
            server.scene.add_mesh_trimesh(f"{at}/mesh", surface)

    def pose(self, q: np.ndarray) -> None:
        """Joints (n,); hidden where they are NaN."""
        known = bool(np.isfinite(q).all())
        self.root.visible = known
        if not known:
            return
        poses = self.robot.link_poses(q)
        with self._server.atomic():
            for link, frame in self._frames:
                for name, value in placed(poses[link]).items():
                    setattr(frame, name, value)


def add_camera(server: Any, name: str, camera: Camera, image: np.ndarray | None = None, scale: float = 0.15) -> Any:
    """A frustum where the camera stands, T_cam_base known; an image (H,W,3) uint8 fills it."""
    T_base_cam = np.linalg.inv(np.asarray(camera.T_cam_base, float))
    picture = None if image is None else fitting(image)
    return server.scene.add_camera_frustum(
        name, fov=2 * float(np.arctan(camera.height / 2 / camera.K[1, 1])), aspect=camera.width / camera.height,
        scale=scale, thickness=0.004, color=(60, 60, 60), image=picture, format="jpeg",
        cast_shadow=False, **placed(T_base_cam),
    )  # fmt: skip


def fitting(image: np.ndarray, longest: int = 640) -> np.ndarray:
    """The picture (H,W,3), shrunk if a side is longer than `longest` pixels."""
    factor = longest / max(image.shape[:2])
    return image if factor >= 1 else cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


class Picture:
    """A picture in the panel. HTML: viser's own images are replaced before they load, and the browser complains."""

    def __init__(self, server: Any, image: np.ndarray):
        self._html = server.gui.add_html(_as_html(image))

    def show(self, image: np.ndarray) -> None:
        """Another picture (H,W,3) uint8 RGB."""
        self._html.content = _as_html(image)


def _as_html(image: np.ndarray) -> str:
    _, jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    return f'<img style="width:100%" src="data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}">'


class Timeline:
    """A slider over T instants with play and pause; calls `show(index)` whenever it moves."""

    def __init__(self, server: Any, times: np.ndarray, show: Callable[[int], None], start: int = 0):
        self._times, self._show, self._lock = np.asarray(times, float), show, threading.Lock()
        self._ended = threading.Event()
        last = max(len(self._times) - 1, 1)
        self.slider = server.gui.add_slider("frame", 0, last, 1, start, disabled=len(self._times) < 2)
        self.playing = server.gui.add_checkbox("play", False)
        self.speed = server.gui.add_slider("speed", 0.1, 4.0, 0.1, 1.0)
        self.slider.on_update(lambda _: self._see(int(self.slider.value)))
        threading.Thread(target=self._play, daemon=True, name="urdfit-play").start()

    def stop(self) -> None:
        """Ends playing for good."""
        self._ended.set()

    def _see(self, index: int) -> None:
        with self._lock:
            self._show(min(max(index, 0), len(self._times) - 1))

    def _play(self) -> None:
        moment, before = 0.0, time.monotonic()
        while not self._ended.wait(TICK):
            now = time.monotonic()
            step, before = now - before, now
            if not self.playing.value or len(self._times) < 2:
                moment = self._times[int(self.slider.value)]
                continue
            if abs(moment - self._times[int(self.slider.value)]) > 1.0:  # the slider was moved meanwhile
                moment = self._times[int(self.slider.value)]
            moment += step * self.speed.value
            if moment > self._times[-1]:
                moment = self._times[0]
            index = int(np.searchsorted(self._times, moment, side="right")) - 1
            if index != self.slider.value:
                self.slider.value = max(index, 0)  # shows it, too
