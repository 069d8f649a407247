import numpy as np
import pytest
from flow_cases import FRAMES, read_json
from scipy.spatial.transform import Rotation

from flows.errors import FlowError
from flows.evaluation import camera_errors, evaluate_masks, evaluate_pose, load_truth, sliding_joints
from flows.job import robot_of


def test_known_offsets_are_found(clip, make_episode):
    episode = make_episode()
    truth, camera = load_truth(clip.folder / "truth.json")
    shifted = make_episode(
        q=episode.q + np.array([0.1, 0, 0, 0, 0, 0, -0.3, 0.002]),
        gripper_opening=episode.gripper_opening + 0.004,
    )
    errors = evaluate_pose(shifted, truth, camera)
    assert errors.joints["panda_joint1"] == pytest.approx((0.1, 0.1)) and errors.joints[
        "panda_joint2"
    ] == pytest.approx((0, 0))
    assert errors.joints["panda_finger_joint1"] == pytest.approx((0.002, 0.002))
    assert errors.sliding == ("panda_finger_joint1",)
    assert errors.median_joint == pytest.approx(0) and errors.gripper_m == pytest.approx(0.004)
    assert (errors.camera_m, errors.camera_rad) == pytest.approx((0, 0), abs=1e-9)
    assert errors.ee_m == pytest.approx(0, abs=1e-9) and errors.valid_fraction == 0.75


def test_camera_errors(clip):
    T = np.array(clip.camera.T_cam_base)
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec([0, np.deg2rad(2), 0]).as_matrix()
    from dataclasses import replace

    turned = replace(clip.camera, T_cam_base=turn @ T)  # about the camera's own centre
    assert camera_errors(turned, clip.camera) == pytest.approx((0, np.deg2rad(2)), abs=1e-9)
    moved = np.eye(4)
    moved[:3, 3] = [0.01, 0.02, -0.02]
    assert camera_errors(replace(clip.camera, T_cam_base=moved @ T), clip.camera) == pytest.approx((0.03, 0), abs=1e-9)
    assert np.isnan(camera_errors(clip.camera, None)).all()


def test_other_truths_are_refused(clip, make_episode, tmp_path):
    truth = read_json(clip.folder / "truth.json")
    with pytest.raises(FlowError, match="5 frames, the episode 8"):
        evaluate_pose(make_episode(), truth | {"q": truth["q"][:5]})
    with pytest.raises(FlowError, match="none in common"):
        evaluate_pose(make_episode(), truth | {"joint_names": [f"k{i}" for i in range(8)]})
    (tmp_path / "t.json").write_text("[]")
    with pytest.raises(FlowError, match="expected joint_names"):
        load_truth(tmp_path / "t.json")


def test_masks(clip, tmp_path):
    from segmentation import MaskFolder, write_mask

    masks = MaskFolder(clip.masks)
    for t in range(FRAMES):
        write_mask(tmp_path / "m", "robot", t, masks[t]["robot"])
    scores = evaluate_masks(tmp_path / "m", clip.masks)
    assert scores == {"robot": {"J": 1.0, "F": 1.0, "J&F": 1.0}}
    for t in range(FRAMES):
        write_mask(tmp_path / "shifted", "robot", t, np.roll(masks[t]["robot"], 6, axis=1))
    worse = evaluate_masks(tmp_path / "shifted", clip.masks)["robot"]
    assert 0.3 < worse["J"] < 0.95 and worse["F"] < worse["J"] + 0.2


def test_sliding_joints():
    assert sliding_joints(robot_of("panda")).tolist() == [False] * 7 + [True]
