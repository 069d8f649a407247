"""Cameras sharpened by edges in real pictures of the rig: better than masks alone, and said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose.camera import Camera
from pose.shading import render_color
from segmentation.video import open_video
from twin import Rig, RigCamera
from twin.picture import looking
from twin.place import place_rig
from twin.place_check import apart
from urdf import load_robot

EYES = ((1.4, 0.7, 0.8), (0.9, -1.2, 0.7))


@pytest.mark.slow  # pictures are drawn and joints are found
def test_pictures_sharpen_cameras_and_the_statement_says_so(tmp_path: Path):
    robot = load_robot("panda")
    rng = np.random.default_rng(3)
    q = robot.rest + rng.uniform(-0.5, 0.5, (4, len(robot.rest))) * (np.arange(len(robot.rest)) < 7)
    truth = [looking(eye, (0.25, 0, 0.4), (320, 240), 270.0) for eye in EYES]
    cameras, masks = [], []
    for v, camera in enumerate(truth):
        (tmp_path / str(v)).mkdir()
        mine = []
        for t, row in enumerate(q):
            drawn = render_color(robot, row, camera, mesh=robot.display_mesh)
            cv2.imwrite(str(tmp_path / str(v) / f"{t}.png"), drawn.rgb[..., ::-1])
            wide = cv2.dilate((drawn.part > 0).astype(np.uint8), np.ones((5, 5), np.uint8))  # a segmenter's bias
            mine.append({"robot": wide * 255})
        masks.append(mine)
        cameras.append(_rig_camera(tmp_path / str(v), replace(camera, T_cam_base=None)))
    rig = Rig(tuple(cameras))
    found = {sharp: place_rig(rig, robot, masks, joints=(q, None), edges=sharp) for sharp in (False, True)}
    for sharp, placed in found.items():
        for statement in placed.statements:
            assert ("sharpened by edges" in statement.text) == sharp == (not np.isfinite(statement.sigma_m))
            assert statement.state == "placed"
    off = {}
    for sharp, placed in found.items():
        pairs = zip(placed.rig.cameras, truth)
        off[sharp] = max(apart(camera.camera.T_cam_base, true.T_cam_base)[0] for camera, true in pairs)
    assert off[True] < 0.5 * off[False] and off[True] < 0.01


def _rig_camera(folder: Path, camera: Camera) -> RigCamera:
    return RigCamera(folder.name, lambda: open_video(folder, fps=1.0), folder, camera, stamps=np.arange(4.0))
