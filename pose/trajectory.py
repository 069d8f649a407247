"""What a fit returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pose.camera import Camera


@dataclass(frozen=True)
class Trajectory:
    """Camera and joints of a clip of T frames, with what is known of their errors.

    Attributes:
        joint_names: n actuated joints in URDF order.
        q: (T,n) radians or metres; NaN where the frame shows no robot.
        sigma: (T,n) standard deviation of q, given the masks' assumed noise and their misfit.
        observable: (T,n) False where the view cannot tell the joint; its q is then a guess.
        iou: (T,) overlap of the fitted silhouette with the robot mask.
        valid: (T,) False where there is no robot or the fit does not explain the mask.
        camera: intrinsics and T_cam_base.
        camera_sigma: (6,) rotation (rad) and translation (m) of the camera about the robot's middle; zeros when known.
        focal_sigma: pixels; 0 when known.
        mask_offset: pixels by which the masks' outline lies outside the robot's, as settled by the whole clip.
        solved: which of camera, joints, gripper, focal, time were unknown.
        warnings: one line each.
        seconds: time per stage.
        time_offset: seconds to add to a frame's time to find its joints in the log that was given; time_sigma: its
            standard deviation, 0 when it was not asked for.
        edges: mean support (0..1) of the robot's outline by edges in the pictures, before and after these were used;
            None where they were not looked at.
        depth_gap: median distance in metres of the robot's surface from the depth pictures, before and after these were
            used; None where they were not.
        alternatives: other solutions that explain the masks nearly as well: {"what", "iou"} each.
    """

    joint_names: tuple[str, ...]
    q: np.ndarray
    sigma: np.ndarray
    observable: np.ndarray
    iou: np.ndarray
    valid: np.ndarray
    camera: Camera
    camera_sigma: np.ndarray
    focal_sigma: float
    mask_offset: float
    solved: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    alternatives: tuple[dict[str, Any], ...] = ()
    time_offset: float = 0.0
    time_sigma: float = 0.0
    edges: tuple[float, float] | None = None
    depth_gap: tuple[float, float] | None = None


def hidden_joints(trajectory: Trajectory, free: np.ndarray) -> list[str]:
    """A line for each joint among the free ones (n,) that most frames cannot tell."""
    out = []
    for k, name in enumerate(trajectory.joint_names):
        hidden = trajectory.valid & ~trajectory.observable[:, k]
        if free[k] and hidden.sum() > 0.5 * max(1, trajectory.valid.sum()):
            out.append(f"{name} cannot be told from this view in {int(hidden.sum())} frames")
    return out
