"""`urdfit augment` as a whole: the episodes it writes, resuming, and what it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from flow_cases import EMPTY, FPS, FRAMES, Clip

from flows.augmentation.job import augment_episode, even, make_augmentation
from flows.cli import main
from flows.drawing import part_image
from flows.episode import Episode, load_episode, write_episode
from flows.errors import FlowError, UsageError
from flows.files import read_json, sha256_file, write_json
from flows.job import robot_of
from pose import Camera
from segmentation import MaskFolder, jaccard, open_video, write_mask
from urdf.reference import end_effector_poses

GREEN = (40, 160, 80)
SHOWN = [t for t in range(FRAMES) if t not in EMPTY]


@pytest.fixture
def episode_folder(clip: Clip, make_episode: Callable[..., Episode], tmp_path: Path) -> Path:
    """An episode folder of the clip, as `urdfit run` leaves it, without pictures."""
    folder = tmp_path / "episode"
    source = {"path": str(clip.video), "sha256": sha256_file(clip.video), "fps": FPS, "width": 160, "height": 120}
    write_episode(make_episode(source=source), folder)
    shutil.copytree(clip.masks, folder / "masks")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with one green picture."""
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "green.png"), np.full((90, 200, 3), GREEN[::-1], np.uint8))
    return folder


def test_another_backdrop(episode_folder: Path, photos: Path, tmp_path: Path, clip_images: list) -> None:
    """Everything but the picture stays; the picture is robot before green."""
    job = make_augmentation(episode_folder, backgrounds=photos)
    (made,) = augment_episode(job, tmp_path / "out")
    old, new = load_episode(episode_folder), load_episode(made.folder)
    for name in ("q", "sigma", "actions", "ee", "valid", "observable", "iou", "time_s", "gripper_open"):
        np.testing.assert_array_equal(getattr(new, name), getattr(old, name), name)
    assert Camera.load(made.folder / "cam.json").to_dict() == new.camera.to_dict() == old.camera.to_dict()
    assert new.settings["augmentation"]["backdrop"] == ["green.png"]
    video = open_video(new.source["path"])
    assert new.source["sha256"] == sha256_file(made.folder / "video.mp4")
    masks, before = MaskFolder(made.folder / "masks"), MaskFolder(episode_folder / "masks")
    for frame, mask, same in zip(video, masks, before, strict=True):
        for part in same:
            np.testing.assert_array_equal(mask[part], same[part])
        robot = mask["robot"] > 0
        away = cv2.dilate(robot.astype(np.uint8), np.ones((9, 9))) == 0
        wrong = np.abs(frame.image[away].astype(int) - GREEN)
        assert wrong.max() < 24 and wrong.mean() < 2  # the codec
        core = cv2.erode((mask["arm"] > 0).astype(np.uint8), np.ones((7, 7))) > 0
        if core.any():  # light grey in the clip; the gain is one factor a channel
            assert frame.image[core].std(0).max() < 12
            assert frame.image[core].mean() > 130


