"""`urdfit segment` and `urdfit weights` in-process: prompts, summary, every kind of bad input in one line."""

import re

import cv2
import numpy as np
import pytest
import torch

from flows.episode import load_episode
from segmentation.network import RobotNet, save_weights

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mine.pt"
    save_weights(RobotNet(), path)
    return path


@pytest.mark.parametrize("command", ["segment", "weights list", "weights add", "weights show"])
def test_help_with_an_example(urdfit, command):
    code, out, _ = urdfit(*command.split(), "--help")
    assert code == 0 and f"Example: urdfit {command}" in " ".join(out.split())


def test_help_says_how_prompts_are_written(urdfit):
    for command in ("segment", "run"):
        out = " ".join(urdfit(command, "--help")[1].split())
        assert "F:X,Y,+|-" in out and "F:X0,Y0,X1,Y1" in out and "F:PNG" in out and "gripper@0:310,90,+" in out


def test_segment_with_every_kind_of_prompt(clip, fakes, tmp_path, urdfit):
    cv2.imwrite(str(tmp_path / "p.png"), np.full((120, 160), 255, np.uint8))
    prompts = ("--click", "0:80,60,+", "--click", "0:1,1,-", "--box", "gripper@2:0,0,160,120", "--mask", "7:p.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        code, out, err = urdfit("segment", clip.video, "--out", "m", *prompts)
    assert (code, err) == (0, "") and [p.frame for p in fakes.prompts] == [0, 2, 7]
    assert fakes.prompts[0].labels.tolist() == [1, 0]
    assert re.search(r"frames: 8; mean coverage: arm [\d.]+%, gripper [\d.]+%, robot [\d.]+%; [\d.]+ frames/s\n", out)
    assert urdfit("segment", clip.video, "--out", tmp_path / "m2", "--quiet") == (0, "", "")


def test_run_takes_prompts_and_states_them(clip, fakes, quick_report, tmp_path, urdfit):
    base = ("run", clip.video, "-r", "panda", "-o", tmp_path / "e", "--no-prefect", "--quiet")
    assert urdfit(*base, "--click", "3:80,60,+", "--box", "3:0,0,100,100") == (0, "", "")
    assert len(fakes.prompts) == 1 and fakes.prompts[0].box == (0, 0, 100, 100)
    assert load_episode(tmp_path / "e").settings["prompts"] == ["--click 3:80,60,+", "--box 3:0,0,100,100"]
    assert urdfit(*base) == (0, "", "") and fakes.prompts == () and fakes.segment == 2


def test_bad_prompts_and_weights_are_one_line_and_leave_nothing(clip, fakes, cache, tmp_path, urdfit):
    (tmp_path / "text.pt").write_text("no weights")
    (tmp_path / "text.png").write_text("no picture")
    cv2.imwrite(str(tmp_path / "small.png"), np.full((12, 16), 255, np.uint8))
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((120, 160), np.uint8))
    (tmp_path / "file").touch()
    cases = [
        (("--click", "80,60,+"), "expected [PART@]FRAME:X,Y,+"),
        (("--click", "8:80,60,+"), "the video has 8 frames"),
        (("--click", "0:80,600,-"), "outside the picture"),
        (("--click", "hand@0:80,60,-"), "expected [PART@]FRAME:X,Y,+"),
        (("--box", "0:80,60,10,100"), "is empty"),
        (("--box", "0:80,60"), "expected [PART@]FRAME:X0,Y0,X1,Y1"),
        (("--mask", "0:gone.png"), "gone.png"),
        (("--mask", f"0:{tmp_path / 'text.png'}"), "text.png"),
        (("--mask", f"0:{tmp_path / 'small.png'}"), "16x12"),
        (("--mask", f"0:{tmp_path / 'black.png'}"), "empty"),
        (("--mask", f"0:{tmp_path / 'black.png'}", "--click", "0:1,1,+"), "no clicks"),
        (("--weights", "robotseg"), "urdfit weights add"),
        (("--weights", "sam2"), "urdfit weights add"),
        (("--weights", "gone"), "gone"),
        (("--out", tmp_path / "file"), "is a file"),
        (("--out", tmp_path / "file" / "deeper"), "a file"),
        (("--part", "foot"), "foot"),
    ]
    wrong = []
    for arguments, words in cases:
        code, out, err = urdfit("segment", clip.video, "--out", tmp_path / "m", *arguments)
        if not (code in (1, 2) and out == "" and re.fullmatch(r"urdfit: error: [^\n]{10,400}\n", err) and words in err):
            wrong.append((arguments, code, out, err))
    assert not wrong and not (tmp_path / "m").exists() and fakes.segment == 0
    code, _, err = urdfit(
        "run", clip.video, "-r", "panda", "-o", tmp_path / "e", "--masks", clip.masks, "--click", "0:1,1,+"
    )
    assert code == 2 and "exclude each other" in err


