"""Visual hulls: cones of outlines meet where they should, hidden pixels do not carve."""

from dataclasses import replace

import numpy as np
import pytest
from view_cases import RADIUS, around, sphere_view

from twin.errors import TwinError
from twin.hull import HullSettings, carve_hull
from twin.hull_outlines import signed_distance
from twin.surface import volume


def test_sphere():
    """24 masks of a sphere: closed, outwards, a little too large as hulls are."""
    mesh = carve_hull(sphere_view(eye) for eye in around(8, (-0.9, 0, 0.9)))
    radius = np.linalg.norm(mesh.vertices, axis=1)
    assert np.abs(np.median(radius) - RADIUS) < 2e-3
    assert radius.min() > RADIUS - 2e-3 and radius.max() < RADIUS + 0.012
    assert mesh.to_trimesh().is_watertight and volume(mesh) == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.12)
    assert mesh.colors is not None and np.abs(mesh.colors.astype(int) - [200, 100, 50]).max() <= 1


def test_hidden_pixels_do_not_carve():
    """A robot that hides half the sphere in one view takes nothing of the hull."""
    views = [sphere_view(eye) for eye in around(8, (-0.9, 0, 0.9))]
    whole = carve_hull(views)
    hidden = np.zeros(views[0].mask.shape, bool)
    hidden[:, :48] = True
    views[0] = replace(views[0], ignore=hidden, mask=views[0].mask & ~hidden)
    part = carve_hull(views)
    assert volume(part) == pytest.approx(volume(whole), rel=0.02)
    views[0] = replace(views[0], ignore=None)
    assert volume(carve_hull(views)) < 0.6 * volume(whole)
    assert volume(carve_hull(views, HullSettings(misses=1))) > 0.95 * volume(whole)


def test_bounds_close_the_hull():
    """Two views leave a body that is long; bounds cut it flat, and it stays closed."""
    views = [sphere_view((0.5, 0, 0)), sphere_view((0, 0.5, 0.0))]
    bounds = ((-0.2, -0.2, 0.0), (0.2, 0.2, 0.2))
    mesh = carve_hull(views, HullSettings(bounds=bounds))
    assert mesh.to_trimesh().is_watertight and volume(mesh) > 0
    assert abs(mesh.vertices[:, 2].min()) < 1e-6


def test_signed_distance_lies_half_way():
    mask = np.zeros((40, 40), bool)
    mask[:, 20:] = True
    field = signed_distance(mask, None) / 16
    assert field[20, 19] == pytest.approx(-0.5, abs=0.2) and field[20, 20] == pytest.approx(0.5, abs=0.2)
    assert field[20, 30] == pytest.approx(10.5, abs=0.1)


def test_sizes_may_differ():
    """Pictures of several sizes, one with a skewed K, make one hull."""
    views = [sphere_view(eye) for eye in around(6, (-0.5, 0.5))]
    views += [sphere_view(eye, size=(160, 130), focal=260) for eye in around(6, (0.0,))]
    assert volume(carve_hull(views)) == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.15)


@pytest.mark.parametrize(
    ("views", "settings", "message"),
    [
        ([], {}, "nothing to carve"),
        ([replace(sphere_view((0.5, 0, 0)), mask=None)], {}, "nothing to carve"),
        ([replace(sphere_view((0.5, 0, 0)), mask=np.zeros((72, 96), bool))], {}, "nothing to carve"),
        ([sphere_view((0.5, 0, 0))], {"bounds": ((0, 0, 0), (0, 1, 1))}, "low < high"),
        ([sphere_view((0.5, 0, 0))], {"misses": -1}, "misses"),
        ([sphere_view((0.5, 0, 0))], {"memory_gb": 1e-5}, "GB"),
        ([sphere_view((0.5, 0, 0))], {"bounds": ((1.0, 1.0, 1.0), (2, 2, 2))}, "nothing left"),
    ],
)
def test_unfit_input_is_refused(views, settings, message):
    with pytest.raises(TwinError, match=message):
        carve_hull(views, HullSettings(**settings))