def test_another_robot(episode_folder: Path, tmp_path: Path) -> None:
    """The same robot a little beside: motion bit-equal, poses shifted, masks those of its own joints."""
    job = make_augmentation(episode_folder, robot="panda", base=(0.05, -0.03, 0.0))
    (made,) = augment_episode(job, tmp_path / "out")
    old, new = load_episode(episode_folder), load_episode(made.folder)
    assert new.valid.tolist() == old.valid.tolist()
    pairs = np.isfinite(old.actions[:, :6]).all(1)
    np.testing.assert_array_equal(new.actions[pairs, :6], old.actions[pairs, :6])
    np.testing.assert_allclose(new.actions[:, 6], old.actions[:, 6], atol=1e-6)
    assert np.isnan(new.actions[list(EMPTY), :6]).all()
    np.testing.assert_allclose(new.ee[SHOWN, :3] + (0.05, -0.03, 0), old.ee[SHOWN, :3], atol=2e-4)
    np.testing.assert_allclose(new.gripper_opening[SHOWN], old.gripper_opening[SHOWN], atol=1e-6)
    robot = robot_of("panda")
    world = np.linalg.inv(old.camera.T_cam_base) @ new.camera.T_cam_base @ end_effector_poses(robot, new.q)
    np.testing.assert_allclose(world[SHOWN], end_effector_poses(robot, old.q)[SHOWN], atol=1e-3)
    masks = MaskFolder(made.folder / "masks")
    for t in SHOWN:
        again = part_image(robot, new.q[t], new.camera)
        assert jaccard(masks[t]["robot"] > 0, again >= 0) > 0.93  # 160x120, and a finer mesh in the pictures
    assert not any(masks[t]["robot"].any() for t in EMPTY)
    assert "drawn in place of" in " ".join(new.warnings)


def test_frames_out_of_reach_are_invalid(episode_folder: Path, tmp_path: Path) -> None:
    """Half a metre back some frames are too far: no robot, no joints, and it is said."""
    job = make_augmentation(episode_folder, robot="panda", base=(-0.3, 0.0, 0.0))
    (made,) = augment_episode(job, tmp_path / "out")
    old, new = load_episode(episode_folder), load_episode(made.folder)
    lost = np.flatnonzero(old.valid & ~new.valid)
    assert 0 < len(lost) < len(SHOWN) and made.reached == pytest.approx(1 - len(lost) / len(SHOWN))
    assert np.isnan(new.q[lost]).all() and np.isnan(new.ee[lost]).all() and np.isnan(new.actions[lost, :6]).all()
    assert not new.observable[lost].any()
    masks = MaskFolder(made.folder / "masks")
    assert not any(masks[t]["robot"].any() for t in lost)
    assert any(f"in {len(lost)} of {len(SHOWN)} frames" in text for text in new.warnings)
    with pytest.raises(FlowError, match="in no frame"):
        augment_episode(make_augmentation(episode_folder, robot="panda", base=(3, 0, 0)), tmp_path / "far")
    assert not (tmp_path / "far" / "000").exists()


