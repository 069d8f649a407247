"""The Rerun recording of a twin: surfaces, objects with convex pieces, cameras with pictures, the robot moving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flows.recording import link_entity, log_meshes, new_stream
from pose.camera import Camera
from twin.mesh import Mesh
from twin.scene import Body, RobotMotion, Scene
from urdf import Robot

_HALF_PIXEL = 0.5  # Rerun counts pixels from their corner, OpenCV from their centre


def write_twin_recording(
    path: Path, scene: Scene, robot: Robot | None, views: Mapping[int, tuple[np.ndarray, np.ndarray, float]],
    names: Sequence[str],
) -> None:  # fmt: skip
    """Write `scene.rrd`: timeline `time`, world = robot base with Z up.

    Entities: world/background, world/objects/<name> with visual and collision/<n>, world/cameras/<name>/image,
    world/robot/<link> (meshes once, a transform an instant).
    """
    import rerun as rr  # takes a second to import

    stream = new_stream(rr, "urdfit-twin")
    stream.save(str(path))
    stream.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    if scene.background is not None:
        _log_mesh(rr, stream, "world/background", scene.background)
    for body in scene.bodies:
        _log_body(rr, stream, body)
    for view, (image, _, _) in views.items():
        name = names[view]
        if name in scene.cameras:
            _log_camera(rr, stream, name, scene.cameras[name], image)
    if robot is not None and scene.robot is not None:
        log_meshes(rr, stream, robot)
        _log_motion(rr, stream, robot, scene.robot)
    stream.flush()
    stream.disconnect()


def _log_mesh(rr: Any, stream: Any, at: str, mesh: Mesh) -> None:
    textured: dict[str, Any] = {}
    if mesh.texture is not None and mesh.uv is not None:
        # Rerun's textures have v downwards
        coordinates = np.column_stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]])
        textured = {"vertex_texcoords": coordinates.astype(np.float32), "albedo_texture": mesh.texture}
    shape = rr.Mesh3D(
        vertex_positions=mesh.vertices.astype(np.float32),
        triangle_indices=mesh.faces.astype(np.uint32),
        vertex_colors=mesh.colors,
        **textured,
    )
    stream.log(at, shape, static=True)


def _log_body(rr: Any, stream: Any, body: Body) -> None:
    at, T = f"world/objects/{body.name}", np.asarray(body.T_base_body, float)
    stream.log(at, rr.Transform3D(translation=T[:3, 3], mat3x3=T[:3, :3]), static=True)
    _log_mesh(rr, stream, f"{at}/visual", body.visual)
    for number, piece in enumerate(body.collision):
        _log_mesh(rr, stream, f"{at}/collision/{number}", piece)


def _log_camera(rr: Any, stream: Any, name: str, camera: Camera, image: np.ndarray) -> None:
    if camera.T_cam_base is None:
        return
    at = f"world/cameras/{name.replace('/', '_')}"
    T = np.linalg.inv(np.asarray(camera.T_cam_base, float))
    K = np.array(camera.K, float)
    K[:2, 2] += _HALF_PIXEL
    stream.log(at, rr.Transform3D(translation=T[:3, 3], mat3x3=T[:3, :3]), static=True)
    pinhole = rr.Pinhole(
        image_from_camera=K, width=camera.width, height=camera.height, camera_xyz=rr.ViewCoordinates.RDF,
        image_plane_distance=0.2,
    )  # fmt: skip
    stream.log(f"{at}/image", pinhole, static=True)
    ok, jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    if ok:
        picture = rr.EncodedImage(contents=jpeg.tobytes(), media_type="image/jpeg")
        stream.log(f"{at}/image", picture, static=True)


def _log_motion(rr: Any, stream: Any, robot: Robot, motion: RobotMotion) -> None:
    q = motion.q[:, [motion.joint_names.index(name) for name in robot.joint_names]]
    for time, row in zip(motion.times, q):
        if not np.isfinite(row).all():
            continue
        stream.set_time("time", duration=float(time))
        for name, T in zip(robot.link_names, robot.link_poses(row)):
            stream.log(link_entity(name), rr.Transform3D(translation=T[:3, 3], mat3x3=T[:3, :3]))
