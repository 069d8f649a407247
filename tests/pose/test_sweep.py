"""What is done with a clip's frames once they were followed, by what was given of the joints."""

import numpy as np
import pytest

from pose import sweep
from pose.problem import prepare
from pose.targets import shrink
from pose.tracking import MIDDLE, PYRAMID, Frame
from tests.pose.tracked import HOOK, arm, as_masks, clip, tracked


@pytest.fixture()
def followed(tmp_path, monkeypatch):
    """A clip of the small arm whose track has slipped in its last frames, and what sweeping it comes to."""
    robot = arm(tmp_path, HOOK)
    q, camera, silhouettes = clip(robot, frames=6)
    targets, tracker, _ = tracked(robot, camera, q, silhouettes)
    slipped = q.copy()
    slipped[4:, 2] -= 2.2

    def frame(t, row):
        target = shrink(targets.read(t, PYRAMID[-1].width), MIDDLE)
        return Frame(row, tracker.overlap(row, target), tracker.cost(row, target))

    track = [frame(t, row) for t, row in enumerate(slipped)]
    monkeypatch.setattr(sweep, "_track", lambda *a: list(track))

    def swept(**given):
        problem = prepare(
            robot,
            as_masks(silhouettes),
            camera,
            given.get("q"),
            given.get("q0"),
            given.get("solve"),
            None,
            10.0,
            None,
            None,
        )
        return sweep.sweep_clip(problem, tracker, {}, np.ones(6, bool), np.random.default_rng(0), lambda *a: None)

    return q, track, swept


@pytest.mark.parametrize("first", [True, False])
def test_a_slipped_track_is_mended_also_from_a_known_first_frame(followed, first):
    q, track, swept = followed
    out = swept(q0=q[0]) if first else swept()
    assert np.rad2deg(np.abs(np.stack([frame.q for frame in out]) - q).max()) < 4
    assert (out[0] is track[0]) or not first


def test_given_starts_are_not_left_for_other_branches(followed):
    q, track, swept = followed
    out = swept(q=q, solve=["joints"])
    assert all(a is b for a, b in zip(out, track))