def test_seed_and_resume(episode_folder: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same seed gives the same files; a run that broke off goes on; other settings do not overwrite."""
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    cv2.imwrite(str(photos / "noise.png"), noise)

    def run(out: str, **settings: object) -> list:
        return augment_episode(make_augmentation(episode_folder, backgrounds=photos, **settings), tmp_path / out, 2)  # type: ignore[arg-type]

    def hashes(out: str) -> list[str]:
        return [sha256_file(tmp_path / out / name / "video.mp4") for name in ("000", "001")]

    run("a")
    import flows.augmentation.job as module

    calls = []

    def breaks(path: Path, episode: object) -> Path:
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(path, episode)  # type: ignore[arg-type]

    original = module.write_episode
    monkeypatch.setattr(module, "write_episode", lambda episode, folder: breaks(episode, folder))
    with pytest.raises(KeyboardInterrupt):
        run("b")
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["000"]
    monkeypatch.setattr(module, "write_episode", original)
    assert [v.seconds == 0 for v in run("b")] == [True, False]
    assert hashes("a") == hashes("b") and len(set(hashes("a"))) == 2
    with pytest.raises(FlowError, match="give another --out"):
        run("a", seed=1)
    assert hashes("a") == hashes("b")


def test_held_things_stay(episode_folder: Path, photos: Path, tmp_path: Path, clip_images: list) -> None:
    """What --keep marks is before the new robot and is none of it."""
    block = np.zeros((120, 160), np.uint8)
    block[60:100, 60:120] = 255  # over part of the arm
    for t in range(FRAMES):
        write_mask(tmp_path / "keep", "robot", t, block)
    job = make_augmentation(episode_folder, robot="panda", base=(0, 0, 0), keep=tmp_path / "keep")
    (made,) = augment_episode(job, tmp_path / "out")
    episode, masks = load_episode(made.folder), MaskFolder(made.folder / "masks")
    inner = cv2.erode(block, np.ones((11, 11))) > 0
    for t, frame in enumerate(open_video(made.folder / "video.mp4")):
        # the ground is strong noise, which the video's codec smooths: compare means
        assert abs(frame.image[inner].mean() - clip_images[t][inner].mean()) < 8
        assert not masks[t]["robot"][block > 0].any()
    assert (episode.iou[SHOWN] < 0.999).any() and np.nanmin(episode.iou) > 0


def test_odd_sizes() -> None:
    picture, masks = even(np.zeros((5, 7, 3), np.uint8), {"robot": np.ones((5, 7), bool)})
    assert picture.shape == (6, 8, 3) and masks["robot"].shape == (6, 8) and masks["robot"].all()


def test_wrong_inputs(episode_folder: Path, photos: Path, tmp_path: Path, clip: Clip) -> None:
    """Each is told in one line before any work."""
    with pytest.raises(UsageError, match="nothing to change"):
        make_augmentation(episode_folder)
    with pytest.raises(UsageError, match="--base needs --robot"):
        make_augmentation(episode_folder, backgrounds=photos, base=(0, 0, 0))
    with pytest.raises(UsageError, match="would be alike"):
        augment_episode(make_augmentation(episode_folder, robot="panda"), tmp_path / "out", 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FlowError, match="no pictures in it"):
        make_augmentation(episode_folder, textures=tmp_path / "empty")
    with pytest.raises(FlowError, match="no such folder"):
        make_augmentation(episode_folder, backgrounds=tmp_path / "nothing")
    other = tmp_path / "other.mp4"
    shutil.copy(clip.video, other)
    make_augmentation(episode_folder, backgrounds=photos, video=other)
    other.write_bytes(other.read_bytes() + b"\0")
    with pytest.raises(FlowError, match="not the video"):
        make_augmentation(episode_folder, backgrounds=photos, video=other)
    (photos / "broken.png").write_bytes(b"no picture")
    with pytest.raises(FlowError, match="take it out"):
        for seed in range(20):
            augment_episode(make_augmentation(episode_folder, backgrounds=photos, seed=seed), tmp_path / f"s{seed}")
    data = read_json(episode_folder / "episode.json")
    for settings in ([], {"fps": "fast"}, {"fps": -1}):
        write_json(episode_folder / "episode.json", {**data, "settings": settings})
        with pytest.raises(FlowError, match=r"episode\.json: settings"):
            make_augmentation(episode_folder, backgrounds=photos)
    write_json(episode_folder / "episode.json", data)
    (tmp_path / "taken" / "000").mkdir(parents=True)
    write_json(tmp_path / "taken" / "000" / "mine.json", {})
    with pytest.raises(FlowError, match="no episode folder"):
        augment_episode(make_augmentation(episode_folder, robot="panda"), tmp_path / "taken")


def test_command(episode_folder: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit codes and the lines on the terminal."""
    out = str(tmp_path / "out")
    assert main(["augment", str(episode_folder), "--backgrounds", str(photos), "--out", out]) == 0
    text = capsys.readouterr().out
    assert "000" in text and f"frames: {FRAMES}" in text
    assert main(["augment", str(episode_folder), "--backgrounds", str(photos), "--out", out]) == 0
    assert "was there" in capsys.readouterr().out
    assert main(["augment", str(episode_folder), "--out", out]) == 2
    assert main(["augment", str(episode_folder), "--robot", "panda", "--base", "1,2", "--out", out]) == 2
    assert main(["augment", str(tmp_path), "--backgrounds", str(photos), "--out", out]) == 1
    assert main(["augment", str(episode_folder), "--robot", "nobody", "--out", out]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 4 and "Traceback" not in error
