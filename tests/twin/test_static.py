"""Still backgrounds: what moved is gone, what it hid is filled from other times."""

from dataclasses import replace

import numpy as np
import pytest
from view_cases import look_at

from pose.camera import Camera
from twin.errors import TwinError
from twin.observation import Observation
from twin.static import StaticSettings, still_views
from twin.tsdf import fuse_depth

H, W = 48, 64
CAMERA = Camera.from_focal(W, H, 60, look_at((1.0, 0, 0.6)))
WALL = np.indices((H, W)).sum(0).astype(np.float32) / 100 + 1.0
PAPER = np.stack([np.full((H, W), 90), np.indices((H, W))[1] * 3, np.full((H, W), 30)], -1).astype(np.uint8)


def passing(frames=20, width=12, depth=True, seed=0):
    """A red bar crosses a wall; noise on depth and colour."""
    rng = np.random.default_rng(seed)
    for n in range(frames):
        image, z = PAPER.copy(), WALL + rng.normal(0, 0.003, (H, W)).astype(np.float32)
        at = n * (W + width) // frames - width
        bar = np.zeros((H, W), bool)
        bar[:, max(at, 0) : max(at + width, 0)] = True
        image[bar], z[bar] = (200, 0, 0), 0.7
        z[rng.random((H, W)) < 0.1] = 0  # holes come and go
        noisy = np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
        yield Observation(CAMERA, noisy, z if depth else None, mask=bar, view=3, time_s=n / 10)


def test_moving_bar_is_gone():
    """Depth and colours of the wall everywhere, with less noise than one picture has."""
    (plate,) = still_views(passing())
    assert plate.view == 3 and plate.camera is CAMERA and not plate.ignore.any()
    assert np.abs(plate.depth - WALL).mean() < 0.0012 and np.abs(plate.depth - WALL).max() < 0.008
    assert np.abs(plate.image.astype(int) - PAPER).max() < 8
    assert not plate.mask.any()


def test_colour_alone_tells_what_stays():
    (plate,) = still_views(passing(depth=False))
    assert plate.depth is None and np.abs(plate.image.astype(int) - PAPER).max() < 8


def test_a_thing_before_the_wall_for_most_of_the_time_is_looked_past():
    """Depth proves that a wall seen in a quarter of the pictures is there always."""
    pictures = [*passing(frames=8)]
    parked = np.zeros((H, W), bool)
    parked[10:30, 20:40] = True
    pictures = [replace(p, depth=np.where(parked & (n >= 2), 0.8, p.depth)) for n, p in enumerate(pictures * 1)]
    pictures = [replace(p, depth=np.where(p.depth == 0, WALL, p.depth)) for p in pictures]
    (plate,) = still_views(pictures, StaticSettings(min_votes=2))
    assert np.abs(plate.depth - WALL)[parked].max() < 0.02


def test_hidden_pixels_do_not_vote():
    """The robot's pixels are filled where it was away, and stay unknown where it never was."""
    robot = np.zeros((H, W), bool)
    robot[20:40, 30:50] = True
    pictures = []
    for n, p in enumerate(passing()):
        hidden = robot.copy()
        hidden[:, 40:] &= n % 2 == 0  # half of it is seen every other time
        image = np.where(hidden[..., None], np.uint8(255), p.image)
        pictures.append(replace(p, image=image, depth=np.where(hidden, 0.5, p.depth), ignore=hidden))
    (plate,) = still_views(pictures)
    never = robot.copy()
    never[:, 40:] = False
    assert (plate.ignore == never).all() and (plate.depth[never] == 0).all()
    assert np.abs(plate.depth - WALL)[~never].max() < 0.01


def test_views_apart_and_cameras_that_move():
    """Two views give two plates; a camera that moves gives each place on its own."""
    still = list(passing(frames=4))
    other = [replace(p, view=1) for p in still]
    assert [p.view for p in still_views([v for pair in zip(still, other) for v in pair])] == [3, 1]
    moved = CAMERA.T_cam_base.copy()
    moved[0, 3] += 0.05
    turn = [replace(p, camera=replace(CAMERA, T_cam_base=moved)) if n > 1 else p for n, p in enumerate(still)]
    assert len(list(still_views(turn))) == 2
    jitter = CAMERA.T_cam_base.copy()
    jitter[0, 3] += 0.001
    steady = [replace(p, camera=replace(CAMERA, T_cam_base=jitter)) if n > 1 else p for n, p in enumerate(still)]
    assert len(list(still_views(steady))) == 1


def test_background_without_the_bar():
    """The whole way: the fused wall has no bar before it."""
    mesh = fuse_depth(still_views(passing()))
    z = mesh.vertices @ CAMERA.T_cam_base[2, :3] + CAMERA.T_cam_base[2, 3]
    assert len(mesh.faces) > 1000 and z.min() > 0.95


def test_nothing_and_unfit():
    assert list(still_views([])) == []
    with pytest.raises(TwinError, match="min_votes"):
        list(still_views([], StaticSettings(min_votes=0)))
    with pytest.raises(TwinError, match="no pose"):
        list(still_views([replace(next(passing()), camera=Camera.from_focal(W, H, 60))]))
