"""Reading what the test itself encoded, and refusing what is no video."""

import tracemalloc
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from segmentation import VideoError, open_video


def picture(index, width=96, height=64):
    """A picture that says which frame it is by its brightness."""
    image = np.full((height, width, 3), 20 + 6 * (index % 38), np.uint8)
    image[:8, :8] = (250, 10, 10)  # red corner: shows turns, mirroring and swapped channels
    return image


def encode(path, count=20, fps=10, width=96, height=64, times=None, codec="libx264"):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, 1000)
        stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(picture(i, width, height), format="rgb24")
            frame.pts = round(1000 * (times[i] if times else i / fps))
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_every_frame_comes_back_in_order_with_its_time(tmp_path, suffix):
    video = open_video(encode(tmp_path / f"v.{suffix}"))
    assert (video.width, video.height, round(video.fps)) == (96, 64, 10)
    assert video.frame_count in (20, None)
    for _ in range(2):  # again from the start
        frames = list(video)
        assert [f.index for f in frames] == list(range(20))
        assert np.allclose([f.time_s for f in frames], np.arange(20) / 10, atol=2e-3)
        for f in frames:
            assert f.image.shape == (64, 96, 3) and f.image.dtype == np.uint8
            assert abs(float(f.image[20:, 20:].mean()) - (20 + 6 * f.index)) < 4
    red, _, blue = frames[0].image[2:6, 2:6].reshape(-1, 3).mean(0)
    assert red > 180 > 80 > blue


def test_a_varying_frame_rate_keeps_its_timestamps(tmp_path):
    times = [0, 0.1, 0.15, 0.4, 0.45, 1.0, 1.2, 1.25]
    video = open_video(encode(tmp_path / "v.mkv", count=8, times=times))
    assert np.allclose([f.time_s for f in video], times, atol=2e-3)


def test_a_video_that_starts_late_counts_from_zero(tmp_path):
    video = open_video(encode(tmp_path / "v.mkv", count=4, times=[5, 5.1, 5.2, 5.3]))
    assert np.allclose([f.time_s for f in video], [0, 0.1, 0.2, 0.3], atol=2e-3)


def test_rotation_metadata_turns_the_picture(tmp_path):
    plain = encode(tmp_path / "plain.mp4", count=3)
    data = bytearray(plain.read_bytes())
    # the track header's display matrix: identity -> a turn by 90 degrees clockwise
    at = data.index(b"tkhd") + 4 + 40
    turn = [0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000]
    data[at : at + 36] = b"".join(int(v).to_bytes(4, "big", signed=True) for v in turn)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(bytes(data))
    video = open_video(turned)
    assert (video.width, video.height) == (64, 96)
    image = next(iter(video)).image
    assert image[2:6, -6:-2, 0].mean() > 180 and image[2:6, -6:-2, 2].mean() < 80  # the red corner went right


def test_a_folder_is_read_in_natural_order(tmp_path):
    for i in (0, 1, 2, 10, 11):
        cv2.imwrite(str(tmp_path / f"frame{i}.png"), picture(i)[..., ::-1])
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_bytes(b"")
    video = open_video(tmp_path, fps=5)
    assert (video.frame_count, video.width, video.height, video.fps) == (5, 96, 64, 5.0)
    levels = [(int(f.image[30, 30, 0]) - 20) // 6 for f in video]
    assert levels == [0, 1, 2, 10, 11]
    assert [f.time_s for f in video] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert next(iter(video)).image[2, 2].tolist() == [250, 10, 10]


def test_memory_does_not_grow_with_the_length(tmp_path):
    video = open_video(encode(tmp_path / "long.mp4", count=150, fps=30, width=320, height=240))
    tracemalloc.start()
    for _ in video:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * 320 * 240 * 3


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


def test_missing_empty_and_foreign_files(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("this is no video\n" * 50)
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "nothing").mkdir()
    for name, words in {
        "missing.mp4": "no such file",
        "empty.mp4": "empty",
        "text.mp4": "not a readable video",
        "noise.mp4": "not a readable video",
        "nothing": "no images",
    }.items():
        with pytest.raises(VideoError) as error:
            list(open_video(tmp_path / name))
        assert words in one_line(error) and name in one_line(error)


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match="no video stream"):
        open_video(path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_file_cut_off_says_so(tmp_path, share, suffix):
    data = encode(tmp_path / f"whole.{suffix}", count=60, fps=30, width=320, height=240).read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(VideoError) as error:
        list(open_video(cut))
    assert "cut" in one_line(error)


def test_images_of_two_sizes_or_a_broken_one(tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), picture(0))
    cv2.imwrite(str(tmp_path / "1.png"), picture(1, 48, 64))
    with pytest.raises(VideoError, match=r"1\.png: 48x64.*96x64"):
        list(open_video(tmp_path))
    (tmp_path / "1.png").write_bytes(b"broken")
    with pytest.raises(VideoError, match="not a readable image"):
        list(open_video(tmp_path))
