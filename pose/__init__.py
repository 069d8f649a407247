"""Cameras, differentiable silhouettes, and fitting a robot to masks."""

from pose.camera import Camera
from pose.errors import CameraError, FitError
from pose.fit import fit_video
from pose.trajectory import Trajectory

__all__ = ["Camera", "CameraError", "FitError", "Trajectory", "fit_video"]
