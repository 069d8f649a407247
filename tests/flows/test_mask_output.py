"""`urdfit segment`: masks, overlay, card and summary; prompts in the key; nothing of the user's is lost."""

import json
import shutil

import cv2
import numpy as np
import pytest

from flows import mask_output
from flows.errors import FlowError, UsageError
from flows.job import make_job
from flows.mask_output import run_masks
from flows.overlay import mask_picture
from flows.segmenting import segment_key
from segmentation import PromptError, WeightsError, open_video, parse_prompts, write_mask

pytestmark = pytest.mark.usefixtures("cache")
CLICK, BOX = ("click", "2:80,60,+"), ("box", "gripper@5:10,10,100,100")


def snapshot(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def names(folder):
    return {p.name for p in folder.iterdir()}


def test_masks_overlay_card_and_summary(clip, fakes, tmp_path):
    done = run_masks(make_job(clip.video), tmp_path / "m")
    assert names(done.folder) == {"robot", "arm", "gripper", "overlay.mp4", "segment.json"}
    assert all(len(list((done.folder / part).iterdir())) == 8 for part in ("robot", "arm", "gripper"))
    assert sum(1 for _ in open_video(done.folder / "overlay.mp4")) == 8
    card = json.loads((done.folder / "segment.json").read_text())
    truth = np.mean([cv2.imread(str(p), 0) > 0 for p in (clip.masks / "robot").iterdir()])
    assert card["frames"] == 8 and card["coverage"]["robot"] == pytest.approx(truth, rel=0.05)
    assert card["coverage"]["robot"] == pytest.approx(card["coverage"]["arm"] + card["coverage"]["gripper"], rel=0.02)
    assert done.summary.startswith("frames: 8; mean coverage: arm ") and done.summary.endswith(" frames/s")
    again = run_masks(make_job(clip.video), tmp_path / "m2")
    assert again.reused and again.summary.endswith("frames/s when computed") and fakes.segment == 1


def test_prompts_reach_the_segmenter_and_are_part_of_the_key(clip, fakes, tmp_path):
    run_masks(make_job(clip.video, prompts=[CLICK, BOX]), tmp_path / "m")
    assert [(p.frame, p.part) for p in fakes.prompts] == [(2, None), (5, "gripper")]
    card = json.loads((tmp_path / "m" / "segment.json").read_text())
    assert card["prompts"] == ["--click 2:80,60,+", "--box gripper@5:10,10,100,100"]
    mask = np.zeros((120, 160), np.uint8)
    keys = set()
    for value in (1, 2):
        mask[:value] = 255
        cv2.imwrite(str(tmp_path / "p.png"), mask)
        keys.add(segment_key(make_job(clip.video, prompts=[("mask", f"0:{tmp_path / 'p.png'}")])))
    shutil.copy(tmp_path / "p.png", tmp_path / "copy.png")  # another path, the same mask
    keys.add(segment_key(make_job(clip.video, prompts=[("mask", f"0:{tmp_path / 'copy.png'}")])))
    assert len(keys) == 2
    for prompts in ([], [CLICK], [BOX], [CLICK, BOX]):
        keys.add(segment_key(make_job(clip.video, prompts=prompts)))
    assert len(keys) == 6


def test_the_key_holds_the_content_of_the_weights_under_any_name(clip, tmp_path):
    import torch

    from segmentation import weights_store
    from segmentation.network import RobotNet, save_weights

    torch.manual_seed(0)
    save_weights(RobotNet(), tmp_path / "a.pt")
    save_weights(RobotNet(), tmp_path / "b.pt")
    weights_store.add(tmp_path / "a.pt", "mine")

    def key(weights):
        return segment_key(make_job(clip.video, weights=weights))

    assert key(tmp_path / "a.pt") == key("mine") != key(tmp_path / "b.pt")
    assert key("default") == key(weights_store.DEFAULT_WEIGHTS)
    job = make_job(clip.video, weights=tmp_path / "b.pt")
    before = segment_key(job)
    shutil.copy(tmp_path / "a.pt", tmp_path / "b.pt")
    assert segment_key(job) != before


def test_parts(clip, fakes, tmp_path):
    run_masks(make_job(clip.video, parts=("gripper",)), tmp_path / "m")
    assert names(tmp_path / "m") == {"gripper", "overlay.mp4", "segment.json"}
    run_masks(make_job(clip.video, parts=("arm",)), tmp_path / "m")  # of the same masks: they fit each other
    assert names(tmp_path / "m") == {"gripper", "arm", "overlay.mp4", "segment.json"} and fakes.segment == 1
    with pytest.raises(FlowError, match=r"gripper: holds masks of another video, other prompts"):
        run_masks(make_job(clip.video, parts=("arm",), prompts=[CLICK]), tmp_path / "m")
    run_masks(make_job(clip.video, prompts=[CLICK]), tmp_path / "m")  # all parts are new: nothing is mixed


@pytest.mark.parametrize("what", ["mended mask", "extra mask", "foreign masks", "foreign overlay", "broken card"])
def test_what_segment_did_not_write_stays(clip, fakes, tmp_path, what):
    out = tmp_path / "m"
    if not what.startswith("foreign"):
        run_masks(make_job(clip.video), out)
    if what == "mended mask":
        write_mask(out, "arm", 3, np.ones((120, 160), bool))
    elif what == "extra mask":
        write_mask(out, "arm", 99, np.ones((120, 160), bool))
    elif what == "foreign masks":
        shutil.copytree(clip.masks, out)
    elif what == "foreign overlay":
        out.mkdir()
        (out / "overlay.mp4").write_text("mine")
    else:
        (out / "segment.json").write_text("[]")
    before = snapshot(out)
    for prompts in ([], [CLICK]):
        with pytest.raises(FlowError, match=r"was not written by `urdfit segment`, or changed since") as error:
            run_masks(make_job(clip.video, prompts=prompts), out)
        assert "\n" not in str(error.value) and snapshot(out) == before


def test_other_files_of_the_folder_stay(clip, fakes, tmp_path):
    out = tmp_path / "m"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "arm").mkdir()  # empty: nothing to lose
    run_masks(make_job(clip.video), out)
    run_masks(make_job(clip.video, prompts=[CLICK]), out)
    assert (out / "notes.txt").read_text() == "mine" and len(list((out / "arm").iterdir())) == 8


