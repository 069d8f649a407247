"""Actions from poses, in the convention of Open X-Embodiment and Bridge: what changed until the next frame.

An action of frame t has seven numbers:

    0..2  p[t+1] - p[t], metres, in the base's frame
    3..5  roll, pitch, yaw of R[t+1] @ R[t].T, radians: the rotation expressed in the base's frame, split into
          turns about the base's fixed x, then y, then z axes (extrinsic "xyz"), so that
          R[t+1] = Rz(yaw) @ Ry(pitch) @ Rx(roll) @ R[t]
    6     the gripper of frame t+1 as a fraction, 1 = open

Bridge subtracts Euler angles instead; for the small turns between frames of an upright gripper the two agree
to first order, but ours stays meaningful where Euler angles jump. The last frame has no successor: it holds
still (zeros) and keeps its gripper. Whatever needs a frame in which no robot was found is NaN.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation


def delta_actions(poses: np.ndarray, gripper: np.ndarray) -> np.ndarray:
    """Seven numbers a frame from end-effector poses.

    Args:
        poses: (T,4,4) T_base_ee, NaN where unknown.
        gripper: (T,) fraction with 1 = open; NaN where unknown or without a gripper.

    Returns:
        (T,7), see the module's text.
    """
    poses = np.asarray(poses, float)
    count = len(poses)
    actions = np.full((count, 7), np.nan)
    if count == 0:
        return actions
    known = np.isfinite(poses).all((1, 2))
    pairs = np.flatnonzero(known[:-1] & known[1:])
    actions[pairs, :3] = poses[pairs + 1, :3, 3] - poses[pairs, :3, 3]
    turn = poses[pairs + 1, :3, :3] @ poses[pairs, :3, :3].transpose(0, 2, 1)
    if len(pairs):
        actions[pairs, 3:6] = Rotation.from_matrix(turn).as_euler("xyz")
    actions[:-1, 6] = gripper[1:]
    if known[-1]:
        actions[-1, :6] = 0.0
    actions[-1, 6] = gripper[-1]
    return actions


def integrate_actions(first: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """The poses (T,4,4) that actions (T,7) lead through from the first pose (4,4): undoes `delta_actions`."""
    poses = np.tile(np.asarray(first, float), (len(actions), 1, 1))
    for t in range(len(actions) - 1):
        poses[t + 1, :3, 3] = poses[t, :3, 3] + actions[t, :3]
        poses[t + 1, :3, :3] = Rotation.from_euler("xyz", actions[t, 3:6]).as_matrix() @ poses[t, :3, :3]
    return poses


def pose_vectors(poses: np.ndarray) -> np.ndarray:
    """Position and quaternion x y z w, (T,7), of poses (T,4,4); NaN where a pose is.

    The quaternion's sign is chosen so that it does not jump between frames, and starts with w >= 0.
    """
    poses = np.asarray(poses, float)
    vectors = np.full((len(poses), 7), np.nan)
    known = np.flatnonzero(np.isfinite(poses).all((1, 2)))
    if len(known) == 0:
        return vectors
    quats = Rotation.from_matrix(poses[known, :3, :3]).as_quat(canonical=True)
    flips = np.sum(quats[1:] * quats[:-1], 1) < 0
    quats[1:] *= np.where(np.cumsum(flips) % 2, -1.0, 1.0)[:, None]
    vectors[known, :3] = poses[known, :3, 3]
    vectors[known, 3:] = quats
    return vectors
