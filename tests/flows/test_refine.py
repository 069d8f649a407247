"""Self-training: which frames are believed, what becomes their label, and the rounds, with the fit given."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from flows import refine as refine_module
from flows.drawing import part_image
from flows.errors import FlowError, UsageError
from flows.files import write_json
from flows.fit_files import save_trajectory
from flows.refine import RefineJob, refine
from flows.refine_labels import agreement, part_label, picture_sigma, trusted
from flows.store import Product
from pose import Camera, Trajectory
from segmentation import write_mask
from segmentation.training.shards import ShardSet, decode, encode, write_shard
from urdf import load_robot

FRAMES = 6
T_CAM_BASE = np.array([[0.0, 1, 0, 0], [0, 0, -1, 0.5], [-1, 0, 0, 2.2], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def robot():
    return load_robot("panda")


@pytest.fixture(scope="module")
def trajectory(robot):
    """Six frames of a turning arm, perfectly fitted."""
    q = np.tile(robot.rest, (FRAMES, 1))
    q[:, 0] = np.linspace(-0.5, 0.5, FRAMES)
    ones = np.ones(q.shape)
    return Trajectory(
        robot.joint_names, q, 1e-3 * ones, ones > 0, np.full(FRAMES, 0.9), np.ones(FRAMES, bool),
        Camera.from_focal(160, 120, 140.0, T_CAM_BASE), np.zeros(6), 0.0, 0.0, ("joints",),
    )  # fmt: skip


def changed(trajectory, **values):
    """The trajectory with some frames' values replaced: name={frame: value}."""
    out = {}
    for name, frames in values.items():
        out[name] = np.array(getattr(trajectory, name))
        for t, value in frames.items():
            out[name][t] = value
    return replace(trajectory, **out)


def test_uncertainty_in_the_picture_is_what_turning_by_it_does(robot, trajectory):
    q, sigma = trajectory.q[0], np.zeros(len(robot.joint_names))
    assert picture_sigma(robot, q, sigma, trajectory.camera) == 0
    sigma[0] = 0.01  # about the base's axis: r sin(angle) sigma f / z pixels, at most 0.9 * 0.01 * 140 / 1.4
    one = picture_sigma(robot, q, sigma, trajectory.camera)
    assert 0.1 < one < 0.9
    assert picture_sigma(robot, q, 2 * sigma, trajectory.camera) == pytest.approx(2 * one, rel=0.05)
    sigma[3] = 0.01
    assert picture_sigma(robot, q, sigma, trajectory.camera) > one
    assert np.isnan(picture_sigma(robot, q * np.nan, sigma, trajectory.camera))


def test_frames_are_left_out_for_one_reason_each(robot, trajectory):
    assert trusted(robot, trajectory).keep.all()
    doubtful = changed(trajectory, valid={0: False}, iou={0: 0.1, 1: 0.5}, sigma={2: 0.5}, q={3: np.nan})  # NaN: no fit
    trust = trusted(robot, doubtful)
    assert trust.keep.tolist() == [False, False, False, False, True, True]
    assert trust.left_out == {
        "no robot, or not explained by the fit": 1, "explained worse than the others": 1, "joints too uncertain": 2
    }  # fmt: skip
    poor = replace(trajectory, iou=np.full(FRAMES, 0.5))
    assert trusted(robot, poor).left_out == {"the whole video explained poorly": FRAMES}


def test_what_the_segmenter_found_far_outside_is_unknown():
    parts = np.full((100, 100), -1, np.int8)
    parts[40:60, 10:40], parts[40:60, 40:50] = 0, 1
    found = np.zeros((100, 100), np.uint8)
    found[38:62, 8:52] = 255  # two pixels too large: the outline's own error
    found[10:20, 80:90] = 255  # another robot
    label = part_label(parts, found)
    assert (label[10:20, 80:90] == 255).all() and label[50, 70] == 0
    assert (label[40:60, 10:40] == 1).all() and (label[40:60, 40:50] == 2).all()
    assert label[39, 20] == 0  # the fit is believed there


