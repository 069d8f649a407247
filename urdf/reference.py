"""Reference kinematics through pinocchio: exact poses for results, and the yardstick of the tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from urdf.robot import Robot


def pinocchio_model(robot: Robot) -> tuple[Any, np.ndarray]:
    """A pinocchio model of the robot, and for each column of q its index in pinocchio's configuration vector.

    Endless joints take two entries there, cosine and sine, from that index on.
    """
    import pinocchio

    model = pinocchio.buildModelFromXML(robot.urdf_xml, mimic=True)
    index = np.array([model.joints[model.getJointId(name)].idx_q for name in robot.joint_names], np.int64)
    return model, index


def configuration(robot: Robot, model: Any, index: np.ndarray, q: np.ndarray) -> np.ndarray:
    """(nq,) pinocchio's configuration vector for q (n,)."""
    full = np.zeros(model.nq)
    for column, start in enumerate(index):
        if robot.continuous[column]:
            full[start : start + 2] = np.cos(q[column]), np.sin(q[column])
        else:
            full[start] = q[column]
    return full


def reference_poses(robot: Robot, q: np.ndarray) -> np.ndarray:
    """(T,L,4,4) T_base_link of every link for q (T,n), by pinocchio."""
    import pinocchio

    model, index = pinocchio_model(robot)
    data = model.createData()
    frames = [model.getFrameId(name, pinocchio.FrameType.BODY) for name in robot.link_names]
    poses = np.empty((len(q), len(frames), 4, 4))
    for t, row in enumerate(np.asarray(q, float)):
        pinocchio.framesForwardKinematics(model, data, configuration(robot, model, index, row))
        for i, frame in enumerate(frames):
            poses[t, i] = data.oMf[frame].homogeneous
    return poses


def end_effector_poses(robot: Robot, q: np.ndarray) -> np.ndarray:
    """(T,4,4) T_base_ee for q (T,n), by pinocchio; rows of q that are not finite give NaN."""
    import pinocchio

    model, index = pinocchio_model(robot)
    data = model.createData()
    frame = model.getFrameId(robot.ee_link, pinocchio.FrameType.BODY)
    poses = np.full((len(q), 4, 4), np.nan)
    for t, row in enumerate(np.asarray(q, float)):
        if np.isfinite(row).all():
            pinocchio.framesForwardKinematics(model, data, configuration(robot, model, index, row))
            poses[t] = data.oMf[frame].homogeneous
    return poses
