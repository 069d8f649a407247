"""The steps between a rig and its scene: joints in time, fewer frames, pictures of twins, what stands on a plane."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from pose.camera import Camera
from segmentation.video import ImageFolder
from twin import Mesh, Observation, Rig, RigCamera, RobotMotion, TwinError
from twin.assemble import BuildSettings, assemble, fuse
from twin.build import check_given
from twin.coarsen import coarsen_far
from twin.depth import DepthFolder
from twin.foreground import find_foreground
from twin.obj import write_obj
from twin.picture import difference, draw, looking
from twin.still import joints_at, object_votes
from twin.thin import stride_for, thin_rig


def _mesh(shape: trimesh.Trimesh, color: tuple[int, int, int], at: tuple[float, ...] = (0, 0, 0)) -> Mesh:
    colors = np.full((len(shape.vertices), 3), color, np.uint8)
    return Mesh(np.asarray(shape.vertices) + at, np.asarray(shape.faces, np.int32), colors)


def _motion(times: list[float], q: list[float]) -> RobotMotion:
    return RobotMotion("r", ("a",), np.array(q, float)[:, None], np.array(times, float))


def test_joints_between_instants_and_beside_gaps():
    motion = _motion([0, 1, 2, 3, 4], [0, 10, np.nan, np.nan, 40])
    assert joints_at(motion, 0.25) == pytest.approx(2.5)
    assert joints_at(motion, 1.4) == pytest.approx(10)  # the gap is not bridged
    assert joints_at(motion, 2.7) == pytest.approx(40)
    assert joints_at(motion, 5.2) == pytest.approx(40)
    assert joints_at(motion, 9) is None
    assert joints_at(_motion([0, 1], [np.nan, np.nan]), 0.5) is None
    assert joints_at(_motion([3], [7]), 3.2) == pytest.approx(7)


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=8), st.floats(0, 1))
@settings(deadline=None, max_examples=50)
def test_joints_stay_between_their_neighbours(values: list[float], share: float):
    motion = _motion(list(range(len(values))), values)
    time = share * (len(values) - 1)
    found = joints_at(motion, time)
    near = values[int(time)], values[min(int(time) + 1, len(values) - 1)]
    assert min(near) - 1e-9 <= found[0] <= max(near) + 1e-9


@pytest.fixture
def film(tmp_path: Path) -> RigCamera:
    """7 pictures, numbered by their grey level, with depth."""
    for t in range(7):
        cv2.imwrite(str(tmp_path / f"{t}.png"), np.full((8, 10, 3), 10 * t, np.uint8))
    (tmp_path / "depth").mkdir()
    for t in range(7):
        cv2.imwrite(str(tmp_path / "depth" / f"{t}.png"), np.full((8, 10), 100 * (t + 1), np.uint16))
    depth = DepthFolder(tuple(tmp_path / "depth" / f"{t}.png" for t in range(7)))
    return RigCamera("a", lambda: ImageFolder(tmp_path, 10), tmp_path, Camera.from_focal(10, 8, 9), depth, offset=2.0)


def test_thin_rig_keeps_what_belongs_together(film: RigCamera):
    thin = thin_rig(Rig((film,)), 3).cameras[0]
    assert [(f.index, int(f.image[0, 0, 0])) for f in thin.open()] == [(0, 0), (1, 30), (2, 60)]
    np.testing.assert_allclose(thin.times, [2.0, 2.3, 2.6])
    assert [float(thin.depth.read(i)[0, 0]) for i in range(3)] == pytest.approx([0.1, 0.4, 0.7])
    assert len(thin.open().files) == 3
    assert thin_rig(Rig((film,)), 1).cameras[0] is film
    assert stride_for([794, 793, 10], 300) == 3
    assert stride_for([], 300) == 1


def test_an_object_without_masks_in_any_view_is_named(film: RigCamera):
    seen = Observation(film.camera, np.zeros((8, 10, 3), np.uint8))
    with pytest.raises(TwinError, match="object cup: no camera that was placed has masks of it"):
        object_votes(Rig((film,)), [seen], {"cup": {3: [np.zeros((8, 10))]}})
    masks = [np.eye(8, 10), np.eye(8, 10), np.zeros((8, 10))]
    found = object_votes(Rig((film,)), [seen], {"cup": {0: masks}})
    np.testing.assert_array_equal(found["cup"][0].mask, np.eye(8, 10) > 0)


def test_without_a_robot_poses_are_needed(film: RigCamera):
    with pytest.raises(TwinError, match="poses must be given"):
        check_given(Rig((film,)))


def test_coarsen_far_leaves_what_is_near():
    plane = trimesh.creation.box((6, 6, 0.01))
    for _ in range(6):
        plane = plane.subdivide()
    mesh = _mesh(plane, (10, 20, 30))
    small = coarsen_far(mesh, 1.0, 0.25)
    assert len(small.faces) < 0.5 * len(mesh.faces)
    assert set(map(tuple, small.colors)) == {(10, 20, 30)}
    inside = mesh.vertices[np.hypot(*mesh.vertices[:, :2].T) <= 1.0]
    kept = set(map(tuple, small.vertices.round(9)))
    assert set(map(tuple, inside.round(9))) <= kept
    assert np.abs(np.ptp(small.vertices, axis=0)[:2] - 6).max() < 0.26
    assert small.faces.max() < len(small.vertices)


@given(st.integers(0, 2**24 - 1))
@settings(deadline=None, max_examples=20)
def test_obj_colours_survive_a_palette(tmp_path_factory: pytest.TempPathFactory, number: int):
    color = (number >> 16, number >> 8 & 255, number & 255)
    path = tmp_path_factory.mktemp("obj") / "shape.obj"
    write_obj(path, _mesh(trimesh.creation.box((1, 2, 3)), color))
    read = trimesh.load_mesh(path, process=False)
    assert np.abs(read.visual.to_color().vertex_colors[:, :3].astype(int) - color).max() <= 5
    assert read.volume == pytest.approx(6)


def test_draw_is_perspective_correct():
    """A floor whose colour runs evenly with x looks, in each pixel, as its point does."""
    corners = np.array([[0.3, -1, 0], [5, -1, 0], [5, 1, 0], [0.3, 1, 0.0]])
    colors = np.column_stack([(corners[:, 0] * 50).round(), np.full(4, 7), np.zeros(4)]).astype(np.uint8)
    floor = Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32), colors)
    camera = looking((-0.5, 0, 1), (2, 0, 0), (160, 120), 120)
    drawn = draw([floor], camera)
    rows, columns = np.nonzero(drawn.depth)
    rays = np.column_stack([columns, rows, np.ones(len(rows))]) @ np.linalg.inv(camera.K).T
    points = rays * drawn.depth[rows, columns, None]
    T = np.linalg.inv(camera.T_cam_base)
    x = (points @ T[:3, :3].T + T[:3, 3])[:, 0]
    assert len(rows) > 2000
    assert np.abs(drawn.image[rows, columns, 0] - 50 * x).max() < 2
    assert (drawn.image[rows, columns, 1] == 7).all()


def test_nearer_things_hide_others_and_textures_stand_upright():
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[0] = 255  # the upper row
    wall = np.array([[2, -1, 0], [2, 1, 0], [2, 1, 2], [2, -1, 2.0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    textured = Mesh(wall, faces, None, uv, picture)
    near = Mesh(wall * [0.5, 0.05, 1], faces, np.full((4, 3), (9, 9, 9), np.uint8))
    camera = looking((-1, 0, 1), (2, 0, 1), (80, 80), 80)
    drawn = draw([near, textured], camera)
    assert drawn.image[30, 25].tolist() == [255, 255, 255]
    assert drawn.image[50, 25].tolist() == [0, 0, 0]
    assert drawn.image[30, 40].tolist() == [9, 9, 9]
    assert draw([textured, near], camera).image.tolist() == drawn.image.tolist()


def test_difference_counts_only_where_the_twin_is():
    wall = _mesh(trimesh.creation.box((0.1, 1, 1)), (100, 100, 100), (2, 0, 0))
    drawn = draw([wall], looking((0, 0, 0.001), (2, 0, 0), (64, 48), 40))
    shown, apart, covered = difference(np.full((48, 64, 3), 110, np.uint8), drawn)
    assert apart == 10
    assert 0.05 < covered < 0.3
    assert shown[0, 0].tolist() == [90, 90, 90]
    empty = draw([], looking((0, 0, 0.001), (2, 0, 0), (64, 48), 40))
    assert np.isnan(difference(shown, empty)[1])


def _views() -> list[Observation]:
    """A checkered table 2 cm below the base with a tall red box on it, from four sides."""
    grid = np.stack(np.meshgrid(np.arange(-0.4, 1.21, 0.1), np.arange(-0.8, 0.81, 0.1), indexing="ij"), -1).reshape(
        -1, 2
    )
    meshes = []
    for x, y in grid:
        shade = int(90 + 40 * ((round(10 * x) + round(10 * y)) % 2))
        meshes.append(_mesh(trimesh.creation.box((0.1, 0.1, 0.01)), (shade, shade, shade - 30), (x, y, -0.025)))
    meshes.append(_mesh(trimesh.creation.box((0.06, 0.08, 0.2)), (220, 30, 30), (0.5, 0.1, 0.08)))
    eyes = ((0.5, 1.2, 0.9), (0.5, -1.1, 0.9), (1.5, 0.2, 0.9), (-0.6, 0.1, 1.0))
    cameras = [looking(eye, (0.5, 0, 0), (320, 240), 260) for eye in eyes]
    return [Observation(camera, draw(meshes, camera).image, view=v) for v, camera in enumerate(cameras)]


def test_what_stands_on_a_plane_is_found_without_depth():
    views = _views()
    found = find_foreground(views)
    assert found.height == pytest.approx(-0.02, abs=0.002)
    for view in found.views:
        box = (view.image[..., 0] > 180) & (view.image[..., 1] < 60)
        assert view.mask[box].mean() > 0.95
        assert view.mask.mean() < 8 * box.mean()
    fused = fuse(views, {}, BuildSettings())
    assert fused.kind == "hull"
    above = fused.surface.vertices[fused.surface.vertices[:, 2] > -0.005]
    assert np.abs(above.min(0)[:2] - [0.47, 0.06]).max() < 0.05  # what views mark too much, together
    assert np.abs(above.max(0) - [0.53, 0.14, 0.18]).max() < 0.05


def test_too_few_views_without_depth_are_told():
    with pytest.raises(TwinError, match=r"2 views are too few: .*give masks of the objects"):
        find_foreground(_views()[:2])
    with pytest.raises(TwinError, match="no two cameras see the same part"):
        away = [replace(v, ignore=np.ones(v.image.shape[:2], bool)) for v in _views()]
        find_foreground(away)


def test_cameras_and_robot_are_a_scene_where_nothing_can_be_fused():
    fused = fuse(_views()[:2], {}, BuildSettings())
    assert fused.surface is None and "2 views are too few" in fused.warnings[0]
    motion = RobotMotion("arm", ("j",), np.zeros((1, 1)), np.zeros(1), 0)
    scene = assemble(fused, Rig(()), None, motion, BuildSettings(), _views()[:2])
    assert scene.background is None and scene.bodies == () and scene.robot is motion
    assert scene.warnings == fused.warnings
