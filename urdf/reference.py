"""Reference kinematics through pinocchio: exact poses for results, and the yardstick of the tests."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from urdf.robot import FIXED, Robot


class Reference:
    """A robot in pinocchio, where mimic joints are independent and endless joints take two entries.

    (Pinocchio couples only joints of one type, and in its own order.) Not to be shared between threads.

    Attributes:
        model, data: pinocchio's.
        coupling: (nv,n) pinocchio's velocities per unit of the velocities of q.
    """

    def __init__(self, robot: Robot) -> None:
        import pinocchio

        if robot not in _models:
            _models[robot] = pinocchio.buildModelFromXML(robot.urdf_xml)
        self.model: Any = _models[robot]
        self.data: Any = self.model.createData()
        tree = robot.tree
        self.coupling = np.zeros((self.model.nv, len(robot.joint_names)))
        self._offset = np.zeros(self.model.nv)
        self._place = np.zeros(self.model.nv, int)
        self._endless = np.zeros(self.model.nv, bool)
        for link in np.nonzero(tree.kind != FIXED)[0]:
            joint = self.model.joints[self.model.frames[self.frame(robot.link_names[link])].parentJoint]
            self.coupling[joint.idx_v, tree.q_index[link]] = tree.multiplier[link]
            self._offset[joint.idx_v] = tree.offset[link]
            self._place[joint.idx_v] = joint.idx_q
            self._endless[joint.idx_v] = joint.nq == 2

    def frame(self, link: str) -> int:
        """Pinocchio's number of a link's frame."""
        import pinocchio

        return int(self.model.getFrameId(link, pinocchio.FrameType.BODY))

    def configuration(self, q: np.ndarray) -> np.ndarray:
        """(nq,) pinocchio's configuration vector for q (n,)."""
        value = self.coupling @ q + self._offset
        full = np.zeros(self.model.nq)
        full[self._place] = np.where(self._endless, np.cos(value), value)
        full[self._place[self._endless] + 1] = np.sin(value[self._endless])
        return full

    def poses(self, q: np.ndarray, frames: list[int]) -> np.ndarray:
        """(F,4,4) T_base_frame for q (n,)."""
        import pinocchio

        pinocchio.framesForwardKinematics(self.model, self.data, self.configuration(q))
        return np.array([self.data.oMf[frame].homogeneous for frame in frames]).reshape(-1, 4, 4)

    def pose_and_jacobian(self, q: np.ndarray, frame: int) -> tuple[Any, np.ndarray]:
        """Pinocchio's SE3 of a frame, and its Jacobian (6,n) as `Robot.jacobian` has it, for q (n,)."""
        import pinocchio

        pinocchio.computeJointJacobians(self.model, self.data, self.configuration(q))
        pose = pinocchio.updateFramePlacement(self.model, self.data, frame)
        if not self.model.nv:  # pinocchio crashes on a Jacobian without columns
            return pose, np.zeros((6, 0))
        J = pinocchio.getFrameJacobian(self.model, self.data, frame, pinocchio.LOCAL_WORLD_ALIGNED)
        return pose, J.reshape(6, -1) @ self.coupling


_models: WeakKeyDictionary[Robot, Any] = WeakKeyDictionary()


def reference_poses(robot: Robot, q: np.ndarray) -> np.ndarray:
    """(T,L,4,4) T_base_link of all links for q (T,n), by pinocchio; NaN for rows of q that are not finite."""
    return _poses(robot, q, list(robot.link_names))


def end_effector_poses(robot: Robot, q: np.ndarray) -> np.ndarray:
    """(T,4,4) T_base_ee for q (T,n), by pinocchio; NaN for rows of q that are not finite."""
    return _poses(robot, q, [robot.ee_link])[:, 0]


def reference_jacobian(robot: Robot, q: np.ndarray, link: str) -> np.ndarray:
    """(T,6,n) what `Robot.jacobian` gives for q (T,n), by pinocchio; NaN for rows of q that are not finite."""
    q, reference = _rows(robot, q), Reference(robot)
    frame = reference.frame(link)
    J = np.full((len(q), 6, q.shape[1]), np.nan)
    for t in np.nonzero(np.isfinite(q).all(1))[0]:
        J[t] = reference.pose_and_jacobian(q[t], frame)[1]
    return J


def _poses(robot: Robot, q: np.ndarray, links: list[str]) -> np.ndarray:
    q, reference = _rows(robot, q), Reference(robot)
    frames = [reference.frame(name) for name in links]
    poses = np.full((len(q), len(frames), 4, 4), np.nan)
    for t in np.nonzero(np.isfinite(q).all(1))[0]:
        poses[t] = reference.poses(q[t], frames)
    return poses


def _rows(robot: Robot, q: np.ndarray) -> np.ndarray:
    q = np.asarray(q, float)
    if q.ndim != 2 or q.shape[1] != len(robot.joint_names):
        raise ValueError(f"q has shape {q.shape}; expected (T, {len(robot.joint_names)}), one row a frame")
    return q