def test_a_run_killed_while_it_publishes_can_be_repeated(clip, fakes, tmp_path, monkeypatch):
    out = tmp_path / "m"
    run_masks(make_job(clip.video), out)
    copies = []
    real = shutil.copytree

    def killed(*arguments, **options):
        copies.append(1)
        if len(copies) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(mask_output.shutil, "copytree", killed)
    job = make_job(clip.video, prompts=[CLICK])
    with pytest.raises(KeyboardInterrupt):
        run_masks(job, out)
    assert all(len(list((out / part).iterdir())) == 8 for part in ("robot", "arm", "gripper"))
    assert not [p for p in out.iterdir() if p.name.startswith(".")]
    monkeypatch.undo()
    run_masks(job, out)
    assert names(out) == {"robot", "arm", "gripper", "overlay.mp4", "segment.json"}


def test_masks_are_not_put_among_the_frames(clip, fakes, tmp_path):
    for frame in open_video(clip.video):
        cv2.imwrite(str(tmp_path / f"{frame.index}.png"), frame.image)
    for out in (tmp_path, tmp_path / "masks"):
        with pytest.raises(FlowError, match="folder of the frames"):
            run_masks(make_job(tmp_path), out)
    assert fakes.segment == 0 and not (tmp_path / "masks").exists()


def test_masks_from_elsewhere_can_be_looked_at(clip, tmp_path):
    done = run_masks(make_job(clip.video, masks=clip.masks), tmp_path / "m")
    assert np.array_equal(
        cv2.imread(str(done.folder / "arm" / "00000.png"), 0), cv2.imread(str(clip.masks / "arm" / "00000.png"), 0)
    )


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"prompts": [("click", "99:1,1,+")]}, PromptError, "frame 99: the video has 8 frames"),
        ({"prompts": [("click", "0:160,1,+")]}, PromptError, "outside the picture of 160x120"),
        ({"prompts": [("click", "somewhere")]}, PromptError, "expected"),
        ({"prompts": [CLICK], "masks": "masks"}, UsageError, "exclude each other"),
        ({"weights": "gone.pt"}, WeightsError, "gone.pt"),
        ({"weights": "robotseg"}, WeightsError, "urdfit weights add"),
        ({"weights": "sam2"}, WeightsError, "urdfit weights add"),
    ],
)
def test_wrong_settings_are_told_before_any_work(clip, fakes, tmp_path, options, error, words):
    with pytest.raises(error, match=words):
        make_job(clip.video, **options)
    assert fakes.segment == 0


def test_the_overlay_shows_prompts_and_parts():
    image = np.full((100, 200, 3), 90, np.uint8)
    robot, arm = np.zeros((100, 200), np.uint8), np.zeros((100, 200), np.uint8)
    robot[20:80, 20:120], arm[20:80, 20:70] = 255, 255
    prompts = parse_prompts([("click", "0:150,50,+"), ("click", "0:30,90,-"), ("box", "0:130,10,190,90")])
    picture = mask_picture(image, {"robot": robot, "arm": arm}, prompts)
    changed = (picture != image).any(2)
    assert changed[50, 40] and changed[50, 150] and changed[90, 30] and changed[10, 150] and changed[20, 100]
    assert not changed[50, 100] and not changed[50, 140] and (image == 90).all()
    assert picture[50, 150, 2] > picture[50, 150, 0] and picture[90, 30, 0] > picture[90, 30, 2]  # blue in, red out
