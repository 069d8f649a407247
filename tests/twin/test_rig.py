"""Rigs: what is read, what is refused, which frames belong together, lenses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose.camera import Camera
from segmentation.video import open_video
from twin import TwinError, load_rig
from twin.depth import DepthFolder
from twin.rig import Rig, RigCamera, Straightener

WIDTH, HEIGHT = 64, 48
LENS = (-0.3, 0.1, 0.002, -0.001, 0.0)


def pictures(folder: Path, count: int, value: int = 90) -> Path:
    folder.mkdir(parents=True)
    for i in range(count):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((HEIGHT, WIDTH, 3), value + i, np.uint8))
    return folder


def depth_file(path: Path, value: int) -> None:
    cv2.imwrite(str(path), np.full((HEIGHT, WIDTH), value, np.uint16))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two cameras, the second with depth and another clock."""
    for name, count in (("a", 6), ("b", 4)):
        pictures(tmp_path / name, count)
    (tmp_path / "b_depth").mkdir()
    for i in range(3):
        depth_file(tmp_path / "b_depth" / f"{i}.png", 1500 + i)
    camera = Camera.from_focal(WIDTH, HEIGHT, 60.0, np.eye(4))
    entries = [
        {"name": "a", "video": "a", "fps": 10, "camera": camera.to_dict()},
        {
            "name": "b", "video": "b", "depth": "b_depth", "depth_scale": 0.001, "timestamps": [5.0, 5.1, 5.31, 5.4],
            "offset_s": -5.0, "camera": camera.to_dict() | {"distortion": LENS}, "rotation": 180,
        },
    ]  # fmt: skip
    (tmp_path / "rig.json").write_text(json.dumps({"cameras": entries, "world": "base"}))
    return tmp_path


def change(folder: Path, number: int = 0, **entries: object) -> Path:
    data = json.loads((folder / "rig.json").read_text())
    data["cameras"][number] |= entries
    (folder / "rig.json").write_text(json.dumps(data))
    return folder / "rig.json"


def test_frames_belong_together_by_time(folder):
    rig = load_rig(folder)
    times, frames = rig.instants()
    assert rig.names == ("a", "b") and rig.cameras[1].rotation == 180
    np.testing.assert_allclose(times, [0, 0.1, 0.2, 0.3, 0.4, 0.5])
    np.testing.assert_array_equal(frames, [[0, 1, 2, 3, 4, 5], [0, 1, -1, 2, 3, -1]])
    np.testing.assert_allclose(rig.instants(step=0.2)[0], [0, 0.2, 0.4])


def test_observations_are_straight_and_carry_depth(folder):
    seen = list(load_rig(folder).observations(ignore={0: [np.eye(HEIGHT, WIDTH) > 0] * 6}))
    assert [(s.view, round(s.time_s, 2)) for s in seen] == [(0, t / 10) for t in range(6)] + [
        (1, 0.0), (1, 0.1), (1, 0.31), (1, 0.4)
    ]  # fmt: skip
    assert seen[0].ignore.sum() == HEIGHT and seen[0].depth is None and not any(seen[6].camera.distortion)
    inside = ~seen[6].ignore
    assert 0.5 < inside.mean() <= 1
    np.testing.assert_allclose([s.depth[inside].mean() for s in seen[6:9]], [1.5, 1.501, 1.502], atol=1e-6)
    assert not seen[9].depth.any()  # the fourth frame has no depth file


def test_a_straightened_point_is_where_a_pinhole_sees_it():
    camera = Camera.from_focal(320, 240, 250.0)
    bent = replace(camera, distortion=LENS)
    point = np.array([[0.25, -0.2, 1.0]])
    u, v = bent.project(point)[0]
    image = np.zeros((240, 320, 3), np.uint8)
    cv2.circle(image, (round(u * 16), round(v * 16)), 3 * 16, (255, 255, 255), -1, shift=4)
    straight = Straightener(bent).picture(image)[..., 0].astype(float)
    ys, xs = np.indices(straight.shape)
    centre = [(straight * xs).sum() / straight.sum(), (straight * ys).sum() / straight.sum()]
    np.testing.assert_allclose(centre, camera.project(point)[0], atol=0.3)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"video": "none.mp4"}, "no such video"),
        ({"name": "../a"}, "without slashes"),
        ({"name": "b"}, "both|two cameras are called 'b'"),
        ({"camera": {"width": 64, "height": 48}}, "K is missing"),
        ({"depth": "a_depth"}, "16-bit PNGs"),
        ({"depth": "b_depth", "depth_scale": 0}, "metres a unit"),
        ({"timestamps": [0, 0, 1]}, "rising numbers"),
        ({"timestamps": "times.json"}, "not a readable JSON"),
        ({"rotation": 45}, "0, 90, 180 or 270"),
        ({"offset_s": "soon"}, "number of seconds"),
        ({"extrinsics": []}, "unknown entry 'extrinsics'"),
    ],
)
def test_what_is_wrong_is_said_with_the_camera(folder, entries, says):
    with pytest.raises(Exception, match=says) as caught:
        load_rig(change(folder, **entries))
    assert isinstance(caught.value, TwinError) or type(caught.value).__name__ == "CameraError"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"cameras": []}', '{"cameras": [1]}', "{" * 5000])
