"""Drawing masks and the fitted robot on a picture."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from pose.camera import Camera
from pose.raster import inverse_depth, rasterize
from urdf import Robot

# Colour-blind safe (Okabe-Ito): orange arm, bluish green gripper; in the overlay, the report and Rerun alike.
PART_COLORS = {"arm": (230, 159, 0), "gripper": (0, 158, 115), "robot": (230, 159, 0)}
CONTOUR_COLORS = {"arm": (255, 255, 255), "gripper": (120, 255, 210)}


def link_vertices(robot: Robot, q: np.ndarray) -> np.ndarray:
    """All vertices (V,3) of the render mesh in the base's frame, metres, at joint values q (n,)."""
    T = robot.link_poses(q)[robot.mesh.vertex_link]
    return np.einsum("vij,vj->vi", T[:, :3, :3], robot.mesh.vertices) + T[:, :3, 3]


def part_image(robot: Robot, q: np.ndarray, camera: Camera) -> np.ndarray:
    """What each pixel sees of the robot: (H,W) int8, -1 nothing, 0 arm, 1 gripper.

    `camera.T_cam_base` must be known. Lens distortion is applied to the vertices.
    """
    T = np.asarray(camera.T_cam_base, float)
    points = link_vertices(robot, q) @ T[:3, :3].T + T[:3, 3]
    z = points[:, 2]
    safe = np.where(z[:, None] > 1e-3, points, [0.0, 0.0, 1.0])
    face_id, _ = rasterize(camera.project(safe), inverse_depth(z), robot.mesh.faces, camera.height, camera.width)
    gripper = np.array([part == "gripper" for part in robot.link_parts])
    labels = np.append(gripper[robot.mesh.face_link].astype(np.int8), np.int8(-1))
    return labels[face_id]


def tint(image: np.ndarray, masks: Mapping[str, np.ndarray], strength: float = 0.4) -> np.ndarray:
    """The RGB image with its masks coloured: arm and gripper where given, else the whole robot."""
    parts = [p for p in ("arm", "gripper") if p in masks] or [p for p in ("robot",) if p in masks]
    out = image.astype(np.float32)
    for part in parts:
        inside = masks[part] > 0
        out[inside] += strength * (np.array(PART_COLORS[part], np.float32) - out[inside])
    return out.astype(np.uint8)


def draw_contours(image: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Outline the fitted arm and gripper (labels as `part_image` gives them) on an RGB image, in place."""
    width = max(1, round(image.shape[1] / 500))
    outlines = []
    for label, part in enumerate(("arm", "gripper")):
        shape = (parts == label).astype(np.uint8)
        contours, _ = cv2.findContours(shape, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        outlines.append(([c for c in contours if len(c) > 8], CONTOUR_COLORS[part]))
    for contours, _ in outlines:  # a dark rim keeps the line visible on any ground
        cv2.drawContours(image, contours, -1, (20, 20, 20), width + 2, cv2.LINE_AA)
    for contours, color in outlines:
        cv2.drawContours(image, contours, -1, color, width, cv2.LINE_AA)
    return image


def caption(image: np.ndarray, text: str, alarm: bool = False) -> np.ndarray:
    """Write a line in the upper left corner of an RGB image, in place."""
    scale = max(0.4, image.shape[1] / 1000)
    at = (round(12 * scale) + 2, round(30 * scale) + 2)
    for color, extra in (((20, 20, 20), 4), ((255, 90, 70) if alarm else (255, 255, 255), 1)):
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, color, extra, cv2.LINE_AA)
    return image
