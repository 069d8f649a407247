"""Reference kinematics through pinocchio: exact poses for results, and the yardstick of the tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from urdf.robot import FIXED, Robot


def pinocchio_model(robot: Robot) -> tuple[Any, np.ndarray]:
    """A pinocchio model and, for each link, the place of its joint in pinocchio's configuration vector.

    Mimic joints are independent there, as pinocchio couples only joints of one type and in its own order;
    `configuration` sets them. Endless joints take two entries, cosine and sine.

    Returns:
        the model, and (L,) int64 with -1 for links on fixed joints.
    """
    import pinocchio

    model = pinocchio.buildModelFromXML(robot.urdf_xml)
    index = np.full(len(robot.link_names), -1, np.int64)
    for link, name in enumerate(robot.link_names):
        if robot.tree.kind[link] != FIXED:
            frame = model.frames[model.getFrameId(name, pinocchio.FrameType.BODY)]
            index[link] = model.joints[frame.parentJoint].idx_q
    return model, index


def configuration(robot: Robot, model: Any, index: np.ndarray, q: np.ndarray) -> np.ndarray:
    """(nq,) pinocchio's configuration vector for q (n,)."""
    full = np.zeros(model.nq)
    widths = {joint.idx_q: joint.nq for joint in model.joints}
    tree = robot.tree
    for link in np.nonzero(index >= 0)[0]:
        value, start = tree.multiplier[link] * q[tree.q_index[link]] + tree.offset[link], index[link]
        if widths[start] == 2:
            full[start : start + 2] = np.cos(value), np.sin(value)
        else:
            full[start] = value
    return full


def reference_poses(robot: Robot, q: np.ndarray) -> np.ndarray:
    """(T,L,4,4) T_base_link of all links for q (T,n), by pinocchio; NaN for rows of q that are not finite."""
    return _poses(robot, q, list(robot.link_names))


def end_effector_poses(robot: Robot, q: np.ndarray) -> np.ndarray:
    """(T,4,4) T_base_ee for q (T,n), by pinocchio; NaN for rows of q that are not finite."""
    return _poses(robot, q, [robot.ee_link])[:, 0]


def _poses(robot: Robot, q: np.ndarray, links: list[str]) -> np.ndarray:
    import pinocchio

    q = np.asarray(q, float)
    if q.ndim != 2 or q.shape[1] != len(robot.joint_names):
        raise ValueError(f"q has shape {q.shape}; expected (T, {len(robot.joint_names)}), one row a frame")
    model, index = pinocchio_model(robot)
    data = model.createData()
    frames = [model.getFrameId(name, pinocchio.FrameType.BODY) for name in links]
    poses = np.full((len(q), len(frames), 4, 4), np.nan)
    for t, row in enumerate(q):
        if np.isfinite(row).all():
            pinocchio.framesForwardKinematics(model, data, configuration(robot, model, index, row))
            for i, frame in enumerate(frames):
                poses[t, i] = data.oMf[frame].homogeneous
    return poses
