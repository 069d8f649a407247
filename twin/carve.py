"""Which pixels are the robot's, and therefore nobody's background."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from pose.camera import Camera
from pose.raster import inverse_depth, rasterize
from pose.silhouette import project_vertices
from twin.errors import TwinError
from urdf import Robot


def robot_pixels(
    robot: Robot | None,
    q: Sequence[float] | np.ndarray | None,
    camera: Camera,
    mask: np.ndarray | None = None,
    margin_px: int | None = None,
) -> np.ndarray:
    """Pixels not to fuse: the mask of the robot and the drawn robot together, both widened; (H,W) bool.

    Neither is enough: masks miss cables and thin parts, the model has no cables at all and stands a little beside.

    Args:
        robot: None: the mask alone counts.
        q: (n,) all actuated joints, radians and metres; None, or with NaN in it: the mask alone counts.
        camera: with T_cam_base, else the mask alone counts.
        mask: (H,W), non-zero is robot.
        margin_px: pixels to widen by; None: one in 128 of the picture's width, at least 2.

    Raises:
        TwinError: mask or joints of another size.
    """
    size = (camera.height, camera.width)
    pixels = np.zeros(size, np.uint8)
    if mask is not None:
        if mask.shape != size:
            raise TwinError(f"the robot's mask has shape {mask.shape}, the camera {size}")
        pixels[mask != 0] = 1
    if robot is not None and q is not None and camera.T_cam_base is not None:
        joints = torch.as_tensor(np.asarray(q, np.float32))
        if joints.shape != (len(robot.joint_names),):
            raise TwinError(f"expected {len(robot.joint_names)} joints, got an array of shape {tuple(joints.shape)}")
        if torch.isfinite(joints).all():
            pixels[_drawn(robot, joints, camera)] = 1
    margin = max(2, round(camera.width / 128)) if margin_px is None else margin_px
    if margin > 0:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
        return cv2.dilate(pixels, disc).astype(bool)
    return pixels.astype(bool)


def _drawn(robot: Robot, q: torch.Tensor, camera: Camera) -> np.ndarray:
    """(H,W) bool, where the robot at joints q covers the pixel's centre."""
    T_cam_link = torch.as_tensor(np.asarray(camera.T_cam_base, np.float32)) @ robot.forward_kinematics(q)
    K = torch.as_tensor(np.asarray(camera.K, np.float32))
    uv, z = project_vertices(robot.mesh, T_cam_link[None], K[None], camera.distortion)
    return rasterize(uv[0].numpy(), inverse_depth(z[0].numpy()), robot.mesh.faces, camera.height, camera.width)[0] >= 0
