"""Cameras, differentiable silhouettes, and fitting a robot to masks."""

from pose.camera import Camera
from pose.errors import CameraError, FitError
from pose.fit import fit_video
from pose.silhouette import Silhouette, render_silhouette
from pose.trajectory import Trajectory

__all__ = ["Camera", "CameraError", "FitError", "Silhouette", "Trajectory", "fit_video", "render_silhouette"]
