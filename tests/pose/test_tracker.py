"""The live tracker on rendered masks of the Panda: following, losing, finding, and what it says of its errors."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose import Camera, FitError, Tracker
from pose.belief import Belief
from pose.kernel import make_model, see
from pose.solver import CHANNELS
from pose.start import look
from urdf import load_robot

WIDTH, HEIGHT, FPS = 320, 240, 30.0


@pytest.fixture(scope="module")
def robot():
    return load_robot("panda")


@pytest.fixture(scope="module")
def camera():
    R = look(np.array([0.9]), np.array([0.4]), np.array([0.03]))[0]
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, R @ -np.array([0.25, 0, 0.35]) + [0, 0, 1.6]
    return Camera.from_focal(WIDTH, HEIGHT, 300.0, T)


@pytest.fixture(scope="module")
def draw(robot, camera):
    model = make_model(robot, robot.display_mesh)

    def masks(q):
        face_id, _, _ = see(model, q, camera.T_cam_base, np.asarray(camera.K), HEIGHT, WIDTH, 1)
        part = np.where(face_id >= 0, model.face_part[face_id], -1)
        return {"robot": (part >= 0).astype(np.uint8) * 255, "gripper": (part == 1).astype(np.uint8) * 255}

    return masks


def swing(robot, t):
    q = robot.rest + 0.25 * np.sin(2 * np.pi * (0.4 * t + np.linspace(0, 1, 8)))
    q[7] = 0.02 + 0.015 * np.sin(3 * t)
    return robot.clip(q)


def test_follows_a_motion_and_states_its_errors(robot, camera, draw):
    with Tracker(robot, camera, q=swing(robot, 0.0), background=False) as tracker:
        states = [tracker.update(draw(swing(robot, t)), t) for t in np.arange(45) / FPS]
        ahead = tracker.predict(46 / FPS)
    truth = np.stack([swing(robot, s.time) for s in states])
    error = np.abs(np.stack([s.q for s in states]) - truth)[5:, :7]
    sigma, seen = (np.stack([getattr(s, name) for s in states])[5:, :7] for name in ("sigma", "observable"))
    assert all(s.valid and s.iou > 0.9 for s in states)
    assert np.rad2deg(np.median(error[seen])) < 0.5 and np.rad2deg(error[seen].max()) < 6
    assert seen.mean() > 0.9 and (error < 1.96 * sigma)[seen].mean() > 0.8
    assert np.median([abs(s.gripper_m - robot.gripper.opening(q)) for s, q in zip(states[5:], truth[5:])]) < 0.015
    speed = (swing(robot, 45 / FPS) - swing(robot, 43 / FPS)) * FPS / 2
    assert np.abs(states[-1].velocity - speed)[:6].max() < 0.35
    assert np.abs(ahead.q - swing(robot, 46 / FPS))[:6].max() < 0.06
    assert (ahead.sigma > states[-1].sigma)[:7].all()
    assert tracker.latency.count == 46 and 0 < tracker.latency.median <= tracker.latency.p95 <= tracker.latency.longest


def test_says_that_the_robot_is_gone_and_finds_it_elsewhere(robot, camera, draw):
    gone = {name: np.zeros((HEIGHT, WIDTH), np.uint8) for name in ("robot", "gripper")}
    before = swing(robot, 0.0)
    after = robot.clip(before + np.array([0.5, -0.3, 0.3, 0.4, 0.3, -0.3, 0.3, 0]))
    with Tracker(robot, camera, q=before, background=False) as tracker:
        for i in range(3):
            assert tracker.update(draw(before), i / FPS).valid
        for i in range(3, 8):
            state = tracker.update(gone, i / FPS)
            assert not state.valid and state.iou == 0 and np.abs(state.q - before)[:6].max() < 0.1
        states = [tracker.update(draw(after), i / FPS) for i in range(8, 14)]
    assert states[-1].valid
    assert np.abs(states[-1].q - after)[:6].max() < 0.05


def test_finds_the_joints_from_nothing_without_keeping_the_stream_waiting(robot, camera, draw):
    q = swing(robot, 0.3)
    masks = draw(q)
    end = time.monotonic() + 120
    with Tracker(robot, camera) as tracker:
        state, now = tracker.update(masks, 0.0), 0.0
        while not state.valid and time.monotonic() < end:
            time.sleep(0.05)
            now += 1 / FPS
            state = tracker.update(masks, now)
            if not state.valid:
                assert state.searching and np.isnan(state.q).all() and not state.observable.any()
    assert state.valid and state.iou > 0.95
    assert np.abs(state.q - q)[:6].max() < 0.05
    assert tracker.latency.median < 1.0  # the search itself takes seconds


def test_pictures_go_through_the_segmenter_that_was_given(robot, camera, draw):
    q = swing(robot, 0.0)
    with Tracker(robot, camera, q=q, segment=lambda picture: draw(q), background=False) as tracker:
        assert tracker.update(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 0.0).valid


@pytest.mark.parametrize("kind", [np.uint8, bool, np.float32])
def test_large_masks_of_any_kind_are_understood(robot, camera, draw, kind):
    q = swing(robot, 0.0)
    big = {name: np.kron(mask, np.ones((6, 6), np.uint8)) for name, mask in draw(q).items()}
    masks = {name: mask if kind is np.uint8 else (mask > 0).astype(kind) for name, mask in big.items()}
    with Tracker(robot, camera.scaled(6.0), q=q, background=False) as tracker:
        state = tracker.update(masks, 0.0)
    assert state.valid and state.iou > 0.95 and np.abs(state.q - q)[:6].max() < 0.03


def test_wrong_use_is_told(robot, camera, draw):
    masks = draw(robot.rest)
    with pytest.raises(FitError, match="T_cam_base"):
        Tracker(robot, Camera(WIDTH, HEIGHT, camera.K))
    with pytest.raises(FitError, match="8 finite values"):
        Tracker(robot, camera, q=np.zeros(3))
    with Tracker(robot, camera, q=robot.rest, background=False) as tracker:
        with pytest.raises(FitError, match="segment"):
            tracker.update(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 0.0)
        tracker.update(masks, 1.0)
        with pytest.raises(FitError, match="order of time"):
            tracker.update(masks, 1.0)
        with pytest.raises(FitError, match="before the last"):
            tracker.predict(0.5)
        with pytest.raises(FitError, match="pixels"):
            tracker.update({name: mask[:-1] for name, mask in masks.items()}, 2.0)
        with pytest.raises(FitError, match="gripper"):
            tracker.update({"robot": masks["robot"]}, 3.0)
        assert tracker.update(masks, 4.0).valid  # it goes on


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.001, 0.5))
def test_beliefs_grow_by_waiting_and_shrink_by_looking(seed, step):
    rng = np.random.default_rng(seed)
    n = 4
    limits = -np.ones(n), np.ones(n)
    q = rng.uniform(-0.5, 0.5, n)
    now = Belief.start(q, rng.uniform(0.01, 0.3, n), np.full(n, 0.3), 0.0)
    later = now.ahead(step, np.ones(n), limits)
    assert (later.sigma > now.sigma).all() and later.time == step
    A = rng.normal(size=(CHANNELS + n, CHANNELS + n)) * 30
    place = later.mean[later.placed] + rng.normal(0, 0.05, CHANNELS + n)
    seen = later.corrected(place, A @ A.T, np.full(n, 2.0))
    assert np.linalg.eigvalsh(later.covariance - seen.covariance).min() > -1e-7
    assert np.linalg.eigvalsh(seen.covariance).min() > -1e-9
    np.testing.assert_allclose(seen.mean[seen.placed], place)
    H = np.zeros_like(later.covariance)
    H[later.placed, later.placed] = A @ A.T
    np.testing.assert_allclose(seen.covariance, np.linalg.inv(np.linalg.inv(later.covariance) + H), atol=1e-7)
