"""Training data in other people's folders and our own episodes."""

import json

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from vrs_cases import NUMBERS, SIZE, picture, save, truths

from segmentation.errors import MaskError, TrainingError
from segmentation.training.converted import as_shards
from segmentation.training.readers import open_sources
from segmentation.training.shards import decode, encode, write_shard
from segmentation.training.text_files import read_names


def mask_image(mask):
    return mask.astype(np.uint8) * 255


def vrs(folder, videos=("a", "b"), frames=4, rough=True, parts=tuple(NUMBERS)):
    """train/ with a label on the first frame and guesses of the others."""
    for name in videos:
        for t in range(frames):
            save(folder / "train" / "image" / name / f"{t:05d}.png", picture(t))
            for part in parts:
                # the gripper shows from frame 1 on: its mask of frame 0 is empty
                file = f"{name}/{NUMBERS[part]}/{t:05d}.png"
                if t == 0:
                    save(folder / "train" / "mask_gt" / file, mask_image(truths(0)[part]))
                if rough:
                    save(folder / "train" / "mask_gt_dinov3" / file, mask_image(truths(t)[part]))
    return folder


def said_of(path, **named):
    said: list[str] = []
    return open_sources(path, log=said.append, **named), said


def test_vrs(tmp_path):
    (source,), said = said_of(vrs(tmp_path))
    assert not said and not source.pictures and len(source) == 6
    assert sorted({source[i].part for i in range(6)}) == ["arm", "gripper", "robot"]
    clip = next(source[i] for i in range(6) if source[i].part == "robot")
    assert len(clip) == 4 and list(clip.labelled) == [0]
    first, third = clip[0], clip[2]
    assert (first.mask == truths(0)["robot"]).all() and first.rough is None and (first.rgb == picture(0)).all()
    assert third.mask is None and (third.rough == truths(2)["robot"]).all() and (third.rgb == picture(2)).all()


def test_vrs_without_guesses(tmp_path):
    (source,), _ = said_of(vrs(tmp_path, rough=False))
    assert source[0][1].mask is None and source[0][1].rough is None


def test_a_missing_mask_is_not_a_mask_of_everything(tmp_path):
    vrs(tmp_path)
    for file in (tmp_path / "train" / "mask_gt" / "a").rglob("*.png"):
        file.unlink()
    (tmp_path / "train" / "mask_gt" / "b" / NUMBERS["arm"] / "00000.png").unlink()
    (source,), said = said_of(tmp_path)
    assert said == [f"{tmp_path}: 1 videos without any mask are left out (a, ...)"]
    assert sorted(source[i].part for i in range(len(source))) == ["gripper", "robot"]


def test_clips_start_at_the_first_label(tmp_path):
    vrs(tmp_path, videos=("a",))
    folder = tmp_path / "train" / "mask_gt" / "a"
    for part in NUMBERS.values():
        (folder / part / "00000.png").rename(folder / part / "00002.png")
    (source,), _ = said_of(tmp_path)
    assert len(source[0]) == 2 and list(source[0].labelled) == [0] and (source[0][0].rgb == picture(2)).all()


def test_masks_of_another_size_are_refused(tmp_path):
    vrs(tmp_path, videos=("a",))
    save(tmp_path / "train" / "mask_gt_dinov3" / "a" / "002" / "00001.png", np.zeros((8, 8), np.uint8))
    (source,), _ = said_of(tmp_path)
    clip = next(source[i] for i in range(3) if source[i].part == "robot")
    with pytest.raises(MaskError, match=r"00001.png.*another size"):
        clip[1]


def test_lists_choose_videos(tmp_path):
    names = tmp_path / "list.txt"
    names.write_text("# the first half\nb\n\ngone\nb\n")
    assert read_names(names) == ["b", "gone"]
    (source,), said = said_of(vrs(tmp_path / "vrs"), names=names)
    assert len(source) == 3 and said == [f"{tmp_path / 'vrs'}: 1 of 2 listed videos have no masks here (gone, ...)"]
    names.write_text("gone\n")
    with pytest.raises(TrainingError, match="no video with a mask in the list"):
        said_of(tmp_path / "vrs", names=names)
    names.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TrainingError, match="not readable as text"):
        read_names(names)


def test_roboengine(tmp_path):
    for name in ("train_0001", "train_0002"):
        save(tmp_path / "train" / "image" / name / "x.png", picture(1))
        save(tmp_path / "train" / "mask" / name / "002" / "x.png", mask_image(truths(1)["robot"]))
    (source,), _ = said_of(tmp_path)
    assert source.pictures and len(source) == 2 and source[1].part == "robot" and len(source[0]) == 1
    assert (source[0][0].mask == truths(1)["robot"]).all()