def test_no_rig_in_the_file(tmp_path, content):
    (tmp_path / "rig.json").write_text(content)
    with pytest.raises(TwinError, match=r"rig\.json"):
        load_rig(tmp_path / "rig.json")


def test_an_unknown_folder_is_told_what_is_expected(tmp_path):
    with pytest.raises(TwinError, match="known ways"):
        load_rig(tmp_path)
    with pytest.raises(TwinError, match="no such file"):
        load_rig(tmp_path / "absent")


@given(value=st.integers(0, 65535), bits=st.integers(1, 15))
@settings(deadline=None, max_examples=40)
def test_rotated_bits_are_rotated_back(value, bits):
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as place:
        file = Path(place) / "d.png"
        depth_file(file, ((value << bits) | (value >> (16 - bits))) & 0xFFFF)
        read = DepthFolder((file,), 1e-4, bits).read(0)
    np.testing.assert_allclose(read, value * 1e-4, rtol=1e-6)


@given(shift=st.floats(-0.4, 0.4), rate=st.sampled_from([15.0, 30.0, 54.0]))
@settings(deadline=None, max_examples=40)
def test_instants_are_never_further_apart_than_asked(shift, rate):
    def camera(name, stamps):
        return RigCamera(name, lambda: open_video("never"), Path(name), stamps=stamps)

    clocks = np.arange(40) / 30, shift + np.arange(50) / rate
    rig = Rig((camera("a", clocks[0]), camera("b", clocks[1])))
    times, frames = rig.instants(tolerance=0.01)
    for v, clock in enumerate(clocks):
        used = frames[v] >= 0
        assert (np.abs(clock[frames[v, used]] - times[used]) <= 0.01 + 1e-9).all()
        for t in np.flatnonzero(~used):
            assert np.abs(clock - times[t]).min() > 0.01


def test_layouts(tmp_path):
    (tmp_path / "tags").mkdir()
    for i in range(2):
        cv2.imwrite(str(tmp_path / "tags" / f"{i:03d}_left.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    K = [[60, 0, 31.5], [0, 60, 23.5], [0, 0, 1]]
    content = {"cameras": {"left": {"K": K, "resolution": [WIDTH, HEIGHT], "T_cam_base": np.eye(4).tolist()}}}
    (tmp_path / "tags" / "calib_and_poses.json").write_text(json.dumps(content))
    assert len(load_rig(tmp_path / "tags").cameras[0].times) == 2

    sensor = tmp_path / "sensors" / "front"
    pictures(sensor / "color", 3)
    (sensor / "depth").mkdir()
    depth_file(sensor / "depth" / "0.png", 700)
    lens = {"width": WIDTH, "height": HEIGHT, "fx": 60, "fy": 61, "ppx": 31, "ppy": 23, "coeffs": [0.1, 0, 0, 0, 0]}
    (sensor / "intrinsics.json").write_text(json.dumps(lens))
    front = load_rig(tmp_path / "sensors").cameras[0]
    assert front.name == "front" and front.camera.K[1][1] == 61 and front.camera.distortion[0] == 0.1
    np.testing.assert_allclose(front.depth.read(0), 0.7, rtol=1e-6)


def test_nerfstudio_axes_and_pixels(tmp_path):
    pictures(tmp_path / "images", 2)
    T = np.diag([1.0, -1, -1, 1])  # an OpenGL camera that looks along +z of the world
    T[:3, 3] = [0, 0, -2]
    frames = [{"file_path": f"images/{i}.png", "transform_matrix": T.tolist()} for i in range(2)]
    lens = {"w": WIDTH, "h": HEIGHT, "fl_x": 60, "cx": 32, "cy": 24}
    (tmp_path / "transforms.json").write_text(json.dumps(lens | {"frames": frames}))
    rig = load_rig(tmp_path)
    seen = next(iter(rig.observations()))
    assert rig.world == "other"
    np.testing.assert_allclose(seen.camera.K[0][2], 31.5)
    np.testing.assert_allclose((seen.camera.T_cam_base @ [0.1, 0, 0, 1])[:3], [0.1, 0, 2], atol=1e-12)
    frames[0]["file_path"] = "../secret.png"
    (tmp_path / "transforms.json").write_text(json.dumps(lens | {"frames": frames}))
    with pytest.raises(TwinError, match="outside"):
        load_rig(tmp_path / "transforms.json")
