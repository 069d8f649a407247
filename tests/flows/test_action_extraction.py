"""Actions from recordings with irregular clocks, gaps and noise, against a motion that is known at every moment."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.actions import delta_actions, integrate_actions, pose_vectors
from flows.episode import Episode
from flows.errors import FlowError, UsageError
from flows.exporting.action_extraction import ExtractionSettings, end_effector_sigma, extract
from flows.exporting.action_quality import judge
from flows.job import robot_of
from pose.camera import Camera
from urdf.reference import end_effector_poses

ROBOT = robot_of("panda")


def motion(times: np.ndarray, seed: int = 0) -> np.ndarray:
    """(T,n) joints at any moments: slow sines inside the limits, the gripper opening and closing."""
    rng = np.random.default_rng(seed)
    n = len(ROBOT.joint_names)
    reach = 0.15 * np.minimum(ROBOT.upper - ROBOT.lower, np.pi)
    q = ROBOT.rest + reach * np.sin(np.outer(times, rng.uniform(0.5, 2.0, n)) + rng.uniform(0, 6, n))
    q[:, ROBOT.gripper.joint] = ROBOT.upper[ROBOT.gripper.joint] * (0.5 + 0.5 * np.sin(1.3 * times))
    return np.clip(q, ROBOT.lower, ROBOT.upper)


def episode(times: np.ndarray, seed: int = 0, noise: float = 0.0, lost: np.ndarray | None = None) -> Episode:
    rng = np.random.default_rng(seed + 1)
    q = motion(times, seed)
    measured = q + noise * rng.normal(size=q.shape) * (1 - np.eye(q.shape[1])[ROBOT.gripper.joint])
    valid = np.ones(len(times), bool) if lost is None else ~lost
    measured[~valid] = np.nan
    poses = end_effector_poses(ROBOT, measured)
    fraction = ROBOT.gripper.fraction(np.nan_to_num(measured))
    return Episode(
        robot="panda",
        joint_names=ROBOT.joint_names,
        time_s=times,
        q=measured,
        sigma=np.where(valid[:, None], np.full_like(q, 0.01), np.nan),
        observable=np.ones(q.shape, bool),
        valid=valid,
        iou=np.where(valid, 0.93, np.nan),
        gripper_opening=np.where(valid, ROBOT.gripper.opening(q), np.nan),
        gripper_open=np.where(valid, fraction, np.nan),
        gripper_sigma=np.full(len(times), 0.001),
        ee=pose_vectors(poses),
        actions=delta_actions(poses, fraction),
        camera=Camera.from_focal(160, 120, 150.0, np.eye(4)),
    )


def irregular(seed: int, seconds: float = 4.0) -> np.ndarray:
    """Frame times as phones and webcams give them: 15 to 45 frames a second, from one frame to the next."""
    gaps = np.random.default_rng(seed).uniform(1 / 45, 1 / 15, 400)
    times = np.cumsum(gaps) - gaps[0]
    return times[times <= seconds]


def angle(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    cosine = (np.einsum("tij,tij->t", A[:, :3, :3], B[:, :3, :3]) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([5, 10, 15, 30, 50]), st.sampled_from([0.0, 0.1, 0.25]))
def test_integrated_single_precision_actions_give_the_trajectory_back(seed, fps, half_window):
    lost = np.random.default_rng(seed).random(len(irregular(seed))) < 0.1
    lost[[0, -1]] = False
    clips = extract(
        episode(irregular(seed), seed, 0.01, lost), ROBOT, ExtractionSettings(fps=fps, half_window=half_window)
    )
    assert clips
    for clip in clips:
        again = integrate_actions(clip.poses[0], clip.actions.astype(np.float32).astype(float))
        assert np.linalg.norm(again[:, :3, 3] - clip.poses[:, :3, 3], axis=1).max() < 1e-3
        assert angle(again, clip.poses).max() < 0.1
        np.testing.assert_allclose(end_effector_poses(ROBOT, clip.q), clip.poses, atol=1e-12)
        np.testing.assert_array_equal(clip.joint_actions[:-1], clip.q[1:])


def test_a_varying_frame_rate_does_not_change_the_motion():
    """Resampled from an irregular clock the joints are those of the moment, not those of the frame number."""
    times = irregular(3)
    clip = extract(episode(times), ROBOT, ExtractionSettings(fps=20, half_window=0.1))[0]
    np.testing.assert_allclose(np.diff(clip.time_s), 1 / 20, atol=1e-9)
    error = np.abs(clip.q - motion(clip.time_s))
    assert np.degrees(error[:, ROBOT.arm_joints].max()) < 0.5
    by_number = motion(np.arange(len(clip)) * times[-1] / (len(times) - 1))
    assert np.degrees(np.abs(clip.q - by_number)[:, ROBOT.arm_joints].max()) > 3
    assert np.abs(times[clip.frame] - clip.time_s).max() <= 0.5 * np.diff(times).max() + 1e-9


def test_the_recordings_own_rate_is_the_default():
    assert extract(episode(np.arange(40) / 24.0), ROBOT)[0].fps == 24


def test_smoothing_brings_noisy_actions_nearer_to_the_truth():
    times = np.arange(90) / 30
    noisy = episode(times, noise=0.01)

    def error(half_window):
        clip = extract(noisy, ROBOT, ExtractionSettings(fps=30, half_window=half_window))[0]
        truth = end_effector_poses(ROBOT, motion(clip.time_s))
        return np.sqrt(np.mean((clip.actions[:-1, :3] - np.diff(truth[:, :3, 3], axis=0)) ** 2))

    assert error(0.2) < 0.25 * error(0.0)


def test_long_losses_cut_and_short_ones_are_bridged_and_marked():
    times = np.arange(120) / 30
    lost = np.zeros(120, bool)
    lost[20:26] = True  # 0.2 s
    lost[60:85] = True  # 0.8 s
    clips = extract(episode(times, lost=lost), ROBOT, ExtractionSettings(half_window=0.1))
    assert [round(c.time_s[0] * 30) for c in clips] == [0, 85] and [len(c) for c in clips] == [60, 35]
    assert not clips[0].valid[21:25].any() and clips[0].valid[:20].all() and clips[1].valid.all()
    assert np.degrees(np.abs(clips[0].q - motion(clips[0].time_s))[:, ROBOT.arm_joints].max()) < 1.0
    assert all(np.isfinite(getattr(c, name)).all() for c in clips for name in ("q", "sigma", "actions", "gripper"))


def test_uncertain_frames_are_not_trusted():
    times = np.arange(90) / 30
    clean = episode(times)
    sigma = clean.sigma.copy()
    sigma[40:48, 0] = 0.5
    worse = replace(clean, sigma=sigma)
    clip = extract(worse, ROBOT)[0]
    assert not clip.valid[42:46].any() and clip.valid[:39].all()
    assert extract(replace(clean, sigma=np.full_like(sigma, 0.5)), ROBOT) == []


def test_the_sigma_of_the_end_effector_is_that_of_sampling():
    q, sigma = motion(np.array([1.0])), np.full((1, 8), 0.01)
    drawn = q + sigma * np.random.default_rng(0).normal(size=(4000, 8))
    poses = end_effector_poses(ROBOT, drawn)
    position = np.sqrt(poses[:, :3, 3].var(0).sum())
    turned = np.radians(angle(poses, np.broadcast_to(end_effector_poses(ROBOT, q), poses.shape)))
    predicted = end_effector_sigma(ROBOT, q, sigma)[0]
    np.testing.assert_allclose(predicted, [position, np.sqrt(np.mean(turned**2))], rtol=0.05)


def test_bad_settings_and_clocks():
    with pytest.raises(UsageError, match="fps"):
        ExtractionSettings(fps=0)
    with pytest.raises(UsageError, match="max_gap"):
        ExtractionSettings(max_gap=-1.0)
    with pytest.raises(FlowError, match="timestamps"):
        extract(episode(np.array([0.0, 0.1, 0.1, 0.2])), ROBOT)
    with pytest.raises(FlowError, match="joints"):
        extract(replace(episode(np.arange(9.0)), joint_names=tuple("abcdefgh")), ROBOT)
    assert extract(episode(np.array([0.0])), ROBOT) == []


def verdict(**changes):
    made = replace(episode(np.arange(90) / 30), **changes)
    return judge(made, extract(made, ROBOT))


def test_a_good_episode_is_kept_with_a_high_score():
    good = verdict()
    assert good.keep and good.score > 0.7 and good.reasons == () and good.notes == ()
    assert good.score == pytest.approx(np.prod(list(good.factors.values())))


def test_bad_ones_are_dropped_with_their_reason():
    base = episode(np.arange(90) / 30)
    few = np.arange(90) < 20
    jump = base.q.copy()
    jump[45:, 0] += 1.5
    still = np.tile(base.q[:1], (90, 1))
    cases = {
        "valid pose": {"valid": np.zeros(90, bool)},
        "trusted": {"valid": few},
        "overlaps": {"iou": np.full(90, 0.4)},
        "jump": {"q": jump},
        "nothing moves": {"q": still},
        "1 other solution": {"alternatives": ({"iou": 0.925}, {"iou": 0.90})},
        "panda_joint7 is determined in only 0%": {
            "sigma": np.full_like(base.q, 0.5), "observable": np.arange(8) != 6 * np.ones((90, 1)),
        },
    }  # fmt: skip
    for words, change in cases.items():
        bad = verdict(**change)
        assert not bad.keep and any(words in reason for reason in bad.reasons), (words, bad)
        assert bad.score < verdict().score or words == "nothing moves"


def test_what_to_know_of_a_kept_episode_is_noted():
    lost = np.zeros(90, bool)
    lost[40:44] = True
    made = replace(episode(np.arange(90) / 30, lost=lost), alternatives=({"iou": 0.90},))
    kept = judge(made, extract(made, ROBOT))
    assert kept.keep and kept.factors["unambiguous"] == 1 and any("bridged" in n for n in kept.notes)
