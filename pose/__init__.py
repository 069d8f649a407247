"""Cameras, differentiable silhouettes, and fitting a robot to masks."""

from pose.camera import Camera
from pose.depth_fit import align_depth
from pose.errors import CameraError, FitError
from pose.fit import fit_video
from pose.moving import MovingFit, fit_moving
from pose.priors import PosePrior
from pose.sharpening import sharpen_video
from pose.silhouette import Silhouette, render_silhouette
from pose.tracker import Latency, Tracker, TrackState
from pose.trajectory import Trajectory
from pose.views import ViewsFit, fit_views
from pose.wrist import WristFit, fit_wrist

__all__ = [
    "Camera",
    "CameraError",
    "FitError",
    "Latency",
    "MovingFit",
    "PosePrior",
    "Silhouette",
    "TrackState",
    "Tracker",
    "Trajectory",
    "ViewsFit",
    "WristFit",
    "align_depth",
    "fit_moving",
    "fit_video",
    "fit_views",
    "fit_wrist",
    "render_silhouette",
    "sharpen_video",
]
