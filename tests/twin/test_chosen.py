"""The frames that get masks: few, of the same instants in every camera, and known by their numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segmentation.video import open_video
from twin import Rig, RigCamera
from twin.chosen import MasksAt, chosen_frames, frames_with_masks, masked_instants
from twin.sync import picture_motion, shifts

FAST, SLOW = np.arange(0, 10, 1 / 30), np.arange(0, 10, 1 / 12)


def make_rig(*clocks: np.ndarray) -> Rig:
    return Rig(tuple(RigCamera(f"cam{i}", lambda: open_video("never"), Path(), stamps=c) for i, c in enumerate(clocks)))


def test_cameras_of_other_rates_and_clocks_show_the_same_instants():
    rig = make_rig(FAST, SLOW + 0.31)
    chosen = chosen_frames(rig, 50)
    assert all(20 < len(mine) <= 50 for mine in chosen)
    masks = [MasksAt([{"robot": np.full((1, 1), n)} for n in mine], mine, 999) for mine in chosen]
    times, frames = masked_instants(rig, masks, 25)
    assert 12 < len(times) <= 25
    for camera, row, mine in zip(rig.cameras, frames, chosen):
        seen = row >= 0
        assert seen.mean() > 0.9 and set(row[seen]) <= set(mine)
        assert np.abs(camera.times[row[seen]] - times[seen]).max() <= rig.tolerance


def test_a_camera_of_another_time_has_frames_of_its_own():
    chosen = chosen_frames(make_rig(FAST, FAST, FAST + 100), 50)
    assert (chosen[2] == np.arange(0, 300, 6)).all()


def test_masks_go_by_the_numbers_of_frames():
    masks = MasksAt([{"robot": np.array([[5]])}, {"robot": np.array([[9]])}], [5, 9], 12)
    assert masks[9]["robot"][0, 0] == 9 and masks[6] is None and len(masks) == 12
    assert frames_with_masks(masks).tolist() == [5, 9] and frames_with_masks([{}, {}]).tolist() == [0, 1]
    with pytest.raises(IndexError):
        masks[12]


def test_pictures_tell_the_clock_from_both_sides():
    """A bright square that goes and stops, seen large and small, on clocks that differ by 0.4 s."""
    knots = np.random.default_rng(4).uniform(0, 1, 24) ** 3
    clock = np.arange(-1, 12, 0.001)
    place = np.cumsum(np.interp(clock, np.linspace(-1, 12, len(knots)), knots)) * 0.01

    def pictures(times: np.ndarray, scale: float):
        for x in np.interp(times, clock, place):
            image = np.zeros((72, 96, 3), np.uint8)
            left = int(scale * x) % 70
            image[20 : 20 + int(20 * scale), left : left + 20] = 200
            yield image

    rig = make_rig(FAST, SLOW)
    curves = [picture_motion(pictures(FAST, 1.0), FAST), picture_motion(pictures(SLOW + 0.4, 1.6), SLOW)]
    assert shifts(rig, curves) == pytest.approx([0, 0.4], abs=0.05)
    exposure = [np.full((72, 96, 3), 100 + 40 * (t % 2), np.uint8) for t in range(len(FAST))]
    assert np.ptp(picture_motion(exposure, FAST)) == 0
    assert shifts(replace(rig, cameras=rig.cameras[:1]), curves[:1]) == [0]
