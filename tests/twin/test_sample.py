"""The synthetic rig: its truth is consistent, its faults are those of a depth camera."""

from dataclasses import replace

import numpy as np
import pytest

from twin.errors import TwinError
from twin.mesh import Mesh
from twin.physics import mass_of
from twin.sample import DENSITY, REGION, sample_cameras, sample_scene
from twin.sample_depth import DepthSensor, measure_depth
from twin.visible import before_surface, depth_picture, join, sample_points
from urdf import load_robot


@pytest.fixture(scope="module")
def truth():
    return sample_scene().truth(None, sample_cameras())


def test_objects_are_closed_and_stand_on_the_table(truth):
    assert len(truth.bodies) >= 4
    for body in truth.bodies:
        shape = body.visual.to_trimesh()
        assert shape.is_watertight and shape.volume > 0, body.name
        assert body.mass == pytest.approx(shape.volume * DENSITY, rel=1e-6)
        placed = body.visual.transformed(body.T_base_body).vertices
        assert placed[:, 2].min() == pytest.approx(-0.001, abs=1e-6), body.name
        assert (placed > REGION[0]).all() and (placed < REGION[1]).all(), body.name


def test_every_object_is_seen_by_two_cameras(truth):
    surface = join((m.vertices, m.faces) for m in [truth.background, *_placed(truth)])
    depth = {name: depth_picture(surface, camera) for name, camera in truth.cameras.items()}
    rng = np.random.default_rng(0)
    for body, mesh in zip(truth.bodies, _placed(truth)):
        points = sample_points(mesh, 0.005, rng)
        seen = [before_surface(points, truth.cameras[n], depth[n], 0.003).mean() > 0.15 for n in depth]
        assert sum(seen) >= 2, body.name


def _placed(truth):
    return [b.visual.transformed(b.T_base_body) for b in truth.bodies]


def test_nothing_stands_in_the_arms_way(truth):
    from flows.sample import sample_motion
    from twin.visible import robot_surface

    robot = load_robot("panda")
    boxes = [(m.vertices.min(0) - 0.01, m.vertices.max(0) + 0.01) for m in _placed(truth)]
    for q in sample_motion(20)[0]:
        points = robot_surface(robot, q)[0]
        assert not any(((points > low) & (points < high)).all(1).any() for low, high in boxes)


def test_depth_noise_grows_with_the_square_of_distance():
    near, far = np.full((120, 160), 0.8), np.full((120, 160), 2.4)
    sensor = DepthSensor(loss=0.0)
    spread = [np.std(measure_depth(d, 600, sensor, 1, 0)[20:-20, 20:-20] * sensor.unit) for d in (near, far)]
    expected = [d**2 * sensor.subpixel / (600 * sensor.baseline) for d in (0.8, 2.4)]
    assert spread == pytest.approx(expected, rel=0.3)
    again = measure_depth(near, 600, sensor, 1, 0)
    assert np.array_equal(again, measure_depth(near, 600, sensor, 1, 0))
    assert not np.array_equal(again, measure_depth(near, 600, sensor, 1, 1))


def test_depth_has_holes_beside_near_things_and_nothing_beyond_the_range():
    depth = np.full((60, 200), 2.0)
    depth[:, 80:120] = 1.0
    sensor = replace(DepthSensor(), loss=0.0, flying=0.0)
    reported = measure_depth(depth, 600, sensor, 1, 0)
    # what lies left of the near thing is hidden from an imager to the right: 600 * .05 * (1/1 - 1/2) = 15 pixels
    assert (reported[:, 67:79] == 0).mean() > 0.95
    assert (reported[:, 125:] > 0).mean() > 0.95 and (reported[:, :60] > 0).mean() > 0.95
    assert not measure_depth(np.full((20, 20), 9.0), 600, sensor, 1, 0).any()
    assert not measure_depth(np.zeros((20, 20)), 600, sensor, 1, 0).any()


def test_mass_of_a_box_and_of_nothing():
    import trimesh

    shape = trimesh.creation.box((0.1, 0.2, 0.3))
    outwards = Mesh(shape.vertices + np.array([1.0, 2.0, 3.0]), np.asarray(shape.faces, np.int32))
    inside_out = replace(outwards, faces=outwards.faces[:, ::-1])
    for mesh in (outwards, inside_out):
        mass = mass_of(mesh, 500.0)
        assert mass.mass == pytest.approx(3.0) and mass.center == pytest.approx([1, 2, 3])
        assert np.diag(mass.inertia) == pytest.approx(
            [3 / 12 * (a**2 + b**2) for a, b in ((0.2, 0.3), (0.1, 0.3), (0.1, 0.2))]
        )
    with pytest.raises(TwinError, match="no volume"):
        mass_of(Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]], np.int32)), 500.0)
    with pytest.raises(TwinError, match="density"):
        mass_of(outwards, 0.0)
