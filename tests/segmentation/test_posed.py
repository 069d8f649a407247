"""Real pictures labelled by known poses: the elbow and the last pixel found by edges, on drawn pictures."""

import json

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose import Camera
from segmentation.errors import TrainingError
from segmentation.training.posed import REDUNDANT, Outline, label_posed, open_posed, sharpened, swept_pose
from segmentation.training.shards import decode
from urdf import load_robot

LINK = "panda_link8"


@pytest.fixture(scope="module")
def robot():
    return load_robot("panda")


@pytest.fixture(scope="module")
def truth(robot):
    return robot.rest + np.array([0.1, -0.2, 0.15, 0.1, 0.2, -0.1, 0.3, -0.02])


@pytest.fixture(scope="module")
def cameras():
    front = np.array([[0.0, 1, 0, 0], [0, 0, -1, 0.45], [-1, 0, 0, 1.8], [0, 0, 0, 1]])
    side = np.array([[1.0, 0, 0, -0.3], [0, 0, -1, 0.45], [0, 1, 0, 1.6], [0, 0, 0, 1]])
    return [Camera.from_focal(240, 180, 200.0, T) for T in (front, side)]


@pytest.fixture(scope="module")
def pictures(robot, truth, cameras):
    """A pale robot on dark noise."""
    rng = np.random.default_rng(0)
    out = []
    for view, camera in enumerate(cameras):
        picture = rng.integers(20, 60, (camera.height, camera.width, 3)).astype(np.uint8)
        blank = Outline(robot, cameras, [picture] * 2)
        picture[blank.part(truth, view) > 0] = 200
        out.append(cv2.GaussianBlur(picture, (0, 0), 0.8))
    return out


def overlap(a, b):
    return ((a > 0) & (b > 0)).sum() / ((a > 0) | (b > 0)).sum()


def test_a_swept_pose_reaches_the_recorded_one(robot, truth):
    link = robot.link_names.index(LINK)
    T = robot.link_poses(truth)[link]
    found = swept_pose(robot, T, LINK, float(truth[REDUNDANT]), robot.rest)
    assert np.allclose(robot.link_poses(found)[link], T, atol=5e-3)
    far = T.copy()
    far[:3, 3] *= 5
    assert swept_pose(robot, far, LINK, 0.0, robot.rest) is None


def test_edges_pull_the_outline_into_place(robot, truth, cameras, pictures):
    outline = Outline(robot, cameras, pictures)
    off = truth + np.array([0.012, -0.01, 0.01, 0.012, 0.0, -0.01, 0.0, 0.0])
    found = sharpened(robot, outline.support, off)
    before, after = (
        np.mean([overlap(outline.part(q, v), outline.part(truth, v)) for v in (0, 1)]) for q in (off, found)
    )
    assert before < 0.97 and 1 - after < 0.6 * (1 - before)


def test_a_folder_is_labelled(robot, truth, cameras, pictures, tmp_path):
    T = robot.link_poses(truth)[robot.link_names.index(LINK)]
    data = {
        "cameras": {
            f"c{i}": {"K": c.K.tolist(), "T_cam_base": np.asarray(c.T_cam_base).tolist(), "resolution": [240, 180]}
            for i, c in enumerate(cameras)
        },
        "frames": [
            {"ee_position_m": p, "ee_quaternion_xyzw": Rotation.from_matrix(T[:3, :3]).as_quat().tolist()}
            for p in (T[:3, 3].tolist(), (5 * T[:3, 3]).tolist())
        ],
    }
    (tmp_path / "calib_and_poses.json").write_text(json.dumps(data))
    for i in (0, 1):
        for view, picture in enumerate(pictures):
            cv2.imwrite(str(tmp_path / f"{i:03d}_c{view}.jpg"), picture)
    (sample,) = label_posed(open_posed(tmp_path), robot, LINK, ["c1"], lambda done, total: None)
    rgb, part = decode(sample)
    true = Outline(robot, cameras, pictures).part(truth, 1)
    assert rgb.shape == (180, 240, 3) and overlap(part, true) > 0.97
    assert (sample.clip, sample.frame) == ("c1", 0) and len(sample.meta["q"]) == len(truth)
    (tmp_path / "000_c0.jpg").unlink()
    with pytest.raises(TrainingError, match=r"000_c0.jpg: expected a picture of 240x180"):
        list(label_posed(open_posed(tmp_path), robot, LINK, ["c1"], lambda done, total: None))


def test_a_file_of_another_form_is_told(tmp_path):
    with pytest.raises(TrainingError, match="no such file"):
        open_posed(tmp_path)
    (tmp_path / "calib_and_poses.json").write_text('{"cameras": {"a": {"K": 3}}}')
    with pytest.raises(TrainingError, match="expected cameras with K"):
        open_posed(tmp_path)
