import math

import numpy as np
import pytest

from segmentation.scoring import ABSENT, FrameScores, Score, over_videos

NOTHING = np.zeros((20, 30), bool)
LEFT = NOTHING.copy()
LEFT[:, :10] = True
WIDE = NOTHING.copy()
WIDE[:, :20] = True


def test_a_frame_counts_once_the_part_has_appeared():
    frames = FrameScores()
    assert frames.add(NOTHING, NOTHING) is None
    assert frames.add(LEFT, NOTHING) == (0.0, 0.0)  # it has appeared in the prediction
    assert frames.add(NOTHING, NOTHING) == (1.0, 1.0)
    assert frames.add(WIDE, LEFT)[0] == 0.5
    assert frames.add(None, LEFT) == (0.0, 0.0)
    score = frames.score("arm", "v")
    assert (score.part, score.video, score.frames) == ("arm", "v", 4)
    assert score.jaccard == pytest.approx(1.5 / 4) and score.both == (score.jaccard + score.boundary) / 2


def test_a_part_the_truth_never_shows_has_no_figures():
    frames = FrameScores()
    frames.add(NOTHING, NOTHING)
    frames.add(LEFT, NOTHING)
    score = frames.score("arm")
    assert math.isnan(score.jaccard) and score.note == ABSENT and score.frames == 1


def test_every_video_counts_once():
    scores = [
        Score("arm", "long", 100, 0.2, 0.4),
        Score("arm", "short", 1, 0.8, 0.6),
        Score("arm", "absent", 5, note=ABSENT),
        Score("robot", "long", 100, 1.0, 0.5),
        Score("gripper", "long", note=ABSENT),
    ]
    arm, robot, gripper = over_videos(scores)
    assert (arm.jaccard, arm.boundary, arm.both, arm.videos, arm.frames) == (0.5, 0.5, 0.5, 2, 101)
    assert robot.both == 0.75 and math.isnan(gripper.both) and gripper.videos == 0
