"""Depth pictures against the posed mesh: derivatives, a clip's fit refined by them, wrong units, things in front."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_edges import CAMERAS, HEIGHT, MODEL, ROBOT, WIDTH, Q

from pose import FitError, Trajectory, align_depth
from pose.depth import DEPTH_SHARED, sample
from pose.depth_units import unit_of
from pose.edges import view_of
from pose.kernel import CAMERA_PARAMETERS, make_model, see
from pose.solver import SHARED, move
from twin.sample_depth import DepthSensor, measure_depth

FRAMES = 3
CAMERA = CAMERAS[0]
TRUE = Q[0] + np.linspace(0, 1, FRAMES)[:, None] * np.array([0.15, 0.1, -0.1, 0.1, 0.1, -0.1, 0.1, 0.005])
TIMES = np.arange(FRAMES) / 10
FINE = make_model(ROBOT, ROBOT.display_mesh)


def exact(q: np.ndarray) -> np.ndarray:
    """(H,W) metres, a wall behind the robot."""
    inverse = see(FINE, q, CAMERA.T_cam_base, np.asarray(CAMERA.K, float), HEIGHT, WIDTH, 1)[1]
    return np.where(inverse > 0, 1 / np.maximum(inverse, 1e-6), 2.5)


@pytest.fixture(scope="module")
def depths() -> list[np.ndarray]:
    sensor = DepthSensor()
    return [sensor.unit * measure_depth(exact(q), CAMERA.focal, sensor, 0, t) for t, q in enumerate(TRUE)]


@pytest.fixture(scope="module")
def masks() -> list[dict[str, np.ndarray]]:
    seen = [see(MODEL, q, CAMERA.T_cam_base, CAMERA.K, HEIGHT, WIDTH, 1)[0] >= 0 for q in TRUE]
    return [{"robot": np.where(mask, 255, 0).astype(np.uint8)} for mask in seen]


def start(camera_known: bool = False, joints_known: bool = False) -> Trajectory:
    """A fit as masks give it: two centimetres and a degree off, where it is not given."""
    rng, n = np.random.default_rng(3), len(ROBOT.joint_names)
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(np.deg2rad([0.3, -0.3, 0.5])).as_matrix()
    T[:3, 3] = 0.006, -0.004, 0.02
    camera = CAMERA if camera_known else replace(CAMERA, T_cam_base=T @ CAMERA.T_cam_base)
    q = TRUE if joints_known else TRUE + np.deg2rad(rng.choice([-1.0, 1.0], n)) * ([1.0] * 7 + [0.1])
    solved = ("camera",) * (not camera_known) + ("joints", "gripper") * (not joints_known)
    return Trajectory(
        ROBOT.joint_names, q, np.full(TRUE.shape, 0.0 if joints_known else 0.01), np.ones(TRUE.shape, bool),
        np.full(FRAMES, 0.95), np.ones(FRAMES, bool), camera, np.full(6, 0.0 if camera_known else 0.01), 0.0, 0.0,
        solved, warnings=("said before",),
    )  # fmt: skip


def place_error(fit: Trajectory) -> float:
    a, b = np.linalg.inv(fit.camera.T_cam_base), np.linalg.inv(CAMERA.T_cam_base)
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3]))


def joint_error(fit: Trajectory) -> float:
    return float(np.rad2deg(np.median(np.abs(fit.q - TRUE)[:, :6])))


def test_derivatives_are_those_of_the_residual():
    """Central differences of what one and the same pixel measures, within what triangles' borders leave."""
    view, q, pivot = view_of(CAMERA), TRUE[0], np.array([0.0, 0.0, 1.2])
    depth = np.full((HEIGHT, WIDTH), 1.3)
    at = sample(FINE, q, view, depth, pivot, log_scale=0.02)
    places = {tuple(p): i for i, p in enumerate(at.pixels)}
    step = 2e-4
    for k in [*range(CAMERA_PARAMETERS), SHARED, *range(DEPTH_SHARED, DEPTH_SHARED + 7)]:
        ends = []
        for sign in (1, -1):
            d = np.zeros(DEPTH_SHARED + len(q))
            d[k] = sign * step
            moved = sample(
                FINE, q + d[DEPTH_SHARED:], move(view, d[:SHARED], pivot), depth, pivot, log_scale=0.02 + d[SHARED]
            )
            ends.append({tuple(p): r for p, r in zip(moved.pixels, moved.residual)})
        common = [p for p in places if p in ends[0] and p in ends[1]]
        rows = [places[p] for p in common]
        numeric = np.array([(ends[0][p] - ends[1][p]) / (2 * step) for p in common])
        off = np.abs(numeric - at.J[rows, k])
        assert len(common) > 0.9 * len(places)
        assert np.quantile(off, 0.8) < 0.05 * np.abs(at.J[:, k]).max() + 1e-6, k


