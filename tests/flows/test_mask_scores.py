"""`evaluate masks` over the layouts people have, and over folders that do not belong together."""

import csv
import math

import numpy as np
import pytest
from vrs_cases import SIZE, make_vrs, picture, save, truths

from flows.cli import main
from flows.errors import FlowError
from flows.mask_scores import FAILED, score_masks, write_scores
from segmentation import MaskError
from segmentation.scoring import ABSENT, GLOBAL


def masks(folder, part="", frames=range(4), name="{:05d}.png", of="robot", shift=0):
    """PNGs of a part of the toy video, `shift` columns to the right."""
    for t in frames:
        mask = np.roll(truths(t)[of], shift, 1).astype(np.uint8) * 255
        save(folder / part / name.format(t), mask)
    return folder


def by_part(scores, video=GLOBAL):
    return {s.part: s for s in scores if s.video == video}


@pytest.mark.parametrize("given", ["", "test", "test/mask_gt"])
def test_a_vrs_folder_against_folders_by_name(tmp_path, given):
    truth = make_vrs(tmp_path / "VRS") / given
    for video, shift in (("a", 0), ("b", 3)):
        for part in ("arm", "gripper", "robot"):
            masks(tmp_path / "pred" / video, part, of=part, shift=shift)
    scores = score_masks(tmp_path / "pred", truth)
    assert [(s.video, s.part) for s in scores[:3]] == [("a", "robot"), ("a", "arm"), ("a", "gripper")]
    first, second, mean = by_part(scores, "a"), by_part(scores, "b"), by_part(scores)
    assert first["arm"].jaccard == first["arm"].boundary == 1.0 and second["arm"].jaccard < 0.8
    assert mean["arm"].both == pytest.approx((1 + second["arm"].both) / 2) and mean["arm"].videos == 2
    assert first["gripper"].frames == 3  # it appears on frame 1
    assert [s.video for s in score_masks(tmp_path / "pred", truth, ["gripper"])] == ["a", "b", GLOBAL]


def test_one_folder_against_another_by_number(tmp_path):
    masks(tmp_path / "pred", name="{:05d}.png")
    masks(tmp_path / "gt", name="gtmask_{:03d}.png", frames=(1, 3))  # sparse, other names
    (tmp_path / "pred" / "masks").mkdir()  # an empty folder is no masks
    (score, mean) = score_masks(tmp_path / "pred", tmp_path / "gt")
    assert (score.video, score.part, score.frames, score.jaccard) == ("gt", "robot", 2, 1.0) and mean.frames == 2


def test_frames_without_a_prediction(tmp_path):
    masks(tmp_path / "pred", frames=(0, 1, 2))
    masks(tmp_path / "gt")
    score = score_masks(tmp_path / "pred", tmp_path / "gt")[0]
    assert score.note.startswith(FAILED) and "no predicted robot mask of frame 00003 (1 of 4 missing" in score.note
    score = score_masks(tmp_path / "pred", tmp_path / "gt", missing_empty=True)[0]
    assert score.jaccard == 0.75 and "1 frames without a prediction" in score.note
    # numbered from 1: names do not help, the order does
    masks(tmp_path / "one")
    for t in (3, 2, 1, 0):
        (tmp_path / "one" / f"{t:05d}.png").rename(tmp_path / "one" / f"{t + 1:05d}.png")
    assert score_masks(tmp_path / "one", tmp_path / "gt")[0].note.startswith(FAILED)
    assert score_masks(tmp_path / "one", tmp_path / "gt", by_order=True)[0].jaccard == 1.0
    assert "3 masks for 4" in score_masks(tmp_path / "pred", tmp_path / "gt", by_order=True)[0].note


def test_before_the_part_appears_no_prediction_is_needed(tmp_path):
    masks(tmp_path / "pred", "gripper", frames=(1, 2, 3), of="gripper")
    masks(tmp_path / "gt", "gripper", of="gripper")
    score = score_masks(tmp_path / "pred", tmp_path / "gt")[0]
    assert (score.frames, score.jaccard, score.note) == (3, 1.0, "")


def test_the_ends_can_be_left_out(tmp_path):
    masks(tmp_path / "gt")
    masks(tmp_path / "pred", frames=(1, 2))
    masks(tmp_path / "pred", frames=(0, 3), shift=20)
    assert score_masks(tmp_path / "pred", tmp_path / "gt")[0].jaccard < 0.9
    score = score_masks(tmp_path / "pred", tmp_path / "gt", skip_ends=True)[0]
    assert (score.frames, score.jaccard) == (2, 1.0)
    masks(tmp_path / "two", frames=(0, 1))
    assert "only 2 labelled frames" in score_masks(tmp_path / "gt", tmp_path / "two", skip_ends=True)[0].note


