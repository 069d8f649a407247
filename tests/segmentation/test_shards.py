"""Tar shards: what is written is read back, growing folders, and files that were damaged or meant badly."""

import io
import json
import tarfile
from dataclasses import replace

import cv2
import numpy as np
import pytest

from segmentation.errors import TrainingError
from segmentation.training.shards import Sample, ShardSet, decode, decode_depth, encode, write_shard


def frame(clip="a", number=0, size=(24, 32), **meta):
    rng = np.random.default_rng(number)
    rgb = cv2.resize(rng.integers(0, 255, (3, 4, 3)).astype(np.uint8), size[::-1], interpolation=cv2.INTER_LINEAR)
    part = rng.choice([0, 1, 2, 255], size).astype(np.uint8)
    return rgb, part, encode(rgb, part, rng.uniform(0, 70, size), clip=clip, frame=number, **meta)


def tar_of(path, files):
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def good_files(name="a_00000"):
    sample = frame()[2]
    return {f"{name}.rgb.jpg": sample.rgb, f"{name}.part.png": sample.part, f"{name}.json": b"{}"}


def test_a_sample_comes_back_as_it_was_put_in(tmp_path):
    rgb, part, sample = frame(robot="panda", q=[0.5, -1.0])
    write_shard(tmp_path / "0.tar", [sample])
    back = ShardSet(tmp_path)[0]
    assert back == sample and back.meta == {"robot": "panda", "q": [0.5, -1.0]}
    seen, mask = decode(back)
    assert (mask == part).all() and np.abs(seen.astype(int) - rgb).mean() < 4
    depth, given = decode_depth(back), np.random.default_rng(0)
    given.integers(0, 255, (3, 4, 3)), given.choice([0, 1, 2, 255], part.shape)
    truth = given.uniform(0, 70, part.shape)
    assert (depth[truth > 65.535] == 0).all()
    assert np.abs(depth - truth)[truth < 65.535].max() <= 0.000501


def test_clips_are_listed_in_order_and_new_shards_append(tmp_path):
    frames = [frame(clip, k)[2] for clip, k in (("b", 2), ("a", 0), ("b", 0), ("b", 1))]
    write_shard(tmp_path / "1.tar", frames)
    shards = ShardSet([tmp_path])
    assert [[(shards[i].clip, shards[i].frame) for i in clip] for clip in shards.clips] == [
        [("b", 0), ("b", 1), ("b", 2)],
        [("a", 0)],
    ]
    first = shards[0]
    write_shard(tmp_path / "deeper" / "0.tar", [frame("b", 7)[2]])  # another clip of the same name
    assert shards.refresh() == 1 and shards.refresh() == 0 and len(shards) == 5
    assert shards[0] == first and shards.clips[-1] == [4]


def test_the_same_samples_give_the_same_bytes(tmp_path):
    for name in ("x.tar", "y.tar"):
        write_shard(tmp_path / name, (frame("a", k)[2] for k in range(3)))
    assert (tmp_path / "x.tar").read_bytes() == (tmp_path / "y.tar").read_bytes()


def test_other_tools_see_an_ordinary_tar(tmp_path):
    write_shard(tmp_path / "0.tar", [frame("clip-1", 3)[2]])
    with tarfile.open(tmp_path / "0.tar") as tar:
        kinds = ("rgb.jpg", "part.png", "depth.png", "json")
        assert tar.getnames() == [f"clip-1_00003.{kind}" for kind in kinds]


def test_an_interrupted_shard_leaves_the_old_one(tmp_path):
    write_shard(tmp_path / "0.tar", [frame()[2]])
    old = (tmp_path / "0.tar").read_bytes()

    def samples():
        yield frame("b", 1)[2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path / "0.tar", samples())
    assert (tmp_path / "0.tar").read_bytes() == old and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("clip", ["", "a.b", "../up", "a/b", "_a", "x" * 90])
