"""Pictures of a robot for the eye of a person: framed, lit, its parts coloured, shadows on a plain ground."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from flows.drawing import PART_COLORS
from pose.camera import Camera
from pose.props import grid
from pose.shading import Light, Look, Material, Prop, render_color
from urdf import Robot
from urdf.labels import GripperLabel
from urdf.robot import PARTS, RobotMesh

BASE_COLOR = (108, 122, 148)  # slate, beside the orange arm and the green gripper
GROUND = (240, 241, 243)
FOCAL = 2.6  # picture heights: a long lens, little perspective
MARGIN = 0.06  # of the picture's smaller side, left free around the robot
CAPTION = 24  # pixels at the bottom kept free for a line of text
EXPOSURE = 0.80
CONTRAST = 0.5  # of a link's own shades in its part's colour
SHADOW = 0.75  # of its darkness
BELOW = 0.05  # metres a random pose may reach below the floor
TRIES = 200
NEAR = 0.15  # metres from the base's axis within which a robot reaches nowhere
AXIS = 0.11  # length of a frame's axes, of the robot's diagonal


@dataclass(frozen=True)
class View:
    """A rendered picture and what to mark in it.

    Attributes:
        image: (H,W,3) uint8 RGB.
        camera: that took it.
        frames: origin and ends of the axes of frames, (4,3) metres in the base frame.
        gap: (2,3) the finger pads, or None.
    """

    image: np.ndarray
    camera: Camera
    frames: tuple[np.ndarray, ...] = ()
    gap: np.ndarray | None = None


def vertices(robot: Robot, mesh: RobotMesh, q: np.ndarray) -> np.ndarray:
    """(V,3) float64 vertices of a mesh of the robot in the base frame, metres, at q (n,)."""
    T = robot.link_poses(q)[mesh.vertex_link]
    return np.einsum("vij,vj->vi", T[:, :3, :3], mesh.vertices) + T[:, :3, 3]


def axis_tips(T_base_frame: np.ndarray, length: float) -> np.ndarray:
    """(4,3) metres in the base frame: a frame's origin and the ends of its axes x, y, z."""
    return T_base_frame[:3, 3] + length * np.concatenate([np.zeros((1, 3)), T_base_frame[:3, :3].T])


def still_links(robot: Robot) -> np.ndarray:
    """(L,) bool: links that no joint moves."""
    still = robot.tree.q_index < 0
    for link, parent in enumerate(robot.tree.parent):
        if parent >= 0:
            still[link] &= still[parent]
    return still


def base_mask(robot: Robot) -> np.ndarray:
    """(L,) bool: the base, the links that the catalogue calls so and all others that stand still."""
    names = set(robot.base_links)
    arm = np.array([part == "arm" for part in robot.link_parts])
    return np.array([n in names for n in robot.link_names]) | (still_links(robot) & arm)


def floor_height(robot: Robot) -> float:
    """Metres in the base frame: the lowest point of what stands still, 0 when nothing does."""
    still = still_links(robot)[robot.mesh.vertex_link]
    if not still.any():
        return 0.0
    return min(0.0, float(vertices(robot, robot.mesh, robot.rest)[still, 2].min()))


def random_poses(robot: Robot, count: int, seed: int = 0) -> np.ndarray:
    """(count,n) random joint values inside the limits; poses that reach below the floor or put the
    robot's end into its base only when there are no others.
    """
    rng = np.random.default_rng(seed)
    floor = floor_height(robot)
    end = robot.part_of_link == PARTS.index("gripper")
    end[robot.ee_index] = True
    at_end, still = end[robot.mesh.vertex_link], still_links(robot)[robot.mesh.vertex_link]
    poses: list[np.ndarray] = []
    spare: list[np.ndarray] = []
    for _ in range(TRIES):
        q = robot.random_configuration(rng)
        points = vertices(robot, robot.mesh, q)
        (poses if points[:, 2].min() >= floor - BELOW and not _inside(points[at_end], points[still]) else spare).append(
            q
        )
        if len(poses) == count:
            break
    return np.array((poses + spare)[:count])


def _inside(points: np.ndarray, body: np.ndarray) -> bool:
    """Does a point (N,3) lie in the box around a body (M,3)?"""
    return len(body) > 0 and bool(((points > body.min(0)) & (points < body.max(0))).all(1).any())


