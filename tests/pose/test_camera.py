import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose import Camera, CameraError

GOOD = {"width": 640, "height": 480, "K": [[600, 0, 320], [0, 610, 240], [0, 0, 1]], "T_cam_base": np.eye(4).tolist()}


@given(st.lists(st.floats(-0.2, 0.2), min_size=5, max_size=5), st.floats(0.5, 3), st.floats(-0.4, 0.4))
def test_projection_is_opencvs(distortion, depth, slope):
    K = np.array([[500.0, 0, 311], [0, 520, 244], [0, 0, 1]])
    camera = Camera(640, 480, K, distortion=tuple(distortion))
    points = np.array([[slope * depth, 0.3 * depth, depth], [-0.1, slope, depth]])
    expected = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, np.array(distortion))[0][:, 0]
    np.testing.assert_allclose(camera.project(points), expected, atol=1e-6)


@given(st.floats(0.1, 3))
def test_scaling_keeps_rays(factor):
    camera = Camera.from_focal(640, 480, 600.0)
    point = np.array([0.2, -0.1, 1.0])
    small = camera.scaled(factor).project(point)
    # pixel centres at whole numbers: edges, at -0.5, scale about themselves
    np.testing.assert_allclose(small, (camera.project(point) + 0.5) * factor - 0.5, atol=1e-9)


def test_round_trip(tmp_path):
    path = tmp_path / "cam.json"
    path.write_text(json.dumps(GOOD))
    camera = Camera.load(path)
    assert Camera.from_dict(camera.to_dict()).to_dict() == camera.to_dict()
    assert camera.focal == 605


@pytest.mark.parametrize(
    "change, word",
    [
        ({"K": [[1, 2], [3, 4]]}, "3x3"),
        ({"K": [[-600, 0, 320], [0, 600, 240], [0, 0, 1]]}, "fx"),
        ({"K": [[600, 0, 320], [0, float("nan"), 240], [0, 0, 1]]}, "finite"),
        ({"K": "big"}, "3x3"),
        ({"width": 0}, "pixels"),
        ({"width": None}, "whole"),
        ({"distortion": [1, 2]}, "distortion"),
        ({"distortion": ["a"] * 5}, "distortion"),
        ({"T_cam_base": np.diag([1, 1, -1, 1]).tolist()}, "rigid"),
        ({"T_cam_base": (2 * np.eye(4)).tolist()}, "rigid"),
        ({"T_cam_base": [[1, 0], [0, 1]]}, "4x4"),
    ],
)
def test_wrong_cameras_are_named(change, word):
    with pytest.raises(CameraError, match=word) as error:
        Camera.from_dict(GOOD | change, "cam.json")
    assert "\n" not in str(error.value)
    assert "cam.json" in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"width": 3}'])
def test_files_that_are_no_camera(tmp_path, text):
    path = tmp_path / "cam.json"
    path.write_text(text)
    with pytest.raises(CameraError):
        Camera.load(path)
    with pytest.raises(CameraError, match="no such"):
        Camera.load(tmp_path / "absent.json")