def episode(folder, valid=(False, True, True, False), masks=True):
    for t in range(len(valid)):
        save(folder / "video" / f"{t:03d}.png", picture(t))
        for part in NUMBERS if masks else ():
            save(folder / "run" / "masks" / part / f"{t:05d}.png", mask_image(truths(t)[part]))
    run = folder / "run"
    run.mkdir(exist_ok=True)
    table = pa.table({"frame_index": list(range(len(valid))), "valid": list(valid), "iou": [0.9] * len(valid)})
    pq.write_table(table, run / "trajectory.parquet")
    (run / "episode.json").write_text(json.dumps({"source": {"path": str(folder / "video")}}))
    return run


def test_episodes_label_their_own_video(tmp_path):
    (source,), said = said_of(episode(tmp_path))
    assert not said and not source.pictures and len(source) == 3
    clip = next(source[i] for i in range(3) if source[i].part == "gripper")
    assert len(clip) == 3 and list(clip.labelled) == [0, 1]  # from the first valid frame on
    assert (clip[0].rgb == picture(1)).all() and (clip[0].mask == truths(1)["gripper"]).all()
    assert clip[2].mask is None and (clip[2].rgb == picture(3)).all()


def test_episodes_that_cannot_be_used_are_left_out(tmp_path):
    good = episode(tmp_path / "all" / "x")
    runs = tmp_path / "runs"
    runs.mkdir()
    good.rename(runs / "good")
    for name, change in {
        "gone": lambda run: (run / "episode.json").write_text('{"source": {"path": "/no/such/video.mp4"}}'),
        "damaged": lambda run: (run / "trajectory.parquet").write_bytes(b"PAR1 no"),
        "nonsense": lambda run: (run / "episode.json").write_text('["source"]'),
    }.items():
        run = episode(tmp_path / "all" / name)
        change(run)
        run.rename(runs / name)
    episode(tmp_path / "all" / "lost", valid=(False, False)).rename(runs / "lost")
    episode(tmp_path / "all" / "bare", masks=False).rename(runs / "bare")
    (source,), said = said_of(runs)
    assert len(source) == 3
    for name, reason in {
        "gone": "is gone",
        "damaged": "not a readable episode",
        "nonsense": "not a readable episode",
        "lost": "no frame of it is valid",
        "bare": "no masks/ in it",
    }.items():
        assert any(f"/{name}:" in line and reason in line for line in said), (name, said)


def test_shards_give_clips_and_pictures(tmp_path):
    part = np.zeros(SIZE, np.uint8)
    part[5:20, 5:20], part[20:30, 5:20], part[:3] = 1, 2, 255
    clip = [encode(picture(t), part, clip="clip", frame=t) for t in range(3)]
    write_shard(tmp_path / "data" / "a.tar", [*clip, encode(picture(0), part, clip="alone")])
    pictures, clips = open_sources(tmp_path / "data")
    assert pictures.pictures and len(pictures) == 3 and not clips.pictures and len(clips) == 3
    arm, gripper, robot = (clips[i][1].mask for i in range(3))
    assert (arm[5:20, 5:20] == 1).all() and (gripper[20:30, 5:20] == 1).all() and (robot[5:30, 5:20] == 1).all()
    assert (robot[:3] == 255).all() and robot[39, 59] == 0 and len(clips[0]) == 3


def test_folders_of_nothing(tmp_path):
    with pytest.raises(TrainingError, match="no such folder"):
        open_sources(tmp_path / "x")
    cv2.imwrite(str(tmp_path / "cat.png"), np.zeros((4, 4), np.uint8))
    with pytest.raises(TrainingError, match=r"expected shards .*episodes .*VRS"):
        open_sources(tmp_path)


def test_labelled_videos_become_shards(tmp_path):
    (source,), _ = said_of(episode(tmp_path))
    said: list[str] = []
    shards = as_shards(source, tmp_path / "out" / "shards", said.append)
    assert len(shards) == 2 and shards.clips == [[0, 1]] and len(said) == 1
    rgb, part = decode(shards[1])
    assert shards[1].frame == 2 and np.abs(rgb.astype(int) - picture(2)).mean() < 5
    assert ((part == 1) == truths(2)["arm"] & ~truths(2)["gripper"]).all() and (
        (part == 2) == truths(2)["gripper"]
    ).all()
    again = as_shards(source, tmp_path / "out" / "shards", said.append)
    assert len(again) == 2 and len(said) == 1  # those that are there are used


def test_parts_may_follow_from_the_whole_robot(tmp_path):
    (source,), _ = said_of(vrs(tmp_path / "a", parts=("arm", "robot")))
    shards = as_shards(source, tmp_path / "a_shards")
    assert len(shards) == 2 and (decode(shards[0])[1] == truths(0)["arm"]).all()  # frame 0 has no gripper
    (whole,), _ = said_of(vrs(tmp_path / "b", parts=("robot",)))
    with pytest.raises(TrainingError, match="no frame with masks of arm and gripper apart"):
        as_shards(whole, tmp_path / "b_shards")
    assert not (tmp_path / "b_shards").exists()
