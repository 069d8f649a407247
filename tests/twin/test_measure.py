"""Measures of twins: nothing is wrong with the truth itself, known errors come out as they were put in."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from twin.errors import TwinError
from twin.measure import compare_cameras, measure_twin
from twin.measure_objects import register
from twin.measure_surface import DistanceField
from twin.mesh import Mesh
from twin.sample import mesh_of, sample_cameras, sample_scene
from twin.scene import RobotMotion
from twin.visible import sample_points

COARSE = {"spacing": 0.008}


@pytest.fixture(scope="module")
def truth():
    q = np.array([[0, -0.3, 0, -2.2, 0, 2.0, 0.8, 0.03]] * 2)
    names = (*(f"panda_joint{i}" for i in range(1, 8)), "panda_finger_joint1")
    return sample_scene().truth(RobotMotion("panda", names, q, np.arange(2.0)), sample_cameras(0.5))


def test_truth_has_no_error(truth):
    errors = measure_twin(truth, truth, **COARSE)
    assert errors.surface.chamfer < 1e-4 and min(errors.surface.f_score) > 0.999
    assert set(errors.objects) == {b.name for b in truth.bodies} and errors.extra == ()
    for found in errors.objects.values():
        assert found.position < 1e-4 and found.angle < 0.01 and found.volume == pytest.approx(1)
    assert all(c.position < 1e-9 and c.angle < 1e-6 and c.focal == 0 for c in errors.cameras.values())


def test_known_errors_come_out(truth):
    """The table 7 mm too high, a can 6 mm aside, a bottle missing, a body too many, a camera 2 cm and 3 degrees off."""
    bodies = []
    for body in truth.bodies:
        shift = np.eye(4)
        shift[:3, 3] = (0.006, 0, 0) if body.name == "can" else 0
        if body.name != "bottle":
            bodies.append(replace(body, name=f"object_{len(bodies)}", T_base_body=shift @ body.T_base_body))
    ghost = np.eye(4)
    ghost[:3, 3] = 0.1, -0.1, 0.3
    bodies.append(replace(truth.bodies[1], name="ghost", T_base_body=ghost))
    turn = np.eye(4)
    turn[:3, :3], turn[:3, 3] = Rotation.from_rotvec([0, 0, np.deg2rad(3)]).as_matrix(), (0.02, 0, 0)
    cameras = dict(truth.cameras)
    cameras["side"] = replace(cameras["side"], T_cam_base=cameras["side"].T_cam_base @ turn)
    del cameras["left"]
    up = np.eye(4)
    up[2, 3] = 0.007
    wrong = replace(truth, background=truth.background.transformed(up), bodies=tuple(bodies), cameras=cameras)
    errors = measure_twin(wrong, truth, **COARSE)
    assert errors.objects["bottle"] is None and errors.extra == ("ghost",)
    assert (
        errors.objects["can"].position == pytest.approx(0.006, abs=1e-3) and errors.objects["can"].match == "object_1"
    )
    assert errors.objects["carton"].position < 1e-4
    assert errors.cameras["left"] is None and errors.cameras["front"].position < 1e-9
    assert errors.cameras["side"].angle == pytest.approx(np.deg2rad(3)) and errors.cameras["side"].position > 0.01
    at_5, at_10 = errors.surface.f_score
    assert at_5 < 0.4 and at_10 > 0.95
    assert 0.004 < errors.surface.chamfer < 0.009


def test_what_nobody_sees_is_not_counted(truth):
    """A thing under the table changes nothing; a sheet in the air does."""
    carton = next(b for b in truth.bodies if b.name == "carton")
    below = np.eye(4)
    below[:3, 3] = 0.5, 0, -0.4
    hidden = replace(carton, name="hidden", T_base_body=below)
    region = [[-0.3, -0.7, -0.6], [1.2, 0.7, 0.8]]
    errors = measure_twin(replace(truth, bodies=(*truth.bodies, hidden)), truth, region, **COARSE)
    assert errors.surface.precision[0] > 0.999 and errors.extra == ("hidden",)
    corners = np.array([[0.2, -0.3, 0.4], [0.7, -0.3, 0.4], [0.2, 0.3, 0.4], [0.7, 0.3, 0.4]])
    sheet = replace(
        carton, name="sheet", T_base_body=np.eye(4), visual=Mesh(corners, np.array([[0, 1, 2], [1, 3, 2]], np.int32))
    )
    errors = measure_twin(replace(truth, bodies=(*truth.bodies, sheet)), truth, **COARSE)
    assert errors.surface.precision[0] < 0.95


def test_half_a_surface_is_half_complete(truth):
    box = truth.background
    left = box.vertices[box.faces].mean(1)[:, 1] < 0
    half = replace(truth, background=replace(box, faces=box.faces[left]), bodies=())
    errors = measure_twin(half, replace(truth, bodies=()), region=[[0, -0.7, -0.1], [1.2, 0.7, 0.1]], **COARSE)
    assert errors.surface.recall[0] == pytest.approx(0.5, abs=0.06) and errors.surface.precision[0] > 0.99


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.floats(-0.012, 0.012), min_size=3, max_size=3), st.lists(st.floats(-0.12, 0.12), min_size=3, max_size=3)
)
def test_registration_finds_the_motion(shift, turn):
    """A shape without symmetry: the motion that was put in, and not another."""
    mesh = mesh_of(sample_scene().objects["toy"])
    center = mesh.vertices.mean(0)
    R = Rotation.from_rotvec(turn)
    moved = replace(mesh, vertices=center + shift + R.apply(mesh.vertices - center))
    rng = np.random.default_rng(0)
    found = register(sample_points(mesh, 0.004, rng), center, DistanceField(moved, 0.003, rng))
    assert found[0] == pytest.approx(shift, abs=6e-4)
    assert (Rotation.from_rotvec(found[1]).inv() * R).magnitude() < 0.02


def test_a_can_may_turn_about_its_axis():
    mesh = mesh_of(sample_scene().objects["can"])
    turned = replace(mesh, vertices=Rotation.from_rotvec([0, 0, 0.5]).apply(mesh.vertices) + np.array([0, 0.004, 0]))
    rng = np.random.default_rng(0)
    shift, turn, _ = register(sample_points(mesh, 0.004, rng), mesh.vertices.mean(0), DistanceField(turned, 0.003, rng))
    assert shift == pytest.approx([0, 0.004, 0], abs=3e-4) and np.linalg.norm(turn) < 0.02


def test_bad_input(truth):
    with pytest.raises(TwinError, match="region"):
        measure_twin(truth, truth, region=[1, 2, 3])
    with pytest.raises(TwinError, match="below the second"):
        measure_twin(truth, truth, region=[1, 0, 0, 0, 1, 1])
    with pytest.raises(TwinError, match="no cameras"):
        measure_twin(truth, replace(truth, cameras={}))
    with pytest.raises(TwinError, match="the twin has no surface"):
        measure_twin(replace(truth, background=None, bodies=()), truth, **COARSE)
    unplaced = compare_cameras(replace(truth.cameras["front"], T_cam_base=None), truth.cameras["front"])
    assert np.isnan(unplaced.position)
