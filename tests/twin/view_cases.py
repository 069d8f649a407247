"""Exact pictures of simple shapes for tests of fusion."""

import numpy as np

from pose.camera import Camera
from twin.observation import Observation

RADIUS = 0.08


def look_at(eye, target=(0, 0, 0)):
    """T_cam_base of a camera at `eye` that looks at `target` with Z up."""
    forward = np.subtract(target, eye) / np.linalg.norm(np.subtract(target, eye))
    right = np.cross(forward, (0, 0, 1))
    right /= np.linalg.norm(right)
    T = np.eye(4)
    T[:3, :3] = right, np.cross(forward, right), forward
    T[:3, 3] = -T[:3, :3] @ eye
    return T


def around(steps, elevations, distance=0.5):
    """Places on rings around the origin."""
    for e in elevations:
        for a in 2 * np.pi * np.arange(steps) / steps:
            yield distance * np.array([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)])


def sphere_view(eye, size=(96, 72), focal=150.0, view=0, center=(0, 0, 0), radius=RADIUS):
    """A sphere before nothing, in the middle of the picture if it is at the origin: exact depth and mask."""
    camera = Camera.from_focal(*size, focal, look_at(eye))
    v, u = np.indices(size[::-1])
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(camera.K).T
    center = camera.T_cam_base[:3, :3] @ center + camera.T_cam_base[:3, 3]
    a, b = (rays**2).sum(-1), rays @ center
    inside = b * b - a * (center @ center - radius**2)
    depth = np.where(inside > 0, (b - np.sqrt(np.maximum(inside, 0))) / a, 0).astype(np.float32)
    image = np.full((*size[::-1], 3), (200, 100, 50), np.uint8)
    return Observation(camera, image, depth, mask=inside > 0, view=view)
