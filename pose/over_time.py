"""Joints of every frame from each frame's own estimate and normal equations: smoothed, with their errors."""

from __future__ import annotations

import numpy as np

from pose.smoothing import smooth
from pose.uncertainty import joint_scale, prior_information
from urdf import Robot

KNOWN = 1e6  # information of given joints, in units of what the limits say


def over_time(
    robot: Robot, q: np.ndarray, blocks: np.ndarray, used: np.ndarray, shared: np.ndarray, fresh: float,
    free: np.ndarray, known: np.ndarray, times: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Smooth joints and state their standard deviations.

    Args:
        q: (T,n) estimates, NaN rows where there is none.
        blocks: (T,C+n,C+n) information of each frame: of what all frames share (C numbers), and its joints.
        used: (T,) frames whose estimates are believed; the others are left as they are.
        shared: (C,C) covariance of what is shared, zeros where known.
        fresh: share of a frame's information that is news after the frame before it.
        free: (n,) joints that were solved for. known: (T,) frames whose joints were given. times: (T,) seconds.

    Returns:
        q (T,n) and sigma (T,n); sigma is NaN where q is, and 0 for joints that were given.
    """
    limits, common = (robot.lower, robot.upper), len(shared)
    count = len(q)
    estimated = np.isfinite(q).all(1)
    q, sigma = q.copy(), np.zeros(q.shape)
    prior = prior_information(limits)
    # a joint's limits are known once, not once a frame
    ridge = np.diag(prior) / max(1, int(estimated.sum()))
    own = blocks[:, common:, common:] + np.where(known[:, None, None], KNOWN * np.diag(prior), ridge)
    columns = np.flatnonzero(free)
    if len(columns):
        spread = np.zeros((count, len(columns)))  # what the errors of camera and offsets add
        for t in np.flatnonzero(estimated):
            H, cross = blocks[t, common:, common:] + np.diag(prior), blocks[t, common:, :common]
            gain = np.linalg.solve(H[np.ix_(columns, columns)], cross[columns])
            spread[t] = np.sqrt(np.einsum("ij,jk,ik->i", gain, shared, gain).clip(0))
        smoothed, deviation, _ = smooth(
            np.where(used[:, None], q[:, columns], np.nan), own[:, columns][:, :, columns], times,
            liveliness(robot)[columns],
        )  # fmt: skip
        # a smoother believes that each frame's error is its own; where errors last, its gain is less
        deviation /= np.sqrt(fresh)
        for column, k in enumerate(columns):
            ok = np.isfinite(smoothed[:, column])
            q[ok, k] = np.clip(smoothed[ok, column], limits[0][k], limits[1][k])
            widest = 1 / np.sqrt(prior[k])
            sigma[:, k] = np.where(ok, np.minimum(np.hypot(deviation[:, column], spread[:, column]), widest), widest)
    sigma[~np.isfinite(q)] = np.nan
    return q, sigma


def liveliness(robot: Robot) -> np.ndarray:
    """(n,) unit of each joint's motion; grippers snap open and shut."""
    scale = joint_scale((robot.lower, robot.upper))
    scale[robot.gripper_joints] *= 10
    return scale