def test_a_part_that_is_never_there_and_one_that_is_not_labelled(tmp_path):
    make_vrs(tmp_path / "VRS", ("a", "b"))
    for t in range(4):
        save(tmp_path / "VRS" / "test" / "mask_gt" / "a" / "001" / f"{t:05d}.png", np.zeros(SIZE, np.uint8))
        (tmp_path / "VRS" / "test" / "mask_gt" / "b" / "000" / f"{t:05d}.png").unlink()
    (tmp_path / "VRS" / "test" / "mask_gt" / "b" / "000").rmdir()
    scores = score_masks(tmp_path / "VRS", tmp_path / "VRS")
    gripper = by_part(scores, "a")["gripper"]
    assert math.isnan(gripper.jaccard) and gripper.note == ABSENT and by_part(scores)["gripper"].videos == 1
    assert "arm" not in by_part(scores, "b") and by_part(scores)["arm"].videos == 1


def test_videos_that_fail_do_not_stop_the_others(tmp_path, capsys):
    truth = make_vrs(tmp_path / "VRS", ("good", "lost", "small", "photo", "bro[ken]"), parts=("robot",))
    for video in ("good", "small", "photo", "bro[ken]"):
        masks(tmp_path / "pred" / video)
    save(tmp_path / "pred" / "small" / "00002.png", np.ones((4, 4), np.uint8))
    for t in range(4):
        noise = np.random.default_rng(t).integers(0, 60, (*SIZE, 3), dtype=np.uint8)
        save(tmp_path / "pred" / "photo" / f"{t:05d}.png", picture(t) + noise)
    (tmp_path / "pred" / "bro[ken]" / "00001.png").write_bytes(b"no")
    code = main(["evaluate", "masks", str(tmp_path / "pred"), str(truth), "--out", str(tmp_path / "s.csv")])
    out, err = capsys.readouterr()
    assert code == 1 and "good" in out and "1 videos" in out
    assert len(err.splitlines()) == 4 and all(line.startswith("urdfit: error: ") for line in err.splitlines())
    for message in ("no predicted masks of this video", "4x4 pixels, the true mask has 60x40", "a picture, not a mask"):
        assert message in err
    rows = list(csv.DictReader(open(tmp_path / "s.csv", newline="")))
    assert [(r["video"], r["J"]) for r in rows if not r["note"]] == [("good", "1.000000"), (GLOBAL, "1.000000")]
    assert sum(r["J"] == "" for r in rows) == 4


def test_folders_that_do_not_belong_together(tmp_path, capsys):
    masks(tmp_path / "robot")
    masks(tmp_path / "arms", "arm", of="arm")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MaskError, match="no such folder"):
        score_masks(tmp_path / "gone", tmp_path / "robot")
    with pytest.raises(MaskError, match="no masks found"):
        score_masks(tmp_path / "robot", tmp_path / "empty")
    with pytest.raises(FlowError, match=r"has parts arm, .* robot: none in common"):
        score_masks(tmp_path / "arms", tmp_path / "robot")
    with pytest.raises(FlowError, match="among gripper"):
        score_masks(tmp_path / "arms", tmp_path / "arms", ["gripper"])
    masks(tmp_path / "both")
    masks(tmp_path / "both" / "old")
    with pytest.raises(MaskError, match="holds masks and folders of masks"):
        score_masks(tmp_path / "both", tmp_path / "robot")
    (tmp_path / "empty" / "mask_gt").symlink_to(".")
    with pytest.raises(MaskError, match="no masks found"):
        score_masks(tmp_path / "empty", tmp_path / "robot")
    make_vrs(tmp_path / "x", ("a", "b"))
    make_vrs(tmp_path / "y", ("c", "d"))
    with pytest.raises(FlowError, match=r"the videos a, b, .* has c, d: none in common"):
        score_masks(tmp_path / "x", tmp_path / "y")
    assert main(["evaluate", "masks", str(tmp_path / "x"), str(tmp_path / "x"), "--part", "hand"]) == 2
    assert "expected robot, arm, gripper or all" in capsys.readouterr().err


def test_parts_without_predictions_are_told(tmp_path, capsys):
    truth = make_vrs(tmp_path / "VRS", ("a",))
    masks(tmp_path / "pred")
    assert main(["evaluate", "masks", str(tmp_path / "pred"), str(truth)]) == 0
    out = capsys.readouterr().out
    assert out.count("no predictions") == 2 and "1.000" in out


def test_a_table_is_written_whole(tmp_path):
    masks(tmp_path / "pred")
    scores = score_masks(tmp_path / "pred", tmp_path / "pred")
    write_scores(tmp_path / "new" / "s.csv", scores)
    assert (tmp_path / "new" / "s.csv").read_text().splitlines() == [
        "video,part,frames,J,F,J&F,note",
        "pred,robot,4,1.000000,1.000000,1.000000,PRED and GT are the same folder",
        "global,robot,4,1.000000,1.000000,1.000000,",
    ]
    with pytest.raises(FlowError):
        write_scores(tmp_path / "new", scores)
