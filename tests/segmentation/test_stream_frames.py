"""Frames of readers that only run forward: the same as iterating, in any order, with room for few."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentation import VideoError
from segmentation.frames import open_frames
from segmentation.stream_frames import StreamFrames
from segmentation.video import Frame, VideoReader

COUNT = 12


class Counted(VideoReader):
    """Frames whose brightness is their number."""

    path, width, height, fps, frame_count = "counted", 8, 4, 5.0, COUNT

    def __init__(self, count=COUNT):
        self.count, self.runs = count, 0

    def __iter__(self):
        self.runs += 1
        for i in range(self.count):
            yield Frame(i, i / 5, np.full((4, 8, 3), i, np.uint8))


@given(st.lists(st.integers(-COUNT, COUNT - 1), max_size=30), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_any_order_gives_the_same(order, room):
    frames = StreamFrames(Counted(), cache_bytes=room * 4 * 8 * 3)
    assert len(frames) == COUNT and frames.times[-1] == pytest.approx(2.2)
    assert [int(frames[i][0, 0, 0]) for i in order] == [i % COUNT for i in order]
    assert len(frames._kept) <= room


def test_forward_reads_once_and_pictures_are_the_callers():
    reader = Counted()
    frames = open_frames(reader)
    assert [int(image[0, 0, 0]) for image in frames] == list(range(COUNT)) and reader.runs == 1
    for i in range(COUNT):
        frames[i][:] = 99
    assert [int(frames[i][0, 0, 0]) for i in range(COUNT)] == list(range(COUNT)) and reader.runs == 2
    with pytest.raises(IndexError):
        frames[COUNT]


def test_one_that_became_shorter_is_told():
    reader = Counted()
    frames = open_frames(reader)
    assert len(frames) == COUNT
    reader.count = 3
    with pytest.raises(VideoError, match="ends before frame 5"):
        frames[5]