def test_names_that_are_no_file_names_are_refused(tmp_path, clip):
    with pytest.raises(TrainingError, match="expected a clip of letters"):
        write_shard(tmp_path / "0.tar", [replace(frame()[2], clip=clip)])
    assert not list(tmp_path.iterdir())


def test_a_frame_twice_and_nan_in_the_text_are_refused(tmp_path):
    with pytest.raises(TrainingError, match="two frames"):
        write_shard(tmp_path / "0.tar", [frame()[2], frame()[2]])
    with pytest.raises(ValueError, match="JSON"):
        write_shard(tmp_path / "0.tar", [frame(q=[float("nan")])[2]])


BAD = {
    "a foreign file": ({"readme.txt": b"hello"}, "holds 'readme.txt'"),
    "a path out of the folder": ({"../a_00000.json": b"{}"}, "holds '../a_00000.json'"),
    "no mask": ({k: v for k, v in good_files().items() if "part" not in k}, "has no part.png"),
    "a huge text": (good_files() | {"a_00000.json": b" " * (2**20 + 1)}, "expected at most 1048576"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_shards_are_refused_with_one_line(tmp_path, kind):
    files, message = BAD[kind]
    tar_of(tmp_path / "0.tar", files)
    with pytest.raises(TrainingError, match=message) as caught:
        ShardSet(tmp_path)
    assert "\n" not in str(caught.value)


def test_damaged_shards_are_refused(tmp_path):
    write_shard(tmp_path / "0.tar", [frame(number=k)[2] for k in range(3)])
    data = (tmp_path / "0.tar").read_bytes()
    for bad in (b"", b"nothing of a tar" * 100, data[: len(data) // 2 - 300]):
        (tmp_path / "0.tar").write_bytes(bad)
        if bad:
            with pytest.raises(TrainingError, match=r"not a readable tar|ends within|has no"):
                ShardSet(tmp_path)
        else:
            with pytest.raises(TrainingError, match="not a readable tar"):
                ShardSet(tmp_path)


def test_links_are_refused(tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        info = tarfile.TarInfo("a_00000.json")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(TrainingError, match=r"holds 'a_00000\.json'"):
        ShardSet(tmp_path)


@pytest.mark.parametrize("text", [b"[1]", b"{", b"[" * 100_000])
def test_a_text_that_is_no_object_is_refused(tmp_path, text):
    tar_of(tmp_path / "0.tar", good_files() | {"a_00000.json": text})
    with pytest.raises(TrainingError, match="no JSON object"):
        ShardSet(tmp_path)[0]


def test_pictures_that_do_not_belong_together_are_refused():
    sample = frame()[2]
    with pytest.raises(TrainingError, match="expected one uint8 channel of 32x24"):
        decode(replace(sample, part=frame(size=(12, 32))[2].part))
    with pytest.raises(TrainingError, match="value 7; expected 0, 1, 2 or 255"):
        decode(replace(sample, part=encode(np.zeros((24, 32, 3), np.uint8), np.full((24, 32), 7, np.uint8)).part))
    with pytest.raises(TrainingError, match="not a readable picture"):
        decode(replace(sample, rgb=sample.rgb[:40]))
    with pytest.raises(TrainingError, match="expected one uint16 channel"):
        decode_depth(replace(sample, depth=sample.part))
    assert decode_depth(Sample("a", 0, sample.rgb, sample.part)) is None


def test_a_picture_that_claims_to_be_enormous_is_not_unpacked():
    png = bytearray(frame()[2].part)
    png[16:24] = (60000).to_bytes(4, "big") * 2
    with pytest.raises(TrainingError, match="60000x60000 pixels"):
        decode(replace(frame()[2], part=bytes(png)))


def test_no_folder_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="no such folder of shards"):
        ShardSet(tmp_path / "absent")
    assert json.dumps(ShardSet(tmp_path).clips) == "[]"
