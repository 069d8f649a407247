"""Scene twins from rigs of cameras: rigs, fusion of depth and masks, objects, export."""

from twin.build import build_twin
from twin.errors import TwinError
from twin.mesh import Mesh
from twin.observation import Observation
from twin.rig import Rig, RigCamera
from twin.rig_files import load_rig
from twin.scene import Body, RobotMotion, Scene

__all__ = [
    "Body", "Mesh", "Observation", "Rig", "RigCamera", "RobotMotion", "Scene", "TwinError", "build_twin", "load_rig",
]  # fmt: skip