def part_colors(robot: Robot, mesh: RobotMesh) -> np.ndarray:
    """(F,3) sRGB 0..1: the part's colour, lighter and darker with the surface's own."""
    tints = np.array([PART_COLORS["arm"], PART_COLORS["gripper"], BASE_COLOR]) / 255.0
    base = base_mask(robot)
    label = [2 if b else int(p == "gripper") for b, p in zip(base, robot.link_parts)]
    own = mesh.face_color @ np.array([0.3, 0.59, 0.11])
    corners = mesh.vertices[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    middle = np.bincount(mesh.face_link, area * own) / np.maximum(np.bincount(mesh.face_link, area), 1e-12)
    tone = np.clip(1 + CONTRAST * (own - middle[mesh.face_link]), 0.7, 1.15)
    return np.clip(tints[np.array(label)[mesh.face_link]] * tone[:, None], 0, 1).astype(np.float32)


def orientation(towards: np.ndarray, up: np.ndarray) -> np.ndarray:
    """(3,3) R_cam_base of a camera that looks from the direction `towards` (3,) with `up` (3,) upwards."""
    z = -np.asarray(towards, float) / np.linalg.norm(towards)
    x = np.cross(z, up)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])


def framed(points: np.ndarray, R: np.ndarray, size: tuple[int, int]) -> Camera:
    """The camera of orientation R_cam_base (3,3) that shows all points (N,3) as large as they fit in (w,h)."""
    width, height = size
    focal = FOCAL * height
    turned = points @ R.T
    center = (turned.min(0) + turned.max(0)) / 2
    radius = max(float(np.linalg.norm(turned - center, axis=1).max()), 1e-3)
    distance = radius * FOCAL * 2.2
    space = np.array([width, height - CAPTION]) - 2 * MARGIN * min(size)
    middle = np.array([0.0, -CAPTION / 2])
    for _ in range(8):
        p = turned - center
        uv = p[:, :2] / (p[:, 2:] + distance) * focal
        low, high = uv.min(0), uv.max(0)
        center[:2] += ((low + high) / 2 - middle) * distance / focal
        distance = max(distance * float(((high - low) / space).max()), radius * 1.5)
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, [*-center[:2], distance - center[2]]
    return Camera.from_focal(width, height, focal, T)


def draw(
    robot: Robot, q: np.ndarray, camera: Camera, mesh: RobotMesh, color: np.ndarray, floor: float | None
) -> np.ndarray:
    """(H,W,3) uint8: the robot over plain ground, its shadow on a floor at that height (None: no floor)."""
    F = len(mesh.faces)
    look = Look(color, np.full(F, 0.45, np.float32), np.zeros(F, np.float32))
    R = np.asarray(camera.T_cam_base)[:3, :3]
    key, fill = R.T @ [-0.55, -1.0, -0.62], R.T @ [0.9, -0.25, -0.5]
    lights = (Light(tuple(key), (0.78, 0.77, 0.75), 0.12), Light(tuple(fill), (0.2, 0.21, 0.23), 0.6))
    back = np.full((camera.height, camera.width, 3), GROUND, np.uint8)

    def shot(scene: list[Prop], shown: Robot | None) -> tuple[np.ndarray, np.ndarray]:
        picture = render_color(
            shown, q if shown else None, camera, scene=scene, lights=lights, background=back, look=look, mesh=mesh,
            exposure=EXPOSURE, supersample=3,
        )  # fmt: skip
        return picture.rgb.astype(np.float32), picture.part

    if floor is None:
        return shot([], robot)[0].astype(np.uint8)
    points = vertices(robot, mesh, q)
    low, high = points.min(0), points.max(0)
    reach = float((high - low).max())
    side = (high - low)[:2].max() + 1.6 * reach
    corner = np.array([*((low + high)[:2] - side) / 2, floor - 1e-3])
    white = Material((0.86, 0.865, 0.87), 0.9)
    plane = Prop(*grid(corner, np.array([side, 0, 0]), np.array([0, side, 0]), 16), white)
    full, part = shot([plane], robot)
    empty, _ = shot([plane], None)
    # where only floor is seen, its darkening by the shadow alone: the floor itself has no edge
    shade = np.clip(1.04 * full.mean(2) / np.maximum(empty.mean(2), 1), 0, 1)[..., None]
    return np.where(part[..., None] > 0, full, back * (1 - SHADOW * (1 - shade))).astype(np.uint8)


def front(robot: Robot) -> float:
    """Radians about z from the base's x axis to where the robot reaches at rest, in quarter turns."""
    reach = robot.link_poses(robot.rest)[robot.ee_index, :2, 3]
    if np.linalg.norm(reach) < NEAR:
        return 0.0
    return float(np.round(np.arctan2(reach[1], reach[0]) / (np.pi / 2)) * np.pi / 2)


def body_view(robot: Robot, q: np.ndarray, size: tuple[int, int], azimuth: float, floor: float) -> View:
    """The whole robot from `azimuth` radians about z from the base's x axis, a little above."""
    mesh = robot.display_mesh
    towards = np.array([np.cos(azimuth), np.sin(azimuth), 0.42])
    points = vertices(robot, mesh, q)
    length = AXIS * float(np.linalg.norm(np.ptp(points, axis=0)))
    tips = [axis_tips(np.eye(4), length), axis_tips(robot.link_poses(q)[robot.ee_index], length)]
    camera = framed(np.concatenate([points, *tips]), orientation(towards, np.array([0.0, 0.0, 1.0])), size)
    return View(draw(robot, q, camera, mesh, part_colors(robot, mesh), floor), camera, tuple(tips))


