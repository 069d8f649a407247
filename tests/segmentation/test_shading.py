"""Shaded pictures: the geometry is the rasteriser's, and light does what light does."""

import numpy as np
import pytest

from pose.camera import Camera
from pose.errors import CameraError
from pose.props import box, cylinder, grid, revolve
from pose.raster import inverse_depth, rasterize
from pose.shading import Light, Material, Prop, render_color, surroundings
from urdf import load_robot

WHITE = Material((0.9, 0.9, 0.9), 0.9)


@pytest.fixture(scope="module")
def robot():
    return load_robot("panda")


def facing(distance=1.8, height=0.4):
    """A camera on the x axis that looks back at the base; y of the base is right in the picture."""
    R = np.array([[0, 1.0, 0], [0, 0, -1.0], [-1.0, 0, 0]])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, -R @ [distance, 0, height]
    return Camera.from_focal(128, 96, 110, T)


def test_the_part_mask_is_the_rasterisers(robot):
    camera, mesh = facing(), robot.mesh
    image = render_color(robot, robot.rest, camera, mesh=mesh, supersample=1)
    poses = robot.link_poses(robot.rest)
    points = np.einsum("vij,vj->vi", poses[mesh.vertex_link, :3, :3], mesh.vertices)
    points = points + poses[mesh.vertex_link, :3, 3]
    points = points @ camera.T_cam_base[:3, :3].T + camera.T_cam_base[:3, 3]
    uv, inv_z = camera.project(points).astype(np.float32), inverse_depth(points[:, 2])
    face, inv_depth = rasterize(uv, inv_z, mesh.faces, 96, 128)
    gripper = np.array([p == "gripper" for p in robot.link_parts])[mesh.face_link]
    expected = np.where(face >= 0, 1 + gripper[face], 0)
    assert (image.part != expected).mean() < 2e-3  # points pass through float32 once more
    assert {0, 1, 2} == set(np.unique(image.part))
    both = (face >= 0) & (image.part > 0)
    assert np.allclose(image.depth[both], 1 / inv_depth[both], atol=2e-3)
    assert (image.depth[image.part == 0] == 0).all()


def test_supersampling_keeps_the_mask_and_softens_the_edge(robot):
    one = render_color(robot, robot.rest, facing(), mesh=robot.mesh, supersample=1)
    two = render_color(robot, robot.rest, facing(), mesh=robot.mesh, supersample=2)
    union = (one.part > 0) | (two.part > 0)
    assert ((one.part > 0) & (two.part > 0)).sum() / union.sum() > 0.9


def ball():
    angle = np.linspace(-np.pi / 2, np.pi / 2, 24)
    return revolve(np.column_stack([np.cos(angle) * 0.4 + 1e-4, np.sin(angle) * 0.4 + 0.4]), WHITE, 48)


def test_light_from_one_side_brightens_that_side():
    dark = surroundings(np.full((8, 16, 3), 0.02, np.float32))
    means = []
    for y in (-1.0, 1.0):
        light = Light((0.3, y, 0.0), (1, 1, 1))
        image = render_color(None, None, facing(), scene=[ball()], lights=[light], surroundings=dark, exposure=1.0)
        columns = image.rgb[30:60].astype(float).mean((0, 2))
        means.append((columns[40:60].mean(), columns[68:88].mean()))
    assert means[0][0] > means[0][1] + 40  # -y is left in this camera
    assert means[1][1] > means[1][0] + 40


def test_a_box_throws_a_shadow_on_the_floor():
    floor = Prop(*grid(np.array([-1.0, -1, 0]), np.array([2.0, 0, 0]), np.array([0, 2.0, 0])), WHITE)
    light = Light((0.0, 1.0, 1.0), (1, 1, 1), 0.01)
    lit = render_color(None, None, facing(height=0.8), scene=[floor], lights=[light], exposure=1.0)
    block = box((0.1, 0.1, 0.4), WHITE, (0.0, -0.1, 0.2))
    shaded = render_color(None, None, facing(height=0.8), scene=[floor, block], lights=[light], exposure=1.0)
    change = lit.rgb.astype(int).mean(2) - shaded.rgb.astype(int).mean(2)
    left, right = change[:, :64], change[:, 64:]
    assert (left > 30).sum() > 40 and (left > 30).sum() > 5 * (right > 30).sum()  # away from the light


def test_textures_repeat_and_props_hide_the_robot(robot):
    pattern = np.zeros((8, 8, 3), np.uint8)
    pattern[:, :4] = 255
    board = Material((1, 1, 1), 0.9, texture=pattern, texture_size=0.2)
    wall = Prop(*grid(np.array([0.8, -1, -1]), np.array([0, 2.0, 0]), np.array([0, 0, 2.5])), board)
    image = render_color(robot, robot.rest, facing(), scene=[wall], mesh=robot.mesh)
    assert (image.part == 0).all()
    row = image.rgb[48].astype(int).mean(1)
    crossings = int((np.diff(row > row.mean()) != 0).sum())
    assert crossings >= 8  # 1.16 m of wall are seen: stripes change every 0.1 m


def test_a_moved_object_is_where_it_was_put():
    T = np.eye(4)
    T[:3, 3] = 0, 0.3, 0
    thing = cylinder(0.1, 0.3, WHITE)
    here = render_color(None, None, facing(), scene=[thing]).depth > 0
    there = render_color(None, None, facing(), scene=[thing.placed(T)]).depth > 0
    shift = np.argwhere(there)[:, 1].mean() - np.argwhere(here)[:, 1].mean()
    assert shift == pytest.approx(110 * 0.3 / 1.8, abs=2)


def test_an_empty_scene_is_the_background_and_a_camera_needs_a_pose(robot):
    back = np.random.default_rng(0).integers(0, 255, (96, 128, 3)).astype(np.uint8)
    assert (render_color(None, None, facing(), background=back).rgb == back).all()
    with pytest.raises(CameraError, match="T_cam_base"):
        render_color(robot, robot.rest, Camera.from_focal(64, 48, 60))
