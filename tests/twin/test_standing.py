"""Bodies that end above their plane, or meet it in a point, are made to stand; those that stand stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from twin.mesh import Mesh
from twin.planes import Plane
from twin.standing import stood, with_sole

VOXEL = 0.004
ORIGIN = np.array([-0.12, -0.12, -0.05])
GRID = ORIGIN + VOXEL * np.stack(np.meshgrid(*[np.arange(60)] * 3, indexing="ij"), -1)
LEVEL = Plane(np.array([0.0, 0, 1]), 0.0, np.zeros((0, 2)), 1.0)


def cylinder(radius: float, low: float, high: float, at: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    side = np.hypot(GRID[..., 0] - at[0], GRID[..., 1] - at[1]) - radius
    return np.maximum(side, np.maximum(low - GRID[..., 2], GRID[..., 2] - high))


def cone(radius: float, tip: float, high: float) -> np.ndarray:
    """Its tip down."""
    slope = radius / (high - tip)
    side = np.hypot(GRID[..., 0], GRID[..., 1]) - slope * (GRID[..., 2] - tip)
    return np.maximum(side, GRID[..., 2] - high)


def sole(distance: np.ndarray, plane: Plane = LEVEL) -> np.ndarray:
    """(N,3) points of the body in the layer on the plane."""
    inside = GRID[distance < 0]
    height = plane.height(inside)
    return inside[(height >= 0) & (height < VOXEL)]


def test_what_stands_stays_to_the_bit():
    standing = cylinder(0.04, 0.0, 0.1)
    assert stood(standing, ORIGIN, VOXEL, LEVEL) is standing
    bowl = np.maximum(cylinder(0.06, 0.0, 0.08), -cylinder(0.05, 0.01, 0.2))
    assert stood(bowl, ORIGIN, VOXEL, LEVEL) is bowl


def test_a_floating_body_comes_down_with_its_own_section():
    floating = cylinder(0.04, 0.013, 0.1)
    assert not len(sole(floating))
    down = stood(floating, ORIGIN, VOXEL, LEVEL)
    got = sole(down)
    assert np.pi * 0.04**2 == pytest.approx(len(got) * VOXEL**2, rel=0.1)
    assert np.hypot(*got[:, :2].T).max() <= 0.04
    # nothing grows above, nothing goes below the plane
    np.testing.assert_array_equal(down[..., 20:] < 0, floating[..., 20:] < 0)
    assert not (down[GRID[..., 2] < 0] < 0).any()


def test_a_tip_gets_the_lowest_section_that_carries():
    down = stood(cone(0.06, 0.0, 0.12), ORIGIN, VOXEL, LEVEL)
    got = sole(down)
    radius = np.hypot(*got[:, :2].T).max()
    assert VOXEL < radius < 0.03


def test_the_weight_lies_over_the_sole():
    """A leg at one side of a wide top: the sole reaches under the top's middle."""
    mushroom = np.minimum(cylinder(0.01, 0.0, 0.03, (0.03, 0.0)), cylinder(0.05, 0.03, 0.09))
    down = stood(mushroom, ORIGIN, VOXEL, LEVEL)
    weight = GRID[down < 0].mean(0)
    got = sole(down)
    assert got[:, 0].min() < weight[0] - 0.01 and got[:, 0].max() > weight[0] + 0.01


def test_a_slanted_plane():
    R = Rotation.from_euler("y", 8, degrees=True).as_matrix()
    plane = Plane(R[:, 2], 0.0, np.zeros((0, 2)), 1.0)
    local = GRID @ R
    side = np.hypot(local[..., 0], local[..., 1]) - 0.03
    floating = np.maximum(side, np.maximum(0.012 - local[..., 2], local[..., 2] - 0.1))
    got = sole(stood(floating, ORIGIN, VOXEL, plane), plane)
    assert np.hypot(*(got @ R)[:, :2].T).max() <= 0.031
    assert len(got) * VOXEL**2 == pytest.approx(np.pi * 0.03**2, rel=0.15)


def test_specks_and_what_no_section_carries_stay():
    speck = np.full(GRID.shape[:3], 1.0)
    speck[30, 30, 30] = -0.001
    assert stood(speck, ORIGIN, VOXEL, LEVEL) is speck
    # a far-off foot under a flat board: its lower half has no section under the weight
    gallows = np.minimum(cylinder(0.01, 0.0, 0.12, (-0.08, 0.0)), cylinder(0.04, 0.09, 0.11, (0.06, 0.0)))
    assert stood(gallows, ORIGIN, VOXEL, LEVEL) is gallows


def box(size: tuple[float, float, float], at: tuple[float, float, float]) -> Mesh:
    made = trimesh.creation.box(size).subdivide().subdivide()
    return Mesh(np.asarray(made.vertices) + at, np.asarray(made.faces, np.int32))


def test_pieces_that_hang_in_the_air_get_a_sole():
    visual = box((0.08, 0.06, 0.1), (0, 0, 0.05))
    short = box((0.08, 0.06, 0.09), (0, 0, 0.055))
    one, sole = with_sole((short,), visual, np.array([0, 0, 0.05]))
    assert one is short and sole.vertices[:, 2].min() == pytest.approx(0)
    np.testing.assert_allclose(np.ptp(sole.vertices[:, :2], axis=0), (0.08, 0.06), atol=1e-6)


def test_pieces_that_touch_beside_the_weight_get_one_too():
    visual = box((0.08, 0.06, 0.1), (0, 0, 0.05))
    leg, top = box((0.01, 0.06, 0.1), (-0.035, 0, 0.05)), box((0.08, 0.06, 0.05), (0, 0, 0.075))
    assert len(with_sole((leg, top), visual, np.array([0, 0, 0.05]))) == 3
    assert with_sole((visual,), visual, np.array([0, 0, 0.05])) == (visual,)
