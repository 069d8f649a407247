"""Checks of a robot description that tell whether the later stages can rely on it."""

from __future__ import annotations

import numpy as np

from urdf import load_robot
from urdf.reference import reference_poses

SAMPLES = 100
TOLERANCE = 1e-6


def check_robot(spec: str) -> list[tuple[bool, str]]:
    """Findings (passed?, text) about a robot.

    Raises:
        RobotError: it cannot be loaded at all.
    """
    robot = load_robot(spec)
    rng = np.random.default_rng(0)
    q = np.array([robot.random_configuration(rng) for _ in range(SAMPLES)])
    gap = float(np.abs(robot.link_poses(q) - reference_poses(robot, q)).max())
    count, faces = len(robot.joint_names), len(robot.mesh.faces)
    span = float(np.ptp(robot.mesh.vertices, axis=0).max()) if faces else 0.0
    arm, hand = (sum(p == part for p in robot.link_parts) for part in ("arm", "gripper"))
    return [
        (count > 0, f"{count} actuated joints: {', '.join(robot.joint_names)}"),
        (gap < TOLERANCE, f"kinematics agree with pinocchio to {gap:.1e} over {SAMPLES} configurations"),
        (faces > 0, f"render mesh of {faces} triangles"),
        (0.01 < span < 10, f"largest link {span:.3f} m (metres, not millimetres?)"),
        (
            bool((robot.lower <= robot.rest).all() and (robot.rest <= robot.upper).all()),
            "rest pose inside the limits",
        ),
        (True, f"{arm} links of the arm, {hand} of the gripper; end effector {robot.ee_link}"),
        (
            True,
            "no gripper known: opening will be NaN"
            if robot.gripper is None
            else f"gripper opens {1000 * robot.gripper.max_opening:.0f} mm",
        ),
    ]
