"""Hulls that outlines allow but no picture needs; and what a plane looks like behind the things on it."""

from __future__ import annotations

import cv2
import numpy as np
import trimesh

from twin import Mesh, Observation
from twin.hull import HullSettings, carve_hull
from twin.hull_ghosts import pieces_of, without_ghosts
from twin.picture import draw, looking
from twin.plane_picture import plane_picture

PLACES = ((0.0, 0.0, 0.1), (0.3, 0.0, 0.1), (0.0, 0.3, 0.1))


def _box(place: tuple[float, float, float]) -> Mesh:
    shape = trimesh.creation.box((0.06, 0.06, 0.06))
    return Mesh(np.asarray(shape.vertices) + place, np.asarray(shape.faces, np.int32))


def _views() -> list[Observation]:
    """Three boxes in a corner's shape from two sides: where the fourth corner is, a fourth hull fits."""
    views = []
    for eye in ((0.15, 3.0, 0.1), (3.0, 0.15, 0.1)):
        camera = looking(eye, (0.15, 0.15, 0.1), (320, 240), 900)
        drawn = draw([_box(place) for place in PLACES], camera)
        views.append(Observation(camera, drawn.image, mask=drawn.depth > 0))
    return views


def test_a_hull_that_explains_nothing_alone_is_a_ghost():
    views = _views()
    hull = carve_hull(views, HullSettings(voxel=0.005, bounds=((-0.2, -0.2, 0), (0.5, 0.5, 0.3))))
    assert pieces_of(hull).max() == 3  # four: two views of three boxes allow one more
    kept, gone = without_ghosts(hull, views)
    # two hulls across the corner explain all that two views saw: which two cannot be known, what is not needed goes
    assert gone == 2 and pieces_of(kept).max() == 1
    for view in views:
        left = draw([kept], view.camera).depth > 0
        assert (left & view.mask).sum() > 0.95 * view.mask.sum()


def test_views_with_a_side_of_their_own_keep_every_thing():
    views = _views()
    third = looking((1.8, 1.7, 2.0), (0.15, 0.15, 0.1), (320, 240), 900)
    drawn = draw([_box(place) for place in PLACES], third)
    views.append(Observation(third, drawn.image, mask=drawn.depth > 0))
    hull = carve_hull(views, HullSettings(voxel=0.005, bounds=((-0.2, -0.2, 0), (0.5, 0.5, 0.3))))
    kept, gone = without_ghosts(hull, views)
    assert gone == 0 and pieces_of(kept).max() == 2 and len(kept.faces) == len(hull.faces)


def test_a_plane_ends_at_its_edge_and_is_known_behind_things_and_shadows():
    """A brown table beside a grey floor; two views see a red thing at other cells, and the same green foot."""
    table = np.full((250, 300, 3), (180, 130, 90), np.float32)
    table[:, ::20] -= 15  # joints between planks
    table[100:130, 200:230] *= 0.7  # a shadow lies on it for all
    maps = np.repeat(table[None], 3, 0)
    maps[:, :, :50] = (120, 122, 125)
    maps[0, 40:80, 120:160] = maps[1, 60:100, 120:160] = (200, 40, 40)
    maps[:, 180:192, 120:132] = (30, 140, 60)
    maps[0, 150:180, 120:132] = maps[1, 180:192, 132:170] = maps[2, 192:220, 120:132] = (30, 140, 60)
    maps[0, 110:140, 210:240] = (200, 40, 40)  # partly over the shadow
    maps += np.random.default_rng(0).normal(0, 2, maps.shape).astype(np.float32)
    found = plane_picture(maps, np.ones(maps.shape[:3], bool))
    assert found.own[5:-5, 60:-5].all() and not found.own[:, :44].any()
    apart = np.abs(cv2.blur(found.color - table, (3, 3))).max(-1)[5:-5, 60:-5]
    assert np.percentile(apart, 99) < 12
    assert apart[180:185, 62:70].max() < 20  # under the green foot, which all views agree about
