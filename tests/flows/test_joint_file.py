"""Joint files: what is read, what is refused, and a log with a clock of its own on the command line."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from flow_cases import FRAMES, read_json
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.episode import load_episode, write_episode
from flows.errors import FlowError
from flows.job import robot_of
from flows.joint_file import load_joints


@pytest.fixture
def write(tmp_path):
    """Writes a q.json; returns its path."""

    def build(**entries):
        path = tmp_path / "q.json"
        path.write_text(json.dumps(entries))
        return path

    return build


@settings(deadline=None, max_examples=30)
@given(order=st.permutations(range(8)), named=st.integers(1, 8))
def test_joints_come_in_the_robots_order(order, named):
    from tempfile import NamedTemporaryFile

    robot = robot_of("panda")
    names = [robot.joint_names[i] for i in order[:named]]
    with NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"joint_names": names, "q": [[float(i) for i in order[:named]]] * 3}, file)
        file.flush()
        found = load_joints(file.name, robot).q
    expected = [float(i) if i in order[:named] else np.nan for i in range(8)]
    np.testing.assert_array_equal(found, np.tile(expected, (3, 1)))


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"q": [[0.0]]}, "joint_names"),
        ({"joint_names": ["elbow"], "q": [[0.0]]}, "'elbow' is none of panda's"),
        ({"joint_names": ["panda_joint1"], "q": [[0.0, 1.0]]}, "have 2 numbers"),
        ({"joint_names": ["panda_joint1"], "q": [[0.0]] * 3}, "3 rows, the video 8 frames"),
        ({"joint_names": ["panda_joint1"], "q": [[0.0]] * 3, "times": [0, 1]}, "times must be 3 increasing"),
        ({"joint_names": ["panda_joint1"], "q": [[0.0]] * 3, "times": [0, 1, 1]}, "times must be 3 increasing"),
        ({"joint_names": ["panda_joint1"], "q": [[0.0]] * 3, "times": ["a", 1, 2]}, "row of numbers"),
        ({"joint_names": ["panda_joint1"], "q": [[0.0]], "times": [0]}, "times must be 2 increasing"),
    ],
)
def test_what_cannot_be_used_is_said(write, entries, says):
    with pytest.raises(FlowError, match=says):
        load_joints(write(**entries), robot_of("panda"), FRAMES)


def test_a_log_with_times_reaches_the_fit_with_them(
    clip, fakes, quick_report, cache, tmp_path, urdfit, write, monkeypatch
):
    import pose

    given = {}
    fit = pose.fit_video

    def late(robot, masks, **options):
        given.update(options)
        found = fit(robot, masks, **{"seed": options["seed"]})
        return replace(found, solved=("camera", "time"), time_offset=0.125, time_sigma=0.004)

    monkeypatch.setattr(pose, "fit_video", late)
    rows = np.linspace(0, 1, 5)[:, None] * np.ones(7)
    joints = write(joint_names=robot_of("panda").joint_names[:7], q=rows.tolist(), times=[5.0, 5.5, 6.0, 6.5, 7.0])
    out = tmp_path / "e"
    code, _, errors = urdfit(
        "run",
        clip.video,
        "-r",
        "panda",
        "-o",
        out,
        "--joints",
        joints,
        "--solve",
        "camera,gripper,time",
        "--no-prefect",
    )
    assert code == 0, errors
    np.testing.assert_array_equal(given["q_times"], [5.0, 5.5, 6.0, 6.5, 7.0])
    np.testing.assert_array_equal(given["q"][:, :7], rows)
    assert np.isnan(given["q"][:, 7]).all() and given["solve"] == ("camera", "gripper", "time")
    assert read_json(out / "episode.json")["joint_clock"] == {"ahead_s": 0.125, "sigma_s": 0.004}
    assert load_episode(out).time_offset == 0.125


def test_a_clock_is_looked_for_only_with_joints(clip, fakes, tmp_path, urdfit):
    code, _, errors = urdfit("run", clip.video, "-r", "panda", "-o", tmp_path / "e", "--solve", "camera,time")
    assert code == 2 and "needs --joints" in errors


def test_an_unobservable_clock_is_written_as_unknown(make_episode, tmp_path):
    episode = make_episode(solved=("time",), time_offset=0.3, time_sigma=np.inf)
    write_episode(episode, tmp_path / "e")
    assert np.isnan(load_episode(tmp_path / "e").time_sigma)
