"""Robots: catalogue, loading, kinematics, meshes, arm and gripper parts."""

from urdf.catalogue import list_robots
from urdf.compose import attach
from urdf.errors import RobotError, UrdfitError
from urdf.loading import load_robot, read_description
from urdf.robot import Gripper, KinematicTree, Robot, RobotMesh

__all__ = [
    "Gripper",
    "KinematicTree",
    "Robot",
    "RobotError",
    "RobotMesh",
    "UrdfitError",
    "attach",
    "list_robots",
    "load_robot",
    "read_description",
]
