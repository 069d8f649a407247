"""Prompts as they are written on the command line: what they mean, what is refused and how."""

import cv2
import numpy as np
import pytest

from segmentation.errors import MaskError, PromptError
from segmentation.prompts import Prompt, absolute, check_prompts, mask_path, merge, parse_prompts


def test_clicks_of_one_frame_and_part_become_one_prompt():
    prompts = parse_prompts(
        [("click", "5:10,20,+"), ("click", "0:1.5, 2 ,-"), ("click", "gripper@5:7,8,+"), ("click", "5:30,40,-")]
    )
    assert [(p.frame, p.part) for p in prompts] == [(0, None), (5, None), (5, "gripper")]
    assert prompts[0].points.tolist() == [[1.5, 2]] and prompts[0].labels.tolist() == [0]
    assert prompts[1].points.tolist() == [[10, 20], [30, 40]] and prompts[1].labels.tolist() == [1, 0]
    assert prompts[1].points.dtype == np.float32 and prompts[1].labels.dtype == np.int32


def test_a_box_goes_with_clicks():
    (prompt,) = parse_prompts([("box", "2:10,20,30,40"), ("click", "2:12,22,+")])
    assert prompt.box == (10, 20, 30, 40) and len(prompt.points) == 1 and prompt.mask is None


def test_a_mask_is_read_from_its_file(tmp_path):
    image = np.zeros((6, 8), np.uint8)
    image[2:4, 3:7] = 255
    file = tmp_path / "a:b@1,2.png"  # a name with everything the form uses
    cv2.imwrite(str(file), image)
    (prompt,) = parse_prompts([("mask", f"arm@3:{file}")])
    assert prompt.part == "arm" and prompt.mask.dtype == bool and np.array_equal(prompt.mask, image > 0)
    check_prompts([prompt], 8, 6, 4)


def test_paths_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("mask", "arm@3:m.png") == ("mask", f"arm@3:{tmp_path}/m.png")
    assert absolute("mask", "3:/x/m.png") == ("mask", "3:/x/m.png")
    assert absolute("click", " 3:1,2,+ ") == ("click", "3:1,2,+") and mask_path("arm@3:m.png") == "m.png"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("click", ""), ("click", "0"), ("click", "0:"), ("click", "0:1,2"), ("click", "0:1,2,3"), ("click", "0:1,2,*"),
        ("click", "-1:1,2,+"), ("click", "0:1,+"), ("click", "0:a,b,+"), ("click", "0:nan,1,+"), ("click", "0:inf,1,-"),
        ("click", "hand@0:1,2,+"), ("click", "0:1,2,3,+"), ("click", "1.5:1,2,+"), ("click", "99999999999:1,2,+"),
        ("box", "0:1,2,3"), ("box", "0:1,2,3,4,5"), ("box", "0:1,2,3,x"), ("box", "0:1,2,3,+"), ("box", "0:1,2,nan,4"),
        ("mask", "robot.png"), ("mask", "0:"),
    ],
)  # fmt: skip
def test_other_forms_are_refused_with_the_right_one(kind, text):
    with pytest.raises(PromptError) as error:
        parse_prompts([(kind, text)])
    message = str(error.value)
    assert f"--{kind}" in message and "expected [PART@]FRAME:" in message and "such as" in message


def test_masks_that_cannot_be_read(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    for name in ("gone.png", "text.png", "empty.png", "."):
        with pytest.raises(MaskError) as error:
            parse_prompts([("mask", f"0:{tmp_path / name}")])
        assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_what_excludes_each_other():
    mask = Prompt(0, mask=np.ones((4, 4), bool))
    click = Prompt(0, points=np.ones((1, 2), np.float32), labels=np.ones(1, np.int32))
    box = Prompt(0, box=(0, 0, 2, 2))
    for pair, words in (((mask, click), "no clicks"), ((box, mask), "no box"), ((box, box), "two boxes")):
        with pytest.raises(PromptError, match=words):
            merge(pair)
    with pytest.raises(PromptError, match="two masks"):
        merge((mask, mask))
    assert len(merge((mask, Prompt(0, "arm", box=(0, 0, 2, 2))))) == 2  # another part


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (("click", "8:1,1,+"), "frame 8: the video has 8 frames, 0 to 7"),
        (("click", "0:160,1,+"), "160,1 is outside the picture of 160x120"),
        (("click", "0:1,-0.6,+"), "outside"),
        (("box", "0:10,10,10,20"), "empty"),
        (("box", "gripper@0:30,10,20,20"), "gripper@0: the box"),
        (("box", "0:10,10,161,20"), "outside"),
        (("box", "0:-1,10,16,20"), "outside"),
    ],
)
def test_prompts_must_fit_their_video(prompt, words):
    with pytest.raises(PromptError, match=words):
        check_prompts(parse_prompts([prompt]), 160, 120, 8)


def test_masks_must_fit_their_video():
    with pytest.raises(PromptError, match="the mask has 4x3 pixels, the video 160x120"):
        check_prompts([Prompt(0, mask=np.ones((3, 4), bool))], 160, 120)
    with pytest.raises(PromptError, match="the mask is empty"):
        check_prompts([Prompt(0, mask=np.zeros((120, 160), bool))], 160, 120)
    with pytest.raises(PromptError, match="without clicks"):
        check_prompts([Prompt(0)], 160, 120)
    with pytest.raises(PromptError, match="parts"):
        check_prompts([Prompt(0, "foot", box=(0, 0, 2, 2))], 160, 120)
    check_prompts(parse_prompts([("click", "900:0,0,+"), ("box", "3:0,0,160,120")]), 160, 120)  # length unknown
