"""The episode of another robot that does the same: which numbers stay and which are its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from flows.actions import delta_actions, pose_vectors
from flows.augmentation.retarget import Motion
from flows.episode import Episode
from pose.uncertainty import observable
from urdf import Robot
from urdf.reference import end_effector_poses


def retargeted(old: Episode, robot: Robot, new: Robot, name: str, motion: Motion) -> Episode:
    """The episode of the new robot: the six numbers of motion as they were, joints and gripper its own."""
    poses = end_effector_poses(new, motion.q)
    own = delta_actions(poses, motion.fraction)
    actions = np.where(np.isfinite(own), np.column_stack([old.actions[:, :6], own[:, 6]]), np.nan)
    sigma, seen = carried_sigma(old, robot, new, motion)
    T_old_new = np.eye(4)
    T_old_new[:3, 3] = motion.base
    lost = np.flatnonzero(old.valid & ~motion.reached)
    warnings = [f"{new.name} drawn in place of {robot.name}"]
    if motion.base.any():
        x, y, z = motion.base
        warnings.append(f"the base stands {x:.2f}, {y:.2f}, {z:.2f} m from the old one's: from there more is reached")
    if len(lost):
        cause = f", {motion.jumps} of them only by a jump" if motion.jumps else ""
        warnings.append(
            f"{new.name} does not reach the tool's pose in {len(lost)} of {int(old.valid.sum())} frames{cause} "
            f"(first: frame {lost[0]}); they show no robot and are not valid"
        )
    if motion.clamped:
        warnings.append(
            f"the gripper's opening is beyond {new.name}'s in {motion.clamped} frames; the nearest is shown"
        )
    return replace(
        old,
        robot=name,
        joint_names=new.joint_names,
        q=motion.q,
        sigma=sigma,
        observable=seen,
        valid=motion.reached,
        gripper_opening=motion.opening,
        gripper_open=motion.fraction,
        gripper_sigma=np.where(motion.reached & np.isfinite(motion.opening), old.gripper_sigma, np.nan),
        ee=pose_vectors(poses),
        actions=actions,
        camera=replace(old.camera, T_cam_base=np.asarray(old.camera.T_cam_base, float) @ T_old_new),
        warnings=(*old.warnings, *warnings),
        alternatives=(),
        identification={},
    )


def carried_sigma(episode: Episode, old: Robot, new: Robot, motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    """(T,n) standard deviations of the new joints and whether that counts as observable.

    The old joints' uncertainty as one of the tool's pose, and that as one of the new joints (damped inverse of the
    Jacobian). The picture itself shows the new joints exactly; what is unsure is where the real tool was.
    """
    count, n = motion.q.shape
    sigma = np.full((count, n), np.nan)
    good = np.flatnonzero(motion.reached)
    if len(good):
        J_old = old.jacobian(torch.from_numpy(episode.q[good])).numpy()
        J_new = new.jacobian(torch.from_numpy(motion.q[good])).numpy()
        spread = (J_old * np.nan_to_num(episode.sigma[good])[:, None] ** 2) @ J_old.swapaxes(1, 2)
        inverse = J_new.swapaxes(1, 2) @ np.linalg.inv(J_new @ J_new.swapaxes(1, 2) + 1e-4 * np.eye(6))
        sigma[good] = np.sqrt(np.einsum("tij,tjk,tik->ti", inverse, spread, inverse).clip(0))
    if new.gripper is not None:
        slope = np.abs(new.gripper.slope(np.where(np.isfinite(motion.q), motion.q, new.rest)))
        width = np.where(motion.reached, episode.gripper_sigma / np.maximum(slope, 1e-6), np.nan)
        sigma[:, new.gripper.joint] = np.where(np.isfinite(width) | ~motion.reached, width, 0.0)
    seen = observable(np.nan_to_num(sigma, nan=np.inf), (new.lower, new.upper))
    return sigma, np.asarray(seen & motion.reached[:, None])
