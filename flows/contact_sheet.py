"""One picture of a robot: at rest, in random poses, and its gripper from closed to open."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flows.drawing import PART_COLORS
from flows.files import atomic_path
from flows.robot_views import (
    BASE_COLOR,
    View,
    base_mask,
    body_view,
    floor_height,
    front,
    gripper_positions,
    gripper_views,
    random_poses,
)
from urdf import Robot
from urdf.labels import GripperLabel

PANEL = 240, 296  # width, height in pixels
COLUMNS, ROWS = 4, 2
HEADER = 48
GAP = 2
AZIMUTH = np.radians(38)
INK, PALE = (34, 38, 46), (112, 118, 130)
AXES = ((214, 40, 40), (34, 150, 60), (40, 90, 220))  # x, y, z
SHIFT = 4  # bits after the point of pixel positions given to OpenCV
COLORS = 200  # of the file's palette


def contact_sheet(robot: Robot, title: str = "", grippers: Sequence[GripperLabel] = ()) -> np.ndarray:
    """(H,W,3) uint8: rest pose, random poses, and the gripper closed, half open and open with its opening.

    The frames of the base and of the tool are drawn with x red, y green, z blue.

    Args:
        robot: any robot.
        title: what it is, beside its name.
        grippers: the finger pads where they are known; a line is drawn between them.
    """
    floor = floor_height(robot)
    azimuth = front(robot) + AZIMUTH
    panels: list[tuple[View, str]] = []
    close: list[tuple[View, str]] = []
    if robot.gripper is not None:
        poses, openings = gripper_positions(robot)
        views = gripper_views(robot, poses, PANEL, grippers[0] if grippers else None)
        words = [f"{w}  {1000 * o:.0f} mm" for w, o in zip(("closed", "half", "open"), openings)]
        close = [(v, w) for v, w in zip(views, words)]
    count = COLUMNS * ROWS - len(close)
    for i, q in enumerate([robot.rest, *random_poses(robot, count - 1)]):
        view = body_view(robot, q, PANEL, azimuth, floor)
        panels.append((view, f"random {i}" if i else "rest"))
    return _compose(robot, title, panels + close)


def write_sheet(path: Path, picture: np.ndarray) -> None:
    """Write a picture as a small PNG with a palette."""
    from PIL import Image

    image = Image.fromarray(picture).quantize(COLORS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    with atomic_path(path) as temporary:
        image.save(temporary, "PNG", optimize=True)


def _mark(view: View) -> np.ndarray:
    """The view's picture with its frames drawn on it."""
    image = view.image.copy()
    for tips in view.frames:
        uv = _pixels(view, tips)
        depth = tips[1:] @ np.asarray(view.camera.T_cam_base)[2, :3]
        for width, colors in ((5, [(255, 255, 255)] * 3), (2, AXES)):
            for axis in np.argsort(-depth):  # far axes first
                cv2.line(image, uv[0], uv[1 + axis], colors[axis], width, cv2.LINE_AA, SHIFT)
    if view.gap is not None:
        ends = _pixels(view, view.gap)
        for width, color in ((5, (255, 255, 255)), (2, INK)):
            cv2.line(image, ends[0], ends[1], color, width, cv2.LINE_AA, SHIFT)
        for end in ends:
            cv2.circle(image, end, 4 << SHIFT, (255, 255, 255), -1, cv2.LINE_AA, SHIFT)
            cv2.circle(image, end, int(2.6 * (1 << SHIFT)), INK, -1, cv2.LINE_AA, SHIFT)
    return image


def _pixels(view: View, points: np.ndarray) -> list[tuple[int, int]]:
    """Points (N,3) of the base frame in pixels, as fixed-point numbers of SHIFT bits."""
    T = np.asarray(view.camera.T_cam_base)
    uv = view.camera.project(points @ T[:3, :3].T + T[:3, 3])
    return [(int(u), int(v)) for u, v in np.round(uv * (1 << SHIFT))]


def _compose(robot: Robot, title: str, panels: list[tuple[View, str]]) -> np.ndarray:
    from PIL import Image, ImageDraw

    width = COLUMNS * PANEL[0] + (COLUMNS - 1) * GAP
    height = HEADER + ROWS * (PANEL[1] + GAP)
    sheet = np.full((height, width, 3), 255, np.uint8)
    for i, (view, _) in enumerate(panels):
        x, y = _corner(i)
        sheet[y : y + PANEL[1], x : x + PANEL[0]] = _mark(view)
    image = Image.fromarray(sheet)
    pen: Any = ImageDraw.Draw(image)
    for i, (_, text) in enumerate(panels):
        x, y = _corner(i)
        pen.text((x + 10, y + PANEL[1] - 10), text, INK, _font(13), "ls")
    counts = len(robot.arm_joints), len(robot.gripper_joints)
    joints = f"{sum(counts)} joint{'' if sum(counts) == 1 else 's'}"
    joints += f" ({counts[0]} arm + {counts[1]} gripper)" if all(counts) else ""
    pen.text((12, 31), robot.name, INK, _font(20, True), "ls")
    x = 12 + pen.textlength(robot.name, _font(20, True)) + 14
    pen.text((x, 31), "   ".join(filter(None, (title, joints))), PALE, _font(13), "ls")
    right = width - 12
    drawn = np.unique(robot.mesh.face_link)
    shown = {"base" if base_mask(robot)[i] else robot.link_parts[i] for i in drawn}
    for name, color in (("gripper", PART_COLORS["gripper"]), ("arm", PART_COLORS["arm"]), ("base", BASE_COLOR)):
        if name not in shown:
            continue
        right -= int(pen.textlength(name, _font(13)))
        pen.text((right, 31), name, INK, _font(13), "ls")
        right -= 18
        pen.rounded_rectangle((right, 20, right + 12, 32), 3, color)
        right -= 14
    return np.asarray(image)


def _corner(i: int) -> tuple[int, int]:
    return i % COLUMNS * (PANEL[0] + GAP), HEADER + i // COLUMNS * (PANEL[1] + GAP)


@cache
def _font(size: int, bold: bool = False) -> Any:
    """DejaVu Sans as it comes with matplotlib."""
    from matplotlib.font_manager import FontProperties, findfont
    from PIL import ImageFont

    return ImageFont.truetype(findfont(FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")), size)