def test_weights_that_are_none(clip, tmp_path, urdfit):
    (tmp_path / "text.pt").write_text("no weights")
    torch.save({"model": {"encoder.stem.0.weight": torch.zeros(3), "more": torch.zeros(1)}}, tmp_path / "other.pt")
    for name, words in (("text.pt", "no weights file"), ("other.pt", "missing")):
        for arguments in (
            ("weights", "add", tmp_path / name),
            ("weights", "show", tmp_path / name),
            ("segment", clip.video, "--out", tmp_path / "m", "--weights", tmp_path / name),
        ):
            code, out, err = urdfit(*arguments)
            assert code == 1 and out == "" and re.fullmatch(r"urdfit: error: [^\n]+\n", err), (arguments, err)
            assert words in err and name in err
    assert not (tmp_path / "m").exists()


def test_weights_list_add_and_show(clip, weights, cache, tmp_path, urdfit):
    code, out, err = urdfit("weights", "list")
    assert (code, err) == (0, "") and "default" in out and "github.com/showlab/RobotSeg" in out
    assert "github.com/facebookresearch/sam2" in out
    code, out, err = urdfit("weights", "add", weights)
    assert (code, err) == (0, "") and out.startswith("mine: default, 3.") and "--weights mine" in out
    assert re.search("sha256 [0-9a-f]{64}", out) and (cache / "weights" / "mine" / "weights.pt").is_file()
    assert urdfit("weights", "add", weights, "--name", "again")[0] == 0
    assert "mine" in urdfit("weights", "list")[1] and "again" in urdfit("weights", "list")[1]
    code, out, _ = urdfit("weights", "show", "mine")
    assert code == 0 and "model: default" in out and f"copied from: {weights}" in out
    assert "built-in" not in out and "name: default" in urdfit("weights", "show", "default")[1]
    code, _, err = urdfit("weights", "add", weights, "--name", "../up")
    assert code == 1 and "--name ../up" in err
    code, _, err = urdfit("weights", "show", "nothing")
    assert code == 1 and "nothing" in err
    code, _, err = urdfit("segment", clip.video, "--out", tmp_path / "m", "--weights", "mine", "--quiet")
    assert code in (0, 1) and ("no robot found" in err or err == "")  # random weights see anything or nothing


def test_doctor_tells_of_sam2_and_of_the_weights_added(weights, urdfit, fakes, monkeypatch):
    import flows.doctor

    assert "weights added" in urdfit("doctor")[1]
    urdfit("weights", "add", weights)
    out = urdfit("doctor")[1]
    assert "mine (default)" in " ".join(out.split()) and "sam2" in out
    real = flows.doctor.version
    monkeypatch.setattr(flows.doctor, "version", lambda name: "not installed" if name == "sam2" else real(name))
    code, out, _ = urdfit("doctor")
    assert code == 0 and "not installed: sam2" in " ".join(out.split()) and "--no-build-isolation" in out
