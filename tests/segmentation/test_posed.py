"""Real pictures labelled by known poses: the inverse kinematics that finds the joints."""

import numpy as np

from segmentation.training.posed import REDUNDANT, swept_pose
from urdf import load_robot


def test_a_swept_pose_reaches_the_recorded_one():
    robot = load_robot("panda")
    link = robot.link_names.index("panda_link8")
    q = robot.rest + np.array([0.1, -0.2, 0.15, 0.1, 0.2, -0.1, 0.3, -0.02])
    T = robot.link_poses(q)[link]
    found = swept_pose(robot, T, robot.link_names[link], float(q[REDUNDANT]), robot.rest)
    assert np.allclose(robot.link_poses(found)[link], T, atol=5e-3)
    far = T.copy()
    far[:3, 3] *= 5
    assert swept_pose(robot, far, robot.link_names[link], 0.0, robot.rest) is None
