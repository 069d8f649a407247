"""Scene folders: what is written comes back; damaged or hostile ones are refused in one line."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pose.errors import CameraError
from twin.errors import TwinError
from twin.sample import sample_cameras, sample_scene
from twin.scene import RobotMotion
from twin.scene_files import read_scene, write_scene


@pytest.fixture(scope="module")
def scene():
    q = np.array([[0.1, 0.2], [np.nan, 0.3]])
    truth = sample_scene().truth(RobotMotion("panda", ("a", "b"), q, np.array([0.0, 0.5]), 1), sample_cameras())
    bodies = tuple(replace(b, collision=(b.visual,), static=i == 0) for i, b in enumerate(truth.bodies[:2]))
    return replace(truth, bodies=bodies, warnings=("käse",))


def test_round_trip(scene, tmp_path):
    write_scene(tmp_path / "ünï", scene)
    back = read_scene(tmp_path / "ünï")
    assert back.background.vertices == pytest.approx(scene.background.vertices, abs=1e-6)
    assert (back.background.faces == scene.background.faces).all()
    assert (back.background.colors == scene.background.colors).all()
    for a, b in zip(back.bodies, scene.bodies):
        assert (a.name, a.static, a.material) == (b.name, b.static, b.material)
        assert a.inertia == pytest.approx(b.inertia) and a.mass == pytest.approx(b.mass)
        assert a.T_base_body == pytest.approx(b.T_base_body) and len(a.collision) == 1
    np.testing.assert_array_equal(back.robot.q, scene.robot.q)
    assert back.robot.joint_names == ("a", "b") and back.robot.pose_index == 1
    assert back.cameras["left"].to_dict() == scene.cameras["left"].to_dict()
    assert back.metrics == scene.metrics and back.warnings == ("käse",)


def test_names_that_are_no_file_names_are_not_written(scene, tmp_path):
    for name in ("../x", "", "a b", scene.bodies[1].name):
        with pytest.raises(TwinError, match="names must differ"):
            write_scene(tmp_path, replace(scene, bodies=(replace(scene.bodies[0], name=name), scene.bodies[1])))


@pytest.mark.parametrize(
    "path, value, message",
    [
        (("background",), "../../etc/passwd", "outside"),
        (("bodies", 0, "visual"), "/etc/passwd", "outside"),
        (("bodies", 0, "visual"), "absent.ply", "no such mesh"),
        (("bodies", 0, "name"), "../x", "letters"),
        (("bodies", 0, "inertia"), [1, 2], "shape"),
        (("bodies", 0, "mass"), None, "finite"),
        (("bodies",), 5, "damaged"),
        (("robot", "pose_index"), 9, "pose_index"),
        (("robot", "motion"), "../robot.parquet", "outside"),
        (("cameras", "left", "K"), [], "K"),
        (("schema_version",), 99, "schema"),
    ],
)
def test_damaged_scenes(scene, tmp_path, path, value, message):
    write_scene(tmp_path, scene)
    data = json.loads((tmp_path / "scene.json").read_text())
    spot = data
    for key in path[:-1]:
        spot = spot[key]
    spot[path[-1]] = value
    (tmp_path / "scene.json").write_text(json.dumps(data))
    with pytest.raises((TwinError, CameraError), match=message) as caught:
        read_scene(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_json(tmp_path):
    with pytest.raises(TwinError, match="is missing"):
        read_scene(tmp_path)
    for text in ("", "[" * 100_000, "[]", '{"schema_version": 1, "cameras": 3}'):
        (tmp_path / "scene.json").write_text(text)
        with pytest.raises(TwinError):
            read_scene(tmp_path)
