"""Plate, matte, light and shadow, each against a picture whose truth is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from flows.augmentation.light import estimate_lighting
from flows.augmentation.matte import composite, encoded, linear, own_colour, soft_matte
from flows.augmentation.plate import Plate, background_plate, paint_in
from flows.augmentation.scene import Shadows, cropped
from flows.job import robot_of
from flows.sample import sample_camera, sample_motion
from pose.shading import DEFAULT_LIGHTS, Light, plain_room, render_color


def test_plate_is_the_median_of_what_is_seen() -> None:
    """A block that moves leaves no trace; where it always stood, nothing is known."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.integers(60, 200, (6, 8, 3), dtype=np.uint8), (160, 120))
    pictures, hidden = [], []
    for x in range(0, 100, 10):
        picture = ground + rng.normal(0, 3, ground.shape)
        covered = np.zeros(ground.shape[:2], bool)
        covered[40:60, x : x + 30] = covered[100:110, 100:120] = True
        picture[covered] = 255
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
        hidden.append(covered)
    plate = background_plate(pictures, hidden)
    assert not plate.seen[100:110, 100:120].any() and plate.seen.sum() == plate.seen.size - 200
    error = np.abs(plate.image.astype(int) - ground)[plate.seen]
    assert np.percentile(error, 99) < 6
    assert 2.0 < plate.noise < 3.5
    with pytest.raises(ValueError, match="no pictures"):
        background_plate([], [])


def test_holes_take_their_surroundings() -> None:
    """Small and large holes in a plain colour are filled with it; nothing seen at all gives grey."""
    image = np.full((120, 160, 3), (90, 120, 150), np.uint8)
    for size in (4, 60):
        hole = np.zeros((120, 160), bool)
        hole[30 : 30 + size, 50 : 50 + size] = True
        filled = paint_in(np.where(hole[..., None], 0, image).astype(np.uint8), hole)
        assert np.abs(filled.astype(int) - image).max() <= 3
    assert (paint_in(image, np.ones((120, 160), bool)) == 128).all()


@pytest.fixture(scope="module")
def soft_picture() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A light disc with a soft edge on a dark red ground: picture, true alpha, front and ground (linear)."""
    y, x = np.mgrid[:240, :320]
    alpha = np.clip((80 - np.hypot(x - 160, y - 120)) / 4 + 0.5, 0, 1).astype(np.float32)
    front, ground = np.full((240, 320, 3), 0.6, np.float32), np.full((240, 320, 3), (0.3, 0.02, 0.02), np.float32)
    return encoded(composite(front, alpha, ground)), alpha, front, ground


def test_matte(soft_picture: tuple) -> None:
    """Nearer to the true alpha than the mask is, and exactly 0 and 1 away from the outline."""
    picture, alpha, _, _ = soft_picture
    mask = alpha > 0.5
    found = soft_matte(picture, mask)
    edge = (alpha > 0) & (alpha < 1)
    assert np.abs(found - alpha)[edge].mean() < 0.75 * np.abs(mask - alpha)[edge].mean()
    far = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5) > 6
    assert (found[far] == 1).all()
    assert (found[cv2.dilate(mask.astype(np.uint8), np.ones((13, 13))) == 0] == 0).all()


def test_no_rim_of_the_old_ground(soft_picture: tuple) -> None:
    """Before blue, a cut along the matte alone has a red rim; with the robot's own colour, less than half of it."""
    picture, alpha, front, _ = soft_picture
    blue = np.full_like(front, (0.02, 0.02, 0.4))
    right = composite(front, alpha, blue)
    edge = (alpha > 0.1) & (alpha < 0.9)
    plain = np.abs(composite(linear(picture), alpha, blue) - right)[edge].mean()
    clean = np.abs(composite(own_colour(linear(picture), alpha), alpha, blue) - right)[edge].mean()
    assert clean < 0.5 * plain


@pytest.mark.parametrize("direction", [(0.4, -0.6, 0.7), (-0.7, 0.3, 0.65)])
def test_light_is_found(direction: tuple[float, float, float]) -> None:
    """The strongest light found points to within 40 degrees of the true one, and a new picture looks like the old."""
    robot, camera = robot_of("panda"), sample_camera().scaled(0.375)
    q, _ = sample_motion(6)
    plate = Plate(np.full((180, 240, 3), 90, np.uint8), np.ones((180, 240), bool), 0.0)
    settings = {"lights": (Light(direction, (0.6, 0.55, 0.45), 0.12),), "surroundings": plain_room() * 0.5}
    samples = []
    for t in (0, 3, 5):
        drawn = render_color(robot, q[t], camera, background=plate.image, exposure=1.0, mesh=robot.mesh, **settings)
        samples.append((drawn.rgb, drawn.part > 0, q[t]))
    found = estimate_lighting(robot, camera, samples, plate)
    strongest = max(found.lights, key=lambda light: sum(light.color))
    angle = np.degrees(np.arccos(np.dot(strongest.direction, direction) / np.linalg.norm(direction)))
    assert angle < 40
    assert strongest.color[2] < strongest.color[0]  # yellow light stays yellow
    assert found.misfit < 8 and found.blur <= 0.7


def test_light_without_a_robot_is_an_ordinary_one() -> None:
    plate = Plate(np.zeros((12, 16, 3), np.uint8), np.ones((12, 16), bool), 1.0)
    found = estimate_lighting(robot_of("panda"), sample_camera().scaled(0.025), [], plate)
    assert found.lights == DEFAULT_LIGHTS and np.isnan(found.misfit) and found.noise == 1.0


def test_shadow_lies_away_from_the_light() -> None:
    """A lamp on one side darkens the table on the other, and leaves it alone far off."""
    robot, camera = robot_of("panda"), sample_camera().scaled(0.25)
    q = sample_motion(2)[0][0]
    plate = Plate(np.zeros((120, 160, 3), np.uint8), np.ones((120, 160), bool), 0.0)
    plain = estimate_lighting(robot, camera, [], plate)
    dark = {}
    for side in (-1.0, 1.0):
        lighting = type(plain)((Light((0.0, side, 0.8), (0.8,) * 3, 0.1),), plain_room() * 0.3, 0.5, 0.0, 0.0)
        factor = Shadows(robot, camera, lighting).at(q)
        assert factor.shape == (120, 160, 1) and factor.max() <= 1 and factor.min() < 0.7
        assert factor[:20].min() > 0.95  # above the table's edge
        weight = (1 - factor[..., 0]) ** 2
        dark[side] = float((weight * np.arange(160)).sum() / weight.sum())
    # seen from the front left of the robot, +y of the base is to the right of the picture
    assert dark[-1.0] > dark[1.0] + 10


def test_crops_keep_the_shape() -> None:
    rng = np.random.default_rng(0)
    for shape in ((40, 300), (300, 40), (30, 40), (1200, 1600)):
        assert cropped(rng, np.zeros((*shape, 3), np.uint8), 160, 120).shape == (120, 160, 3)
