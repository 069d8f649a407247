"""Surfaces of any field: closed where it is closed, every edge between two triangles, outwards."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.errors import TwinError
from twin.mesh import Mesh
from twin.surface import areas, extract_surface, part_sheets, volume, without_specks
from twin.tsdf_blocks import SIDE, Blocks


def field(shape, values):
    """Blocks at the origin (and below it) with `values(i, j, k)` metres in every voxel of 1 cm."""
    blocks = Blocks(0.01, 0.01)
    blocks.add(np.argwhere(np.ones(shape)).astype(np.int64) - 1)
    for n in range(blocks.count):
        i, j, k = (np.indices((SIDE,) * 3).reshape(3, -1).T + SIDE * blocks.places[n]).T
        blocks.distance[n], blocks.weight[n] = values(i, j, k), 1
    return blocks


def walled(noise):
    """Random values within a wall of air: every ambiguous case there is, many times."""

    def values(i, j, k):
        edge = (np.minimum(np.minimum(i, j), k) == -SIDE) | (np.maximum(np.maximum(i, j), k) == SIDE - 1)
        return np.where(edge, 1.0, noise[i, j, k])

    return field((2, 2, 2), values)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1, 1))
def test_noise_has_a_closed_manifold_surface(seed, level):
    noise = np.random.default_rng(seed).normal(level, 1, (2 * SIDE,) * 3)
    noise[8, 8, 8] = -1  # there is always something
    noise[8, 8, 9] = 1
    mesh = extract_surface(walled(noise))
    body = mesh.to_trimesh()
    assert body.is_watertight and body.is_winding_consistent
    assert volume(mesh) > 0


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(-0.01, 0.01), min_size=3, max_size=3), st.floats(0.05, 0.055))
def test_sphere_anywhere(center, radius):
    """The surface lies on the zero within a tenth of a voxel, across the borders of blocks and the origin."""

    def values(i, j, k):
        return np.linalg.norm(np.stack([i, j, k], -1) * 0.01 - center, axis=-1) - radius

    mesh = extract_surface(field((2, 2, 2), values))
    error = np.linalg.norm(mesh.vertices - center, axis=1) - radius
    assert np.abs(error).max() < 1e-3
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.1)
    assert mesh.to_trimesh().is_watertight


def test_unknown_voxels_end_the_surface():
    blocks = field((2, 2, 2), lambda i, j, k: 0.01 * k + 0.005)
    whole = areas(extract_surface(blocks)).sum()
    blocks.weight[np.flatnonzero(blocks.places[: blocks.count, 0] == 0)] = (
        0  # blocks of x >= 0: only the cells of x < 0 are left
    )
    mesh = extract_surface(blocks)
    assert areas(mesh).sum() < 0.52 * whole and mesh.vertices[:, 0].max() <= 0
    with pytest.raises(TwinError, match="nothing to fuse"):
        extract_surface(blocks, min_weight=2)


def test_specks_go():
    tetra = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
    both = Mesh(np.concatenate([tetra, 0.01 * tetra + 5]), np.concatenate([faces, faces + 4]))
    left = without_specks(both, 0.01)
    assert len(left.vertices) == 4 and len(left.faces) == 4 and volume(left) == pytest.approx(1 / 6)


def test_shared_edges_are_parted():
    """Two tetrahedra that share an edge: four triangles there become two and two."""
    points = np.array([[0, 0, 0], [0, 0, 1], [1, 0.5, 0.5], [1, -0.5, 0.5], [-1, 0.5, 0.5], [-1, -0.5, 0.5]], float)
    one = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    two = np.array([[0, 1, 4], [0, 5, 1], [0, 4, 5], [1, 5, 4]])
    mesh = Mesh(points, np.concatenate([one, two]).astype(np.int32), np.zeros((6, 3), np.uint8))
    assert not mesh.to_trimesh().is_watertight
    parted = part_sheets(mesh)
    assert parted.to_trimesh().is_watertight and volume(parted) == pytest.approx(volume(mesh))
