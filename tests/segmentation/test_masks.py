"""Mask folders: what is written comes back, and what does not fit is refused in one line."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segmentation import MaskError, MaskFolder, write_mask

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40))


@given(mask=masks, kind=st.sampled_from(["bool", "uint8", "float"]))
@settings(max_examples=30, deadline=None)
def test_round_trip(tmp_path_factory, mask, kind):
    folder = tmp_path_factory.mktemp("masks")
    given_mask = {"bool": mask, "uint8": mask.astype(np.uint8) * 7, "float": mask * 0.8}[kind]
    write_mask(folder, "arm", 0, given_mask)
    back = MaskFolder(folder)
    assert back.parts == ("arm",) and len(back) == 1 and back.size == mask.shape[::-1]
    assert back[0]["arm"].dtype == np.uint8
    assert (back[0]["arm"] == mask * 255).all()


def test_the_layout_and_no_leftovers(tmp_path):
    for part in ("robot", "arm", "gripper"):
        for i in range(3):
            write_mask(tmp_path, part, i, np.full((4, 6), i % 2))
    assert sorted(p.name for p in (tmp_path / "arm").iterdir()) == ["00000.png", "00001.png", "00002.png"]
    folder = MaskFolder(tmp_path)
    assert folder.parts == ("robot", "arm", "gripper") and len(folder) == 3
    assert [int(m["robot"].max()) for m in folder] == [0, 255, 0]
    folder.check(6, 4, 3)


def test_pngs_directly_in_the_folder_are_the_robot_in_natural_order(tmp_path):
    for i in (2, 10, 1):
        cv2.imwrite(str(tmp_path / f"m{i}.png"), np.full((4, 6, 3), (0, 0, i), np.uint8))
    folder = MaskFolder(tmp_path)
    assert folder.parts == ("robot",) and len(folder) == 3
    assert [p.name for p in folder.files["robot"]] == ["m1.png", "m2.png", "m10.png"]
    assert folder[0]["robot"].min() == 255  # any colour is inside
    with pytest.raises(IndexError):
        folder[3]


def test_masks_that_do_not_fit(tmp_path):
    with pytest.raises(MaskError, match="no such folder"):
        MaskFolder(tmp_path / "missing")
    with pytest.raises(MaskError, match="no PNG masks"):
        MaskFolder(tmp_path)
    for i in range(3):
        write_mask(tmp_path, "arm", i, np.ones((4, 6)))
    folder = MaskFolder(tmp_path)
    with pytest.raises(MaskError, match="6x4 pixels for a video of 8x8"):
        folder.check(8, 8, 3)
    with pytest.raises(MaskError, match="3 masks for a video of 5 frames"):
        folder.check(6, 4, 5)
    write_mask(tmp_path, "arm", 1, np.ones((5, 6)))
    with pytest.raises(MaskError, match="6x5"):
        list(folder)
    (tmp_path / "arm" / "00001.png").write_bytes(b"broken")
    with pytest.raises(MaskError, match="not a readable PNG"):
        folder[1]
    write_mask(tmp_path, "gripper", 0, np.ones((4, 6)))
    with pytest.raises(MaskError, match="different numbers"):
        MaskFolder(tmp_path)


@pytest.mark.parametrize(
    ("part", "index", "mask"),
    [("hand", 0, np.ones((2, 2))), ("arm", -1, np.ones((2, 2))), ("arm", 0, np.ones(4))],
)
def test_what_is_no_mask(tmp_path, part, index, mask):
    with pytest.raises(MaskError):
        write_mask(tmp_path, part, index, mask)