def test_agreement_leaves_out_what_is_unknown():
    label = np.array([[1, 2, 0, 255]], np.uint8)
    assert agreement(label, np.array([[1, 0, 1, 1]])) == pytest.approx(1 / 3)
    assert agreement(np.zeros((1, 4), np.uint8), np.zeros((1, 4))) == 1


@pytest.fixture
def fitted(tmp_path, robot, trajectory, monkeypatch):
    """A video, and stages that answer with eroded masks and the true fit; returns the job and the stages asked for."""
    video, masks, fit, rendered = (tmp_path / name for name in ("video", "masks", "fit", "rendered"))
    video.mkdir()
    rng = np.random.default_rng(0)
    samples = []
    for t, q in enumerate(trajectory.q):
        parts = part_image(robot, q, trajectory.camera)
        picture = rng.integers(0, 90, (120, 160, 3)).astype(np.uint8)
        picture[parts >= 0] += 120
        cv2.imwrite(str(video / f"{t:03d}.png"), picture)
        write_mask(masks / "masks", "robot", t, cv2.erode((parts >= 0).astype(np.uint8), np.ones((3, 3))))
        samples.append(encode(picture, (parts + 1).astype(np.uint8), clip="rendered", frame=t))
    write_json(masks / "frames.json", {"time_s": [0.1 * t for t in range(FRAMES)]})
    fit.mkdir()
    save_trajectory(changed(trajectory, valid={2: False}), fit)
    write_shard(rendered / "a.tar", samples)
    asked = []

    def stage(name, key, job, folders, seconds):
        asked.append(name)
        return Product({"segment": masks, "fit": fit}[name], "digest", 0.0)

    monkeypatch.setattr(refine_module, "run_stage", stage)
    return RefineJob((video,), "panda", rounds=1, steps=1, batch=1, data=(rendered,)), asked


def test_a_round_labels_trains_and_reports(fitted, tmp_path, robot, trajectory):
    job, asked = fitted
    out = tmp_path / "run"
    lines = []
    report = refine(job, out, lines.append)
    (shard,) = (out / "round_1" / "labels").glob("*.tar")
    labels = ShardSet(shard.parent)
    assert [labels[i].frame for i in range(len(labels))] == [0, 1, 3, 4, 5]
    rgb, part = decode(labels[0])
    known = part != 255
    assert np.array_equal(part[known], (part_image(robot, trajectory.q[0], trajectory.camera) + 1)[known])
    assert known.mean() > 0.9 and rgb[part > 0].mean() > 130
    assert labels[0].meta["q"] == pytest.approx(trajectory.q[0])
    (video,) = report["rounds"][0]["videos"]
    assert (video["frames"], video["kept"]) == (FRAMES, FRAMES - 1)
    assert 0.5 < report["rounds"][0]["mask_iou"] < 0.95  # eroded by a pixel
    assert "round 1: 5 of 6 frames can be trusted" in lines
    weights = (out / "weights.pt").read_bytes()

    asked.clear()
    (out / "weights.pt").unlink()
    assert refine(job, out, lines.append) == report  # goes on: nothing is labelled or trained again
    assert asked == ["segment"] and (out / "weights.pt").read_bytes() == weights
    with pytest.raises(FlowError, match="begun with other steps"):
        refine(replace(job, steps=2), out, lines.append)


def test_too_few_trusted_frames_are_told(fitted, tmp_path, trajectory):
    job, _ = fitted
    save_trajectory(replace(trajectory, iou=np.full(FRAMES, 0.3)), tmp_path / "fit")
    with pytest.raises(FlowError, match=r"only 0 frames .* the whole video explained poorly 6"):
        refine(job, tmp_path / "run", lambda line: None)


def test_wrong_settings_are_told_before_any_work(fitted, tmp_path):
    job, asked = fitted
    with pytest.raises(UsageError, match="--robot auto"):
        refine(replace(job, robot="auto"), tmp_path / "run", print)
    with pytest.raises(UsageError, match="2 cameras for 1 videos"):
        refine(replace(job, cameras=(tmp_path, tmp_path)), tmp_path / "run", print)
    assert not asked and not (tmp_path / "run").exists()
