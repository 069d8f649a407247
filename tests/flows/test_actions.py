import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from flows.actions import delta_actions, integrate_actions, pose_vectors


def poses_of(seed: int, count: int = 12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.random(count, rng=rng).as_matrix()
    poses[:, :3, 3] = rng.normal(size=(count, 3))
    return poses


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_integrating_the_actions_gives_the_poses_back(seed):
    poses = poses_of(seed)
    actions = delta_actions(poses, np.linspace(0, 1, len(poses)))
    np.testing.assert_allclose(integrate_actions(poses[0], actions), poses, atol=1e-9)


def test_deltas_are_in_the_base_frame():
    poses = poses_of(3, 2)
    turn = Rotation.from_euler("z", 0.1).as_matrix()
    poses[1, :3, :3] = turn @ poses[0, :3, :3]
    poses[1, :3, 3] = poses[0, :3, 3] + [0.01, -0.02, 0.03]
    action = delta_actions(poses, np.array([0.2, 0.7]))[0]
    np.testing.assert_allclose(action, [0.01, -0.02, 0.03, 0, 0, 0.1, 0.7], atol=1e-12)


def test_rpy_is_extrinsic_xyz():
    roll, pitch, yaw = 0.1, -0.2, 0.3
    poses = np.tile(np.eye(4), (2, 1, 1))
    x, y, z = (Rotation.from_euler(a, v).as_matrix() for a, v in zip("xyz", (roll, pitch, yaw)))
    poses[1, :3, :3] = z @ y @ x
    np.testing.assert_allclose(delta_actions(poses, np.ones(2))[0, 3:6], [roll, pitch, yaw], atol=1e-12)


def test_the_last_frame_holds_still():
    actions = delta_actions(poses_of(1, 4), np.array([0.0, 0.3, 0.6, 0.9]))
    np.testing.assert_array_equal(actions[-1], [0, 0, 0, 0, 0, 0, 0.9])
    np.testing.assert_array_equal(actions[:, 6], [0.3, 0.6, 0.9, 0.9])


def test_what_needs_an_unknown_frame_is_nan():
    poses, gripper = poses_of(2, 6), np.linspace(0, 1, 6)
    poses[3], gripper[3] = np.nan, np.nan
    actions = delta_actions(poses, gripper)
    unknown = np.isnan(actions[:, :6]).all(1)
    assert unknown.tolist() == [False, False, True, True, False, False]
    assert np.isnan(actions[:, 6]).tolist() == [False, False, True, False, False, False]


def test_no_frames_and_one_frame():
    assert delta_actions(np.zeros((0, 4, 4)), np.zeros(0)).shape == (0, 7)
    np.testing.assert_array_equal(delta_actions(poses_of(0, 1), np.ones(1)), [[0, 0, 0, 0, 0, 0, 1]])


def test_quaternions_do_not_jump():
    turns = Rotation.from_rotvec(np.linspace(0, 4 * np.pi, 60)[:, None] * [0.6, 0, 0.8])
    poses = np.tile(np.eye(4), (60, 1, 1))
    poses[:, :3, :3] = turns.as_matrix()
    poses[20:23] = np.nan
    vectors = pose_vectors(poses)
    assert np.isnan(vectors[20:23]).all() and not np.isnan(vectors[23:]).any()
    quats = vectors[np.isfinite(vectors).all(1), 3:]
    assert (np.sum(quats[1:] * quats[:-1], 1) > 0).all() and quats[0, 3] >= 0
    np.testing.assert_allclose(Rotation.from_quat(quats).as_matrix()[5], turns[5].as_matrix(), atol=1e-12)
