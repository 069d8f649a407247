"""Depth fusion: exact shapes come back, noise and wrong depths do not."""

from dataclasses import replace

import numpy as np
import pytest
from view_cases import RADIUS, around, look_at, sphere_view

from pose.camera import Camera
from twin.errors import TwinError
from twin.observation import Observation
from twin.surface import areas, volume
from twin.tsdf import TsdfSettings, Volume, fuse_depth
from twin.tsdf_blocks import Blocks, find, insert_all
from twin.tsdf_depth import clean_depth, fill_gaps, slant


def test_sphere_comes_back_closed_and_outwards():
    """32 pictures of a sphere of 80 mm at voxels of 4 mm: a closed surface within a tenth of a voxel."""
    mesh = fuse_depth(sphere_view(eye) for eye in around(8, (-1.2, -0.4, 0.4, 1.2)))
    error = np.linalg.norm(mesh.vertices, axis=1) - RADIUS
    assert np.abs(error.mean()) < 4e-4 and error.std() < 4e-4 and np.abs(error).max() < 2e-3
    assert mesh.to_trimesh().is_watertight and mesh.to_trimesh().is_winding_consistent
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.02)
    assert mesh.colors is not None and (mesh.colors == [200, 100, 50]).all()


def test_plane_is_exact_and_open():
    """A slanted plane seen once: fused distances are those across the plane, so its vertices lie on it."""
    camera = Camera.from_focal(96, 72, 90, look_at((0.3, 0.2, 0.8), (0, 0, 0)))
    T_base_cam = np.linalg.inv(camera.T_cam_base)
    v, u = np.indices((72, 96))
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(camera.K).T @ T_base_cam[:3, :3].T
    depth = (-T_base_cam[2, 3] / rays[..., 2]).astype(np.float32)  # where z is 0 in the base frame
    mesh = fuse_depth([Observation(camera, np.full((72, 96, 3), 9, np.uint8), depth)])
    off = np.abs(mesh.vertices[:, 2])
    assert np.quantile(off, 0.999) < 1e-6 and off.max() < 1e-3  # the picture's corners are no pixels with neighbours
    up = mesh.to_trimesh().face_normals[:, 2]  # by area: voxels lie on this plane, and rounding makes empty slivers
    assert np.average(up, weights=areas(mesh)) > 0.9999
    assert (up[areas(mesh) > 1e-6] > 0.5).all()  # towards the camera, also where the surface ends


def test_flying_pixels_and_free_space():
    """Wrong depths before the sphere are filtered alone, and carved away by other views where they come in patches."""
    views = [sphere_view(eye) for eye in around(8, (-0.4, 0.4))]
    rng = np.random.default_rng(0)
    for n, view in enumerate(views):
        view.depth[view.depth == 0] = 0.8  # a wall behind the sphere, by which all see that the air is free
        view.depth[rng.random(view.depth.shape) < 0.01] = 0.3
        if n == 0:
            view.depth[20:40, 20:40] = 0.36  # believed by this view alone
    mesh = fuse_depth(views, TsdfSettings(bounds=((-0.2,) * 3, (0.2,) * 3)))
    error = np.linalg.norm(mesh.vertices, axis=1) - RADIUS
    assert np.abs(error).max() < 4e-3