def gripper_tops(robot: Robot) -> np.ndarray:
    """(L,) bool: the gripper that `robot.gripper` opens, without others the robot may have."""
    tree, part = robot.tree, np.array([p == "gripper" for p in robot.link_parts])
    assert robot.gripper is not None
    top = np.arange(len(part))
    for link, parent in enumerate(tree.parent):
        if parent >= 0 and part[link] and part[parent]:
            top[link] = top[parent]
    hung = {int(tree.parent[top[i]]) for i in np.nonzero(tree.q_index == robot.gripper.joint)[0] if part[i]}
    return part & np.isin(tree.parent[top], list(hung))


def gripper_positions(robot: Robot) -> tuple[np.ndarray, np.ndarray]:
    """Joint values (3,n) at rest with the gripper closed, half open and open, and its openings (3,) in metres."""
    gripper = robot.gripper
    assert gripper is not None
    q = np.tile(robot.rest, (201, 1))
    q[:, gripper.joint] = np.linspace(robot.lower[gripper.joint], robot.upper[gripper.joint], len(q))
    opening = gripper.opening(q)
    half = (opening.min() + opening.max()) / 2
    chosen = [int(opening.argmin()), int(np.abs(opening - half).argmin()), int(opening.argmax())]
    return q[chosen], opening[chosen]


def sub_mesh(mesh: RobotMesh, links: np.ndarray) -> tuple[RobotMesh, np.ndarray]:
    """The mesh of some links (L,) bool alone, and (F,) bool: which faces it has."""
    keep = links[mesh.face_link]
    return replace(mesh, faces=mesh.faces[keep], face_link=mesh.face_link[keep], face_color=mesh.face_color[keep]), keep


def gripper_views(
    robot: Robot, poses: np.ndarray, size: tuple[int, int], label: GripperLabel | None = None
) -> list[View]:
    """Close-ups of the gripper at poses (S,n), all from one place across the fingers' motion; pads as labelled."""
    tree, mesh = robot.tree, robot.display_mesh
    mine = gripper_tops(robot)
    if not mine[mesh.face_link].any():
        return []
    shown = mine.copy()
    drawn = np.zeros(len(mine), bool)
    drawn[mesh.face_link] = True
    above = int(tree.parent[np.nonzero(mine)[0][0]])
    while above >= 0 and not drawn[above]:
        above = int(tree.parent[above])
    if above >= 0:
        shown[above] = True
    part, _ = sub_mesh(mesh, shown)
    own = np.isin(np.arange(len(mesh.vertices)), mesh.faces[mine[mesh.face_link]])
    clouds = [vertices(robot, mesh, q)[own] for q in poses]
    travel = clouds[-1] - clouds[0]
    moved = np.linalg.norm(travel, axis=1) > 1e-3
    root = robot.link_poses(poses[0])[above if above >= 0 else 0, :3, 3]
    R = _across(travel[moved], clouds[0][moved].mean(0) - root) if moved.any() else np.eye(3)
    length = 2 * AXIS * float(np.linalg.norm(np.ptp(clouds[-1], axis=0)))
    tips = [axis_tips(robot.link_poses(q)[robot.ee_index], length) for q in poses]
    near = [t for t, cloud in zip(tips, clouds) if np.linalg.norm(t[0] - cloud.mean(0)) < 4 * length]
    camera = framed(np.concatenate([*clouds, *near]), R, size)
    color = part_colors(robot, part)
    gaps = [pad_points(robot, q, label) for q in poses]
    return [View(draw(robot, q, camera, part, color, None), camera, (t,), g) for q, t, g in zip(poses, tips, gaps)]


def pad_points(robot: Robot, q: np.ndarray, label: GripperLabel | None) -> np.ndarray | None:
    """(2,3) metres in the base frame: the two finger pads at q (n,)."""
    if label is None:
        return None
    poses = robot.link_poses(q)
    return np.array([(poses[robot.link_names.index(p.link)] @ [*p.xyz, 1.0])[:3] for p in label.pads])


def _across(travel: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """R_cam_base (3,3) that shows the fingers' travel (N,3) sideways and their reach (3,) downwards."""
    _, _, axes = np.linalg.svd(travel, full_matrices=False)
    side = axes[0]
    reach = reach - side * (reach @ side)
    if np.linalg.norm(reach) < 1e-6:
        reach = axes[1]
    reach /= np.linalg.norm(reach)
    towards = np.cross(side, reach)
    if towards @ [1.0, 0.6, 0.8] < 0:
        towards = -towards
    tilt, turn = np.radians(14), np.radians(16)  # a little off the axis: depth can be seen
    return orientation(np.cos(tilt) * (np.cos(turn) * towards + np.sin(turn) * side) - np.sin(tilt) * reach, -reach)
