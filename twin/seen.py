"""What the cameras of a scene saw of it over time."""

from __future__ import annotations

import numpy as np

from twin.scene import Scene
from twin.visible import before_surface, depth_picture, join, robot_surface
from urdf import load_robot

INSTANTS = 24  # of the robot's motion, evenly spread


class SeenSpace:
    """Depth pictures of a true scene from all its cameras, with the robot where it stood at some instants."""

    def __init__(self, truth: Scene) -> None:
        placed = [body.visual.transformed(body.T_base_body) for body in truth.bodies]
        meshes = placed if truth.background is None else [truth.background, *placed]
        still = join((mesh.vertices, mesh.faces) for mesh in meshes)
        surfaces = [still]
        if truth.robot is not None and len(truth.robot.q):
            robot = load_robot(truth.robot.robot)
            rows = np.unique(np.linspace(0, len(truth.robot.q) - 1, INSTANTS).astype(int))
            known = [truth.robot.q[i] for i in rows if np.isfinite(truth.robot.q[i]).all()]
            surfaces = [join([still, robot_surface(robot, q)]) for q in known] or surfaces
        cameras = [c for c in truth.cameras.values() if c.T_cam_base is not None]
        self._views = [(camera, depth_picture(surface, camera)) for camera in cameras for surface in surfaces]

    def holds(self, points: np.ndarray, margin: float) -> np.ndarray:
        """(N,) bool: points (N,3) that lie in seen space, or less than `margin` metres behind what was seen."""
        seen = np.zeros(len(points), bool)
        for camera, depth in self._views:
            rest = np.flatnonzero(~seen)
            seen[rest] = before_surface(points[rest], camera, depth, margin)
        return seen