def test_ignored_pixels_build_nothing():
    view = sphere_view((0.5, 0, 0))
    left = np.zeros(view.depth.shape, bool)
    left[:, : view.depth.shape[1] // 2] = True
    seen = Observation(view.camera, view.image, view.depth, ignore=left)
    pixels = view.camera.project(fuse_depth([seen]).vertices @ view.camera.T_cam_base[:3, :3].T + [0, 0, 0.5])
    assert pixels[:, 0].min() > view.depth.shape[1] / 2 - 3


def test_slant_of_a_plane():
    """The cosine of a tilted plane, everywhere in the picture, against the rays' angle with its normal."""
    K = np.array([[200, 0, 50], [0, 220, 40], [0, 0, 1.0]])
    v, u = np.indices((80, 100))
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(K).T
    normal = np.array([0.5, 0.1, -0.8]) / np.linalg.norm([0.5, 0.1, -0.8])
    depth = -1.0 / (rays @ normal)
    expected = np.abs(rays @ normal) / np.linalg.norm(rays, axis=-1)
    assert np.abs(slant(depth, K) - expected).max() < 1e-4


def test_clean_depth_keeps_edges_and_drops_what_flies():
    depth = np.full((20, 20), 1.0, np.float32)
    depth[5:15, 5:15] = 0.8
    depth[3, 3] = 0.9  # alone
    depth[5:15, 15] = np.linspace(0.82, 0.97, 10)  # a seam of pixels between front and back
    depth[0, 0], depth[0, 1] = np.nan, np.inf
    clean = clean_depth(depth)
    assert (clean[6:14, 5:14] > 0).all() and (clean[8:12, 17] > 0).all()
    assert clean[3, 3] == 0 and (clean[7:13, 15] == 0).all() and clean[0, 0] == 0 and clean[0, 1] == 0


def test_blocks_are_found_again():
    """Places on both sides of the origin, with collisions, all found; absent ones not."""
    blocks = Blocks(0.01, 0.02)
    rng = np.random.default_rng(1)
    places = np.unique(rng.integers(-2000, 2000, (1500, 3)), axis=0).astype(np.int64)
    blocks.add(places)
    blocks.add(places[::-1].copy())  # nothing is added twice
    assert blocks.count == len(places)
    assert (blocks.places[: blocks.count] == places).all()
    numbers = [find(blocks.keys, blocks.values, *place) for place in places]
    assert numbers == list(range(len(places)))
    assert find(blocks.keys, blocks.values, 5000, 0, 0) == -1
    assert insert_all(blocks.keys, blocks.values, blocks.places, blocks.count, places) == len(places)


def test_memory_is_a_limit():
    with pytest.raises(TwinError, match="voxels of 4 mm"):
        fuse_depth([sphere_view((0.5, 0, 0))], TsdfSettings(memory_gb=0.0005))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": np.zeros((5, 5), np.float32)}, "depth has shape"),
        ({"image": np.zeros((5, 5), np.uint8)}, "expected a picture"),
        ({"camera": Camera.from_focal(96, 72, 90)}, "no pose in the base frame"),
        ({"camera": Camera(96, 72, np.eye(3), np.eye(4), (0.1, 0, 0, 0, 0))}, "lens distortion"),
        ({"camera": Camera(96, 72, np.eye(3), np.full((4, 4), np.nan))}, "both finite"),
        ({"camera": Camera(96, 72, np.zeros((3, 3)), np.eye(4))}, "positive focal length"),
        ({"ignore": np.zeros((72, 96), np.uint8)}, "ignore must be True and False"),
    ],
)
def test_unfit_pictures_are_refused(change, message):
    good = {"camera": sphere_view((0.5, 0, 0)).camera, "image": np.zeros((72, 96, 3), np.uint8)}
    with pytest.raises(TwinError, match=message):
        Volume().integrate(Observation(**{**good, **change}))


@pytest.mark.parametrize("settings", [{"voxel": 0}, {"voxel": np.nan}, {"memory_gb": 0}, {"band": 0.001}])
def test_unfit_settings_are_refused(settings):
    with pytest.raises(TwinError):
        Volume(TsdfSettings(**settings))


def test_nothing_to_fuse():
    for views in ([], [Observation(sphere_view((0.5, 0, 0)).camera, np.zeros((72, 96, 3), np.uint8))]):
        with pytest.raises(TwinError, match="nothing to fuse"):
            fuse_depth(views)


def test_gaps_close_and_edges_stay():
    """Rows and columns that a finer colour camera leaves empty are filled; things do not grow, nothing hidden fills."""
    v, u = np.indices((30, 30))
    plane = 1 / (1.0 + 0.002 * u - 0.001 * v)
    depth = np.where(u < 20, plane, 0)
    depth[::3] = 0
    depth[:, 4::5] = depth[:, 5::5] = 0
    hidden = np.zeros(depth.shape, bool)
    hidden[9, 2] = True
    filled = fill_gaps(depth.astype(np.float32), hidden, 0.02)
    assert np.abs(filled - plane)[1:27, 1:19][~hidden[1:27, 1:19]].max() < 1e-4 and filled[9, 2] == 0
    assert (filled[:, 20:] == 0).all()
    step = np.where(u < 15, 0.5, np.where(u > 15, 1.0, 0)).astype(np.float32)
    assert (fill_gaps(step, None, 0.02)[:, 15] == 0).all()  # nothing between front and back


def test_cameras_far_away_and_depth_in_millimetres():
    """Places beyond reach and depth that is no metres build nothing, and break nothing."""
    view = sphere_view((0.5, 0, 0))
    far = view.camera.T_cam_base.copy()
    far[:3, 3] = 1e12
    for seen in (
        replace(view, camera=replace(view.camera, T_cam_base=far)),
        replace(view, depth=view.depth * 1000),
        replace(view, depth=np.full_like(view.depth, np.nan)),
        replace(view, depth=-view.depth),
    ):
        with pytest.raises(TwinError, match="nothing to fuse"):
            fuse_depth([seen])


def test_kinds_of_arrays_do_not_matter():
    """Read-only pictures, turned ones and depth in other floats give the same mesh."""
    view = sphere_view((0.5, 0, 0))
    image = np.asfortranarray(view.image)
    image.setflags(write=False)
    other = replace(view, image=image, depth=view.depth.astype(np.float64)[:, ::-1].copy()[:, ::-1])
    assert np.array_equal(fuse_depth([other]).vertices, fuse_depth([view]).vertices)
