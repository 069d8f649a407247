"""Which hypotheses a search looks at, and when it has looked long enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pose import hypotheses
from pose.azimuth import base_axis
from pose.bundle import Solution
from pose.errors import FitError
from pose.hypotheses import Hypothesis, KeyFrames, camera_turn, find, settled
from pose.kernel import make_model
from pose.keyframes import pyramids
from pose.solver import View
from pose.targets import Targets
from pose.tracking import PYRAMID
from tests.pose.tracked import HOOK, arm, as_masks, clip


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Key frames of the small arm whose K is known, its joints (T,3), and its camera."""
    robot = arm(tmp_path_factory.mktemp("arm"), HOOK)
    q, camera, silhouettes = clip(robot)
    targets = Targets(as_masks(silhouettes), camera, robot)
    model = make_model(robot, labels=targets.labels)
    K = tuple(targets.view(camera, level.width).K for level in PYRAMID)
    key = KeyFrames(
        (model,) * 3, model, targets.channels, PYRAMID, pyramids(targets, list(range(len(q)))), K, True, None,
        True, None, np.ones(3, bool), (robot.lower, robot.upper), robot.rest,
    )  # fmt: skip
    return key, q, np.asarray(camera.T_cam_base)


def test_a_base_that_stands_turned_under_the_arm_is_turned_back(scene) -> None:
    """From 120 degrees off, where no descent comes back from."""
    key, q, T = scene
    axis = base_axis(key.models[0], key.free)
    assert axis is not None
    off, joints = axis.turn(T, q, np.deg2rad(120))
    level = len(PYRAMID) - 1
    h, w = key.targets[level][0].shape[1:]
    joints = np.clip(joints, *key.limits)
    wrong = Solution(joints, View(w, h, key.K[level], off), np.zeros(len(q)), np.ones(len(q)), np.zeros(3))
    found, others = settled(key, wrong, joints)
    assert np.rad2deg(camera_turn(found.view.T_cam_base, T)) < 1
    assert np.rad2deg(np.abs(found.q - q)).max() < 2
    assert all(other.score <= found.iou.mean() + 0.05 for other in others)


def solution(key: KeyFrames, cost: float) -> Solution:
    """Every key frame as dear as this."""
    count = len(key.targets[0])
    view = View(key.targets[-1][0].shape[2], key.targets[-1][0].shape[1], key.K[-1], np.eye(4))
    return Solution(np.zeros((count, 3)), view, np.full(count, cost), np.ones(count), np.zeros(3))


@pytest.mark.parametrize(
    ("scores", "costs", "searches", "taken"),
    [
        ([0.95] * 5, [1.0] * 5, 1, 0),  # explained to the masks' own errors: enough
        ([0.95] * 5, [1e6, 1.0, 1.0, 1.0, 1.0], 2, 1),  # well covered, yet not explained: once more
        ([0.95] * 5, [1e6, 2e6, 1.0, 1.0, 1.0], 2, 0),  # a second search that explains it no better ends it
        ([0.5, 0.5, 0.95, 0.5, 0.5], [1.0] * 5, 3, 0),  # hopeless ones are not looked at closely
    ],
)
def test_searches_end_when_the_masks_are_explained(scene, monkeypatch, scores, costs, searches, taken) -> None:
    key = scene[0]
    rows = [Hypothesis(key.K[0], np.eye(4), np.zeros((4, 3)), np.full(4, s)) for s in scores]
    asked: list[int] = []
    polished: list[Solution] = []

    def search(key, base, rng, report, guesses):
        asked.append(base)
        turn = np.eye(4)
        turn[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
        return [replace(rows[len(asked) - 1], T=turn if len(asked) % 2 else np.eye(4))]

    def polish(key, pool):
        polished.append(solution(key, costs[len(polished)]))
        return polished[-1], []

    monkeypatch.setattr(hypotheses, "_without_joints", search)
    monkeypatch.setattr(hypotheses, "polish", polish)
    found, _ = find(key, np.random.default_rng(0), lambda done, total: None)
    assert len(asked) == searches
    assert found is polished[taken]


def test_nothing_that_covers_the_masks_is_said(scene, monkeypatch) -> None:
    key = scene[0]
    nothing = Hypothesis(key.K[0], np.eye(4), np.zeros((4, 3)), np.full(4, 0.1))
    monkeypatch.setattr(hypotheses, "_without_joints", lambda *a: [nothing])
    with pytest.raises(FitError, match="no pose of this robot"):
        find(key, np.random.default_rng(0), lambda done, total: None)
