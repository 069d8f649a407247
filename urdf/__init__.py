"""Robots: catalogue, loading, kinematics, meshes, arm and gripper parts."""

from urdf.catalogue import list_robots
from urdf.errors import RobotError, UrdfitError
from urdf.loading import load_robot
from urdf.robot import Gripper, KinematicTree, Robot, RobotMesh

__all__ = [
    "Gripper",
    "KinematicTree",
    "Robot",
    "RobotError",
    "RobotMesh",
    "UrdfitError",
    "list_robots",
    "load_robot",
]
