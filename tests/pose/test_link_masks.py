"""Masks of single links: how they become channels, what a fit gains from them, names that cannot be used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_edges import CAMERAS, HEIGHT, MODEL, ROBOT, WIDTH, Q

from pose import FitError, fit_video
from pose.kernel import coverage, make_model, see
from pose.mask_code import PARTS, SEAM, mask_code
from pose.targets import Targets

CAMERA = CAMERAS[0]
LINKS = [ROBOT.link_names[k] for k in np.unique(MODEL.face_link)]


def link_masks(q: np.ndarray) -> dict[str, np.ndarray]:
    face_id = see(MODEL, q, CAMERA.T_cam_base, np.asarray(CAMERA.K, float), HEIGHT, WIDTH, 1)[0]
    link = np.where(face_id >= 0, MODEL.face_link[np.maximum(face_id, 0)], -1)
    return {ROBOT.link_names[k]: np.where(link == k, 255, 0).astype(np.uint8) for k in np.unique(MODEL.face_link)}


@pytest.mark.parametrize(
    "names", [("robot",), ("gripper",), ("robot", "gripper"), ("arm", "gripper"), ("robot", "arm")]
)
def test_parts_are_channels_as_ever(names):
    code = mask_code(names, None)
    first = (1.0, 1.0) if "robot" in names or len(names) == 2 else PARTS[names[0]]
    second = [SEAM * np.array(PARTS["gripper" if "gripper" in names else "arm"])] * (len(names) - 1)
    np.testing.assert_allclose(code.channels, np.float32([first, *second]))
    assert code.labels is None


def test_neighbours_differ_by_half_and_no_two_are_alike():
    code = mask_code(LINKS, ROBOT)
    levels = [code.levels[name] for name in LINKS]
    assert len(set(levels)) == len(levels) and min(levels) == 0 and max(levels) == 1
    assert np.abs(np.diff(levels)).min() > 0.35
    assert mask_code(["robot", LINKS[4]], ROBOT).levels == {LINKS[4]: 1.0}


def test_targets_are_what_the_model_covers():
    """Masks drawn link by link make the channels that the posed model covers, whatever subset is given."""
    for names in (LINKS, ["robot", *LINKS[3:6]], [*LINKS[2:5]], ["gripper", "robot", LINKS[2]]):
        every = link_masks(Q[0])
        gripper = [n for n, p in zip(ROBOT.link_names, ROBOT.link_parts) if p == "gripper" and n in every]
        every |= {
            "robot": np.maximum.reduce(list(every.values())),
            "gripper": np.maximum.reduce([every[n] for n in gripper]),
        }
        targets = Targets([{name: every[name] for name in names}], CAMERA, ROBOT)
        model = make_model(ROBOT, ROBOT.display_mesh, targets.labels)
        face_id = see(model, Q[0], CAMERA.T_cam_base, np.asarray(CAMERA.K, float), HEIGHT, WIDTH, 1)[0]
        np.testing.assert_allclose(
            targets.read(0, WIDTH), coverage(face_id, model.face_part, targets.channels, 1), atol=1e-5
        )


@pytest.mark.slow
def test_links_tell_the_pose_of_one_frame_with_the_camera_known():
    q = fit_video(ROBOT, [link_masks(Q[1])], camera=CAMERA, q0=None, seed=1).q[0]
    assert np.rad2deg(np.abs(q - Q[1]))[:6].max() < 2


def test_names_that_cannot_be_used():
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    with pytest.raises(FitError, match=r"masks have parts \['elbow'\]; expected .* or links of panda \(panda_link0"):
        fit_video(ROBOT, [{"elbow": mask}], camera=CAMERA)
    with pytest.raises(FitError, match="masks gripper and panda_hand both hold link panda_hand"):
        fit_video(ROBOT, [{"gripper": mask, "panda_hand": mask}], camera=CAMERA)
    with pytest.raises(FitError, match="frame 1 has no panda_link3 mask although frame 0 has one"):
        Targets([{"robot": mask, "panda_link3": mask}, {"robot": mask}], replace(CAMERA, T_cam_base=None), ROBOT).read(
            1, WIDTH
        )
