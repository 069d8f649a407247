"""Any frame by its number is exactly the picture that iterating gives, in every order and for every kind of video."""

import tracemalloc
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segmentation import VideoError, open_video
from segmentation.frames import FileFrames, open_frames

COUNT, WIDTH, HEIGHT = 40, 96, 64


def encode(path, codec="libx264", times=None, count=COUNT, **options):
    """Moving noise: no two pictures are the same, B-frames are worth the encoder's while."""
    ground = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8), (0, 0), 2)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=20)
        stream.width, stream.height, stream.pix_fmt, stream.options = WIDTH, HEIGHT, "yuv420p", options
        if times:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(count):
            image = np.ascontiguousarray(ground[i : i + HEIGHT, i // 2 : i // 2 + WIDTH])
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times:
                frame.pts, frame.time_base = round(1000 * times[i]), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def turned(path, plain):
    """The same film with a rotation in its track header."""
    data = bytearray(plain.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    turn = [0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000]
    data[at : at + 36] = b"".join(int(v).to_bytes(4, "big", signed=True) for v in turn)
    path.write_bytes(bytes(data))
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    uneven = np.cumsum(np.random.default_rng(1).uniform(0.01, 0.2, COUNT)).tolist()
    paths = {
        "B-frames": encode(folder / "b.mp4", g="12", bf="3"),
        "one keyframe": encode(folder / "one.mp4", g="1000", bf="3"),
        "open groups": encode(folder / "open.mp4", **{"x264-params": "open-gop=1:keyint=10:bframes=3"}),
        "no keyframes later": encode(folder / "refresh.mkv", **{"x264-params": "intra-refresh=1:keyint=10"}),
        "keyframes only": encode(folder / "intra.mkv", g="1", bf="0"),
        "uneven times": encode(folder / "vfr.mkv", times=uneven, g="7", bf="2"),
        "transport stream": encode(folder / "t.ts", g="8", bf="2"),
        "no timestamps": encode(folder / "raw.h264", g="8", bf="2"),
        "another codec": encode(folder / "m.avi", codec="mpeg4", g="9"),
    }
    paths["turned"] = turned(folder / "turned.mp4", paths["B-frames"])
    (folder / "images").mkdir()
    for i, frame in enumerate(open_video(paths["uneven times"])):
        cv2.imwrite(str(folder / "images" / f"{i}.png"), frame.image[..., ::-1])
    paths["images"] = folder / "images"
    return {name: (path, [frame.image for frame in open_video(path)]) for name, path in paths.items()}


NAMES = (
    "B-frames", "one keyframe", "open groups", "no keyframes later", "keyframes only", "uneven times",
    "transport stream", "no timestamps", "another codec", "turned", "images",
)  # fmt: skip
ORDERS = st.one_of(
    st.just(range(COUNT)),
    st.just(range(COUNT - 1, -1, -1)),
    st.lists(st.integers(-COUNT, COUNT - 1), min_size=1, max_size=30),
)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=ORDERS, room=st.sampled_from([1, 3, 20, 1000]))
def test_any_order_gives_the_pictures_that_iterating_gives(films, name, order, room):
    path, expected = films[name]
    frames = open_frames(path)
    if isinstance(frames, FileFrames):
        frames = FileFrames(open_video(path), cache_bytes=room * WIDTH * HEIGHT * 3)
    assert len(frames) == len(expected) == COUNT
    for i in order:
        assert np.array_equal(frames[i], expected[i]), (name, i)


@pytest.mark.parametrize("name", NAMES)
def test_streaming_and_times_agree_with_the_reader(films, name):
    path, expected = films[name]
    frames = open_frames(path)
    assert all(np.array_equal(a, b) for a, b in zip(frames, expected, strict=True))
    assert frames.times == [frame.time_s for frame in open_video(path)]
    assert (frames.height, frames.width) == expected[0].shape[:2]


def test_keyframes_spare_decoding(films, monkeypatch):
    """Backwards and at random a frame costs a few decoded ones, not the whole file."""
    path, _ = films["B-frames"]
    frames = FileFrames(open_video(path), cache_bytes=8 * WIDTH * HEIGHT * 3)
    assert len(frames) == COUNT and len(frames._keys) == 4
    decoded = []
    inner = FileFrames._decode

    def counting(self, key):
        for found in inner(self, key):
            decoded.append(found[0])
            yield found

    monkeypatch.setattr(FileFrames, "_decode", counting)
    for i in range(COUNT):
        frames[i]
    assert len(decoded) == COUNT
    decoded.clear()
    for i in range(COUNT - 1, -1, -1):
        frames[i]
    assert len(decoded) < 3.5 * COUNT
    decoded.clear()
    frames[38], frames[2], frames[37]
    assert len(decoded) < 40


def test_memory_stays_within_the_cache(tmp_path):
    path = encode(tmp_path / "long.mp4", count=80, g="1000")
    size = WIDTH * HEIGHT * 3
    frames = FileFrames(open_video(path), cache_bytes=5 * size)
    tracemalloc.start()
    for i in [*range(80), *range(79, -1, -1)]:
        frames[i]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * size and len(frames._kept) == 5


def test_a_frame_can_be_written_on(films):
    for name in ("B-frames", "images"):
        frames = open_frames(films[name][0])
        frames[3][:] = 0
        assert np.array_equal(frames[3], films[name][1][3])


def test_the_count_is_that_of_the_pictures_not_of_the_header(tmp_path):
    data = bytearray(encode(tmp_path / "a.mp4", count=60).read_bytes())
    at = data.index(b"stsz") + 4 + 8  # entries: 59 of 60 remain
    assert int.from_bytes(data[at : at + 4], "big") == 60
    data[at : at + 4] = (59).to_bytes(4, "big")
    (tmp_path / "b.mp4").write_bytes(bytes(data))
    for name in ("a.mp4", "b.mp4"):
        assert len(open_frames(tmp_path / name)) == sum(1 for _ in open_video(tmp_path / name))


def test_a_cut_file_says_so_when_counted(tmp_path):
    data = encode(tmp_path / "a.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    with pytest.raises(VideoError, match="cut"):
        len(open_frames(tmp_path / "cut.mkv"))


def test_arrays():
    images = [np.full((4, 6, 3), i, np.uint8) for i in range(5)]
    for source in (images, tuple(images), np.stack(images), open_frames(images)):
        frames = open_frames(source)
        assert (len(frames), frames.width, frames.height) == (5, 6, 4)
        assert [int(image[0, 0, 0]) for image in frames] == [0, 1, 2, 3, 4] and frames[-1][0, 0, 0] == 4
        assert frames[np.int64(2)][0, 0, 0] == 2
        with pytest.raises(IndexError):
            frames[5]
    with pytest.raises(VideoError, match="empty"):
        open_frames([])
    with pytest.raises(VideoError, match="uint8"):
        open_frames([np.zeros((4, 6, 3))])
    with pytest.raises(VideoError, match="frame 1"):
        list(open_frames([images[0], np.zeros((5, 6, 3), np.uint8)]))
    with pytest.raises(TypeError, match="generator"):
        open_frames(image for image in images)
