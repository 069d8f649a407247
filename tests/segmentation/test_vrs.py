"""Benchmark folders: the layouts that exist, and folders that are not what they seem."""

import os
import struct
import zlib

import numpy as np
import pytest
from vrs_cases import SIZE, make_vrs, picture, save, truths

from segmentation import MaskError, VideoError
from segmentation.vrs import LabelledVideos


@pytest.fixture
def vrs(tmp_path):
    return make_vrs(tmp_path / "VRS")


def test_a_vrs_folder(vrs):
    for path in (vrs, vrs / "test"):
        videos = LabelledVideos(path)
        assert videos.kind == "vrs" and videos.names == ("a", "b") and len(videos) == 2
    video = videos.open("b")
    assert len(video) == 4 and video.size == SIZE
    assert (video[2] == picture(2)).all() and (video[-1] == picture(3)).all()
    assert (video.truth("arm", 2) == truths(2)["arm"]).all()
    assert (video.start("arm"), video.start("gripper")) == (0, 1)
    assert len(list(video)) == 4 and [v.name for v in videos] == ["a", "b"]


def test_sparse_masks_belong_to_the_picture_of_their_name(tmp_path):
    video = LabelledVideos(make_vrs(tmp_path, frames=4, labelled=(1, 3), parts=("arm",))).open("a")
    assert list(video.masks) == ["arm"] and list(video.masks["arm"]) == [1, 3]
    assert video.truth("arm", 0) is None and video.truth("robot", 1) is None
    assert (video.start("arm"), video.start("robot")) == (1, None)


def test_the_start_comes_from_the_masks_and_no_pickle_is_opened(vrs):
    class Bomb:
        def __reduce__(self):
            return os.abort, ()

    folder = vrs / "test" / "mask_gt_info" / "a"
    folder.mkdir(parents=True)
    np.save(folder / "001.npy", np.array({0: Bomb()}, dtype=object), allow_pickle=True)
    assert LabelledVideos(vrs).open("a").start("gripper") == 1


def test_roboengine_folders(tmp_path):
    save(tmp_path / "test" / "image" / "x1" / "x1.png", picture(1))
    save(tmp_path / "test" / "mask" / "x1" / "002" / "x1.png", truths(1)["robot"].astype(np.uint8))
    videos = LabelledVideos(tmp_path)
    assert videos.kind == "roboengine" and len(videos.open("x1")) == 1 and videos.open("x1").start("robot") == 0
    save(tmp_path / "flat" / "image" / "y.png", picture(1))
    save(tmp_path / "flat" / "mask" / "y.png", truths(1)["robot"].astype(np.uint8))
    video = LabelledVideos(tmp_path / "flat").open("y")
    assert len(video) == 1 and (video.truth("robot", 0) == truths(1)["robot"]).all()


def test_folders_that_are_none(tmp_path, vrs):
    with pytest.raises(VideoError, match="no such folder"):
        LabelledVideos(tmp_path / "gone")
    with pytest.raises(VideoError, match="expected image/ and mask_gt/"):
        LabelledVideos(vrs, "train")
    with pytest.raises(VideoError, match="expected image/ and mask_gt/"):
        LabelledVideos(vrs / "test" / "image", "..")
    with pytest.raises(VideoError, match="no video 'c'"):
        LabelledVideos(vrs).open("c")
    for file in (vrs / "test" / "image" / "a").iterdir():
        file.unlink()
    with pytest.raises(VideoError, match="no pictures"):
        LabelledVideos(vrs).open("a")


def claims(width, height):
    """A PNG of that size in a few bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_masks_that_do_not_fit(vrs):
    folder = vrs / "test" / "mask_gt" / "a" / "000"
    file = folder / "00002.png"
    video = LabelledVideos(vrs).open("a")
    for content, message in (
        (b"", "not a readable picture"),
        (b"no picture", "not a readable picture"),
        (claims(60_000, 60_000), "60000x60000 pixels; expected at most 64 million"),
    ):
        file.write_bytes(content)
        with pytest.raises(MaskError, match=message):
            video.truth("arm", 2)
    save(file, np.ones((8, 9), np.uint8))
    with pytest.raises(MaskError, match="9x8 pixels, but the video's first frame has 60x40"):
        video.truth("arm", 2)
    save(file, np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8))
    with pytest.raises(MaskError, match="a picture, not a mask"):
        video.truth("arm", 2)
    save(file, np.dstack([np.full((*SIZE, 3), 255, np.uint8), truths(2)["arm"].astype(np.uint8) * 255]))
    with pytest.raises(MaskError, match="its shape is in the transparency"):
        video.truth("arm", 2)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(MaskError, match="no such file"):
        video.truth("arm", 2)
    save(folder / "00099.png", np.ones(SIZE, np.uint8))
    with pytest.raises(MaskError, match=r"1 arm mask\(s\) belong to no picture, the first 00099.png"):
        LabelledVideos(vrs).open("a")
    (vrs / "test" / "mask_gt" / "b" / "arm").mkdir()
    with pytest.raises(MaskError, match="both arm/ and 000/"):
        LabelledVideos(vrs).open("b")


def test_pictures_that_do_not_fit(vrs):
    image = vrs / "test" / "image" / "a"
    video = LabelledVideos(vrs).open("a")
    save(image / "00001.png", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(VideoError, match="9x9"):
        video[1]
    (image / "00001.png").write_bytes(b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff" + b"\0" * 20)
    with pytest.raises(VideoError, match="65535x65535"):
        video[1]
    (image / "00000.png").write_bytes(b"")
    with pytest.raises(VideoError, match="not a readable picture"):
        LabelledVideos(vrs).open("a")


def test_smooth_masks_and_labels_are_masks(vrs):
    file = vrs / "test" / "mask_gt" / "a" / "000" / "00000.png"
    smooth = np.zeros(SIZE)
    smooth[:, 20:] = np.linspace(0.0, 1.0, 40).clip(0, 0.1) * 10 * 255
    save(file, smooth.astype(np.uint8))
    assert LabelledVideos(vrs).open("a").truth("arm", 0).sum() == (smooth.astype(np.uint8) > 0).sum()
    save(file, np.arange(40)[:, None].repeat(60, 1).astype(np.uint8) % 5)
    assert LabelledVideos(vrs).open("a").truth("arm", 0).mean() == pytest.approx(0.8)
