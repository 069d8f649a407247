"""Masks of links and depth pictures on their way from the command to the fit; quick stand-ins for the fit."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from flows.errors import UsageError
from flows.run import run_episode
from segmentation.errors import MaskError
from twin.errors import TwinError
from urdf import load_robot

pytestmark = pytest.mark.usefixtures("cache")


def test_masks_of_links_reach_the_fit(clip, fakes, quick_report, tmp_path):
    """Folders named like links are the parts of the fit; all that comes later sees their union as the robot."""
    from segmentation import MaskFolder, write_mask

    robot, folder = load_robot("panda"), tmp_path / "masks"
    drawn = [robot.link_names[k] for k in np.unique(robot.mesh.face_link)]
    whole = MaskFolder(clip.masks)
    for t in range(len(whole)):
        for i, name in enumerate(drawn):
            part = whole[t]["robot"] * (np.arange(whole.size[0]) % len(drawn) == i)
            write_mask(folder, name, t, part, links=drawn)
    out = run_episode(clip.video, "panda", tmp_path / "out", masks=folder, camera=clip.cam)
    assert set(MaskFolder(out / "masks", robot.link_names).parts) == {"robot", *drawn}
    np.testing.assert_array_equal(MaskFolder(out / "masks")[0]["robot"], whole[0]["robot"])
    (folder / "elbow").mkdir()
    cv2.imwrite(str(folder / "elbow" / "0.png"), np.zeros((8, 8), np.uint8))
    with pytest.raises(MaskError, match=r"elbow: neither a part .* nor a link of the robot .*panda_link0"):
        run_episode(clip.video, "panda", tmp_path / "out", masks=folder, camera=clip.cam)
    shutil.rmtree(folder / "elbow")
    shutil.rmtree(folder / "panda_link4")
    with pytest.raises(UsageError, match="masks of links without one of panda_link4"):
        run_episode(clip.video, "panda", tmp_path / "out", masks=folder, camera=clip.cam)


def test_depth_that_cannot_belong_to_the_video_is_told(clip, fakes, quick_report, tmp_path):
    folder = tmp_path / "depth"
    with pytest.raises(TwinError, match="expected a folder of 16-bit PNGs"):
        run_episode(clip.video, "panda", tmp_path / "out", depth=folder)
    folder.mkdir()
    cv2.imwrite(str(folder / "0.png"), np.zeros((8, 8), np.uint16))
    with pytest.raises(UsageError, match=r"8x8 pixels for a video of .*; align depth"):
        run_episode(clip.video, "panda", tmp_path / "out", depth=folder)
    cv2.imwrite(str(folder / "0.png"), np.zeros((clip.camera.height, clip.camera.width), np.uint16))
    with pytest.raises(UsageError, match="1 pictures for a video of 8 frames"):
        run_episode(clip.video, "panda", tmp_path / "out", depth=folder)
    with pytest.raises(UsageError, match="expected metres a unit"):
        run_episode(clip.video, "panda", tmp_path / "out", depth=folder, depth_scale=-1)