def test_camera_and_joints_come_nearer(depths, masks):
    before = start()
    found = align_depth(ROBOT, before, masks, lambda: iter(depths), TIMES)
    assert place_error(before) > 0.02 and place_error(found) < 0.006
    assert joint_error(found) < 0.4 * joint_error(before)
    assert found.depth_gap is not None and found.depth_gap[1] < 0.5 * found.depth_gap[0]
    assert found.iou.min() > 0.95 and "said before" in found.warnings
    assert (found.sigma > 0).all() and found.camera_sigma.all()


@pytest.mark.slow
def test_what_was_given_stays(depths, masks):
    known = start(camera_known=True)
    found = align_depth(ROBOT, known, masks, lambda: iter(depths), TIMES)
    np.testing.assert_array_equal(found.camera.T_cam_base, CAMERA.T_cam_base)
    assert joint_error(found) < 0.4 * joint_error(known) and not found.camera_sigma.any()
    logged = start(joints_known=True)
    found = align_depth(ROBOT, logged, masks, lambda: iter(depths), TIMES)
    np.testing.assert_array_equal(found.q, TRUE)
    assert place_error(found) < 0.006 and not found.sigma.any()


@pytest.mark.slow
def test_a_thing_in_front_has_no_pull(depths, masks):
    """A board before a sixth of the robot, which the masks do not know of."""
    covered = [np.where((np.arange(WIDTH) % 60 < 10)[None, :], 0.6, d) for d in depths]
    found = align_depth(ROBOT, start(), masks, lambda: iter(covered), TIMES)
    assert place_error(found) < 0.008 and joint_error(found) < 0.5


def test_units_are_told_by_the_robots_size(depths, masks):
    tenths = align_depth(ROBOT, start(joints_known=True), masks, lambda: (10 * d for d in depths), TIMES)
    assert place_error(tenths) < 0.006
    assert any("times what the robot's size says: taken as 0.1 times" in w for w in tenths.warnings)
    before = start()
    odd = align_depth(ROBOT, before, masks, lambda: (1.7 * d for d in depths), TIMES)
    np.testing.assert_array_equal(odd.q, before.q)
    assert odd.depth_gap is None and any("depth was not used" in w and "no unit known" in w for w in odd.warnings)
    assert unit_of(1.05) == 1.0 and unit_of(1.1) is None and unit_of(0.0011) == 1e-3 and unit_of(2.0) is None


def test_pictures_that_cannot_be_used(depths, masks):
    with pytest.raises(FitError, match="align depth with the colour camera"):
        align_depth(ROBOT, start(), masks, lambda: (d[::2, ::2] for d in depths), TIMES)
    before = start()
    empty = align_depth(ROBOT, before, masks, lambda: (np.zeros_like(d) for d in depths), TIMES)
    np.testing.assert_array_equal(empty.q, before.q)
    assert any("sees too little of the robot" in w for w in empty.warnings)


@pytest.mark.slow
def test_frames_without_depth_stay_as_they_are(depths, masks):
    before = start()
    found = align_depth(ROBOT, before, masks, lambda: iter(depths[:2]), TIMES)
    np.testing.assert_array_equal(found.q[2], before.q[2])
    assert joint_error(replace(found, q=np.r_[found.q[:2], TRUE[2:]])) < joint_error(before)
