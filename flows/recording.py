"""The Rerun recording: the robot moving in 3D, the camera, its pictures and masks, and the joint curves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flows.drawing import PART_COLORS
from flows.episode import Episode
from urdf import Robot

ARM_CLASS, GRIPPER_CLASS = 1, 2
_HALF_PIXEL = 0.5  # Rerun counts pixels from their corner, OpenCV from their centre


def write_recording(
    path: Path,
    episode: Episode,
    robot: Robot,
    frames: Iterable[np.ndarray],
    masks: Sequence[Mapping[str, np.ndarray]],
    jpeg_quality: int = 80,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Write `scene.rrd`: timelines `frame` and `time`, world = robot base with Z up.

    Entities: world/robot/<link> (meshes once, a transform a frame), world/camera (pose), world/camera/image
    (pinhole, JPEG pictures), world/camera/image/mask (classes arm and gripper), world/ee (its path),
    joints/<name> in radians or metres, quality/iou, gripper/open.
    """
    import rerun as rr  # takes a second to import

    stream = new_stream(rr, "urdfit", episode.source.get("sha256"))
    stream.save(str(path), default_blueprint=_blueprint())
    stream.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    log_meshes(rr, stream, robot)
    _log_camera(rr, stream, episode)
    _log_styles(rr, stream, episode)
    for t, image in enumerate(frames):
        stream.set_time("frame", sequence=t)
        stream.set_time("time", duration=float(episode.time_s[t]))
        ok, jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
        if ok:
            stream.log("world/camera/image", rr.EncodedImage(contents=jpeg.tobytes(), media_type="image/jpeg"))
        stream.log("world/camera/image/mask", rr.SegmentationImage(class_image(masks[t]), opacity=0.4))
        if episode.valid[t]:
            _log_pose(rr, stream, episode, robot, t)
        stream.log("quality/iou", rr.Scalars(float(episode.iou[t])))
        progress(t + 1)
    stream.flush()
    stream.disconnect()


def new_stream(rr: Any, name: str, recording_id: str | None = None) -> Any:
    """A new recording, once those that ended are freed: Rerun keeps all that was logged until it is told."""
    free = getattr(rr.bindings, "flush_and_cleanup_orphaned_recordings", None)  # not in every release
    if free is not None:
        free()
    return rr.RecordingStream(name, recording_id=recording_id)


def class_image(masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Masks as one picture of class numbers (H,W) uint8: 0 nothing, 1 arm (or whole robot), 2 gripper."""
    first = next(iter(masks.values()))
    out = np.zeros(first.shape[:2], np.uint8)
    for part, number in (("robot", ARM_CLASS), ("arm", ARM_CLASS), ("gripper", GRIPPER_CLASS)):
        if part in masks:
            out[masks[part] > 0] = number
    return out


def log_meshes(rr: Any, stream: Any, robot: Robot) -> None:
    """The meshes of all links, as world/robot/<link>."""
    mesh = robot.mesh
    for link, name in enumerate(robot.link_names):
        faces = mesh.faces[mesh.face_link == link]
        if len(faces) == 0:
            continue
        # every face its own corners: flat shading, one colour a face
        color = (mesh.face_color[mesh.face_link == link] * 255).astype(np.uint8)
        stream.log(
            link_entity(name),
            rr.Mesh3D(
                vertex_positions=mesh.vertices[faces].reshape(-1, 3),
                triangle_indices=np.arange(faces.size, dtype=np.uint32).reshape(-1, 3),
                vertex_colors=np.repeat(color, 3, axis=0),
            ),
            static=True,
        )


def _log_camera(rr: Any, stream: Any, episode: Episode) -> None:
    camera = episode.camera
    K = np.array(camera.K, float)
    K[:2, 2] += _HALF_PIXEL
    T_base_cam = np.linalg.inv(np.asarray(camera.T_cam_base, float))
    stream.log("world/camera", rr.Transform3D(translation=T_base_cam[:3, 3], mat3x3=T_base_cam[:3, :3]), static=True)
    stream.log(
        "world/camera/image",
        rr.Pinhole(
            image_from_camera=K,
            width=camera.width,
            height=camera.height,
            camera_xyz=rr.ViewCoordinates.RDF,
            image_plane_distance=0.3,
        ),
        static=True,
    )


def _log_styles(rr: Any, stream: Any, episode: Episode) -> None:
    classes = [(ARM_CLASS, "arm", PART_COLORS["arm"]), (GRIPPER_CLASS, "gripper", PART_COLORS["gripper"])]
    stream.log("world", rr.AnnotationContext(classes), static=True)
    for name in episode.joint_names:
        stream.log(f"joints/{_safe(name)}", rr.SeriesLines(names=name), static=True)
    points = episode.ee[np.isfinite(episode.ee).all(1), :3]
    if len(points) > 1:
        stream.log("world/ee", rr.LineStrips3D([points], colors=[PART_COLORS["gripper"]], radii=0.002), static=True)


def _log_pose(rr: Any, stream: Any, episode: Episode, robot: Robot, t: int) -> None:
    poses = robot.link_poses(episode.q[t])
    for link, name in enumerate(robot.link_names):
        T = poses[link]
        stream.log(link_entity(name), rr.Transform3D(translation=T[:3, 3], mat3x3=T[:3, :3]))
    for i, name in enumerate(episode.joint_names):
        stream.log(f"joints/{_safe(name)}", rr.Scalars(float(episode.q[t, i])))
    if np.isfinite(episode.gripper_open[t]):
        stream.log("gripper/open", rr.Scalars(float(episode.gripper_open[t])))


def _blueprint() -> Any:
    from rerun import blueprint as rrb

    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Spatial3DView(origin="world", name="Scene"),
            rrb.Vertical(
                rrb.Spatial2DView(origin="world/camera/image", name="Camera"),
                rrb.TimeSeriesView(origin="joints", name="Joints"),
                rrb.TimeSeriesView(contents=["quality/**", "gripper/**"], name="IoU and gripper"),
            ),
        ),
        collapse_panels=True,
    )


def _safe(name: str) -> str:
    return name.replace("/", "_")


def link_entity(link: str) -> str:
    """Where a link is in the recording."""
    return f"world/robot/{_safe(link)}"
