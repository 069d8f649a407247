import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from flows.episode import ACTION_COLUMNS, EE_COLUMNS, load_episode, write_episode
from flows.errors import FlowError


def test_round_trip(make_episode, tmp_path):
    episode = make_episode()
    again = load_episode(write_episode(episode, tmp_path / "episode"))
    for name in (
        "time_s",
        "q",
        "sigma",
        "observable",
        "valid",
        "iou",
        "ee",
        "actions",
        "gripper_opening",
        "gripper_open",
    ):
        np.testing.assert_array_equal(getattr(again, name), getattr(episode, name), err_msg=name)
    np.testing.assert_allclose(again.camera.T_cam_base, episode.camera.T_cam_base)
    np.testing.assert_allclose(again.camera_sigma, episode.camera_sigma)
    assert again.warnings == episode.warnings and again.solved == episode.solved
    assert again.alternatives == episode.alternatives
    assert again.quality == episode.quality


def test_columns_are_those_of_the_contract(make_episode, tmp_path):
    write_episode(make_episode(), tmp_path)
    names = pq.read_table(tmp_path / "trajectory.parquet").column_names
    joints = [f"panda_joint{i}" for i in range(1, 8)] + ["panda_finger_joint1"]
    expected = {"frame_index", "time_s", "valid", "gripper_opening_m", "gripper_open", "sigma_gripper", "iou"}
    expected |= {f"{kind}_{j}" for kind in ("q", "sigma", "observable") for j in joints}
    assert set(names) == expected | set(EE_COLUMNS) | set(ACTION_COLUMNS)


def test_frames_without_a_robot_are_nan_and_flagged(make_episode, tmp_path):
    table = pq.read_table(write_episode(make_episode(), tmp_path) / "trajectory.parquet").to_pydict()
    assert [t for t, ok in enumerate(table["valid"]) if not ok] == [3, 4]
    assert np.isnan(table["q_panda_joint1"][3]) and np.isnan(table["ee_x"][4]) and not np.isnan(table["ee_x"][5])
    assert np.isnan(table["action_dx"][2]) and not np.isnan(table["action_dx"][1])


def test_the_json_is_strict_and_complete(make_episode, tmp_path):
    write_episode(make_episode(focal_sigma=float("nan")), tmp_path)

    def refuse(text):
        raise AssertionError(f"{text} is no JSON")

    data = json.loads((tmp_path / "episode.json").read_text(), parse_constant=refuse)
    assert data["schema_version"] and data["camera_sigma"]["focal_px"] is None
    assert {"robot", "source", "camera", "focal", "versions", "settings", "quality", "warnings"} <= set(data)
    assert np.array(data["camera"]["T_cam_base"]).shape == (4, 4)
    assert data["quality"]["valid_fraction"] == 0.75
    assert np.isnan(load_episode(tmp_path).focal_sigma)


@pytest.mark.parametrize("harm", ["no json", "garbage", "newer", "no table", "other table", "missing entry"])
def test_a_damaged_episode_is_told_in_one_line(make_episode, tmp_path, harm):
    write_episode(make_episode(), tmp_path)
    path, table = tmp_path / "episode.json", tmp_path / "trajectory.parquet"
    data = json.loads(path.read_text())
    if harm == "no json":
        path.unlink()
    elif harm == "garbage":
        path.write_text("{")
    elif harm == "newer":
        path.write_text(json.dumps(data | {"schema_version": "9.0"}))
    elif harm == "no table":
        table.unlink()
    elif harm == "other table":
        table.write_bytes(b"PAR1 nothing")
    else:
        path.write_text(json.dumps({k: v for k, v in data.items() if k != "solved"}))
    with pytest.raises(FlowError) as error:
        load_episode(tmp_path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_an_episode_without_a_single_pose(make_episode, tmp_path):
    blank = make_episode()
    empty = np.full_like(blank.q, np.nan)
    blank = make_episode(q=empty, valid=np.zeros(len(empty), bool), iou=np.full(len(empty), np.nan))
    quality = load_episode(write_episode(blank, tmp_path)).quality
    assert quality["valid_fraction"] == 0 and np.isnan(quality["mean_iou"])
