"""Space carving: a hollow that no outline shows comes out of the colours."""

import numpy as np
import pytest
from view_cases import around, look_at

from pose.camera import Camera
from pose.raster import inverse_depth, rasterize
from twin.hull import HullSettings, carve_hull
from twin.observation import Observation
from twin.surface import extract_surface, volume
from twin.tsdf_blocks import SIDE, Blocks

VOXEL = 0.005


def bowl():
    """A block of 12 x 12 x 7 cm with a round hollow of 8 cm across and 4 cm deep in its top."""
    blocks = Blocks(VOXEL, 0.02)
    blocks.add(np.argwhere(np.ones((6, 6, 4))).astype(np.int64) - [3, 3, 2])
    for n in range(blocks.count):
        p = (np.indices((SIDE,) * 3).reshape(3, -1).T + SIDE * blocks.places[n]) * VOXEL
        box = (np.abs(p) - [0.06, 0.06, 0.035]).max(1)
        blocks.distance[n] = np.maximum(box, 0.04 - np.linalg.norm(p - [0, 0, 0.035], axis=1))
        blocks.weight[n] = 1
    return extract_surface(blocks)


def photographs(mesh, eyes):
    """Pictures with a paint of patches of about 1 cm, the same from all sides."""
    middle = mesh.vertices[mesh.faces].mean(1)
    paint = np.random.default_rng(0).integers(30, 256, (40, 40, 40, 3))
    color = paint[tuple(np.floor(middle / 0.01).astype(int).T % 40)]
    for eye in eyes:
        camera = Camera.from_focal(200, 160, 330, look_at(eye))
        points = mesh.vertices @ camera.T_cam_base[:3, :3].T + camera.T_cam_base[:3, 3]
        face = rasterize(camera.project(points), inverse_depth(points[:, 2]), mesh.faces, 160, 200)[0]
        image = np.where((face >= 0)[..., None], color[np.maximum(face, 0)], 0).astype(np.uint8)
        yield Observation(camera, image, mask=face >= 0)


@pytest.fixture(scope="module")
def pictures():
    return list(photographs(bowl(), [*around(8, (0.5,)), *around(6, (1.0,)), *around(3, (1.4,))]))


def test_hollow_is_carved(pictures):
    """The hull fills the bowl; colours take most of it out and leave the outside where it is."""
    bounds = ((-0.1, -0.1, -0.035), (0.1, 0.1, 0.1))
    truth = volume(bowl())
    hull = carve_hull(pictures, HullSettings(VOXEL, bounds))
    carved = carve_hull(pictures, HullSettings(VOXEL, bounds, photo=True))
    assert volume(hull) > truth + 1e-4
    assert abs(volume(carved) - truth) < 0.5 * (volume(hull) - truth)
    inner = carved.vertices[np.linalg.norm(carved.vertices[:, :2], axis=1) < 0.015]
    assert np.median(inner[inner[:, 2] > -0.03, 2]) == pytest.approx(-0.003, abs=0.012)


def test_one_colour_stays_whole(pictures):
    plain = [Observation(p.camera, np.full_like(p.image, 90), mask=p.mask) for p in pictures]
    settings = HullSettings(VOXEL, ((-0.1, -0.1, -0.035), (0.1, 0.1, 0.1)))
    photo = HullSettings(**{**vars(settings), "photo": True})
    assert volume(carve_hull(plain, photo)) == pytest.approx(volume(carve_hull(plain, settings)))
