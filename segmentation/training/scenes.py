"""Random scenes: a robot, a camera, surroundings, clutter and light, drawn with exact part masks.

What matters was measured (many failures come from it): sharp photographs behind the robot, textured objects
rather
than smooth ones, held objects and cables labelled background, pictures without a robot, robots cut off by
the border.
"""

from __future__ import annotations

import cv2
import numpy as np

from pose.camera import Camera
from pose.props import box, grid, tube
from pose.shading import ColorImage, Light, Look, Material, Prop, plain_room, render_color
from segmentation.training.assets import Assets, blob, furniture, random_material, random_object
from urdf import Robot

PAINTS = (
    (0.93, 0.93, 0.93),
    (0.8, 0.8, 0.8),
    (0.55, 0.56, 0.58),
    (0.25, 0.25, 0.26),
    (0.06, 0.06, 0.06),
    (0.9, 0.4, 0.05),
)


def sample_scene(rng: np.random.Generator, assets: Assets, width: int, height: int) -> ColorImage:
    """One picture with its part mask. The same generator state gives the same picture."""
    empty = rng.random() < 0.1
    robot = assets.robots[rng.choice(len(assets.robots), p=assets.weights)]
    for _ in range(12):
        q = random_pose(rng, robot)
        poses = robot.link_poses(q)
        mesh = robot.mesh
        points = (
            np.einsum("vij,vj->vi", poses[mesh.vertex_link, :3, :3], mesh.vertices) + poses[mesh.vertex_link, :3, 3]
        )
        camera, target = random_camera(rng, points[::11], poses, robot, width, height)
        share = _share(points[::3], camera)
        if share is not None:
            break
    eye = -camera.T_cam_base[:3, :3].T @ camera.T_cam_base[:3, 3]
    scene, background = random_surroundings(rng, assets, target, eye, width, height)
    scene += random_clutter(rng, assets, target, eye, camera, points, scene != [])
    if not empty:
        scene += attachments(rng, assets, robot, poses)
    lights, sky, exposure = random_light(rng, assets, background)
    look = random_look(rng, robot)
    drawn = None if empty else robot
    return render_color(
        drawn, q, camera, scene=scene, lights=lights, surroundings=sky, background=background, look=look,
        mesh=mesh, exposure=exposure, supersample=1,
    )  # fmt: skip


def random_pose(rng: np.random.Generator, robot: Robot) -> np.ndarray:
    """Joint angles around the rest pose (mostly) or anywhere; most of the arm above the base."""
    best, depth = robot.rest, -np.inf
    for _ in range(6):
        if rng.random() < 0.65:
            q = robot.rest + rng.normal(0, rng.uniform(0.2, 0.8), len(robot.rest))
            q[0] = rng.uniform(max(robot.lower[0], -np.pi), min(robot.upper[0], np.pi)) if rng.random() < 0.5 else q[0]
            q = robot.clip(q)
        else:
            q = robot.random_configuration(rng)
        if len(robot.gripper_joints):
            g = robot.gripper_joints
            q[g] = rng.uniform(robot.lower[g], robot.upper[g])
        low = float(robot.link_poses(q)[len(robot.link_names) // 3 :, 2, 3].min())
        if low > 0.05:
            return q
        if low > depth:
            best, depth = q, low
    return best


def look_at(eye: np.ndarray, target: np.ndarray, roll: float) -> np.ndarray:
    """T_cam_base of a camera at `eye` that looks at `target`, turned by `roll` radians about its axis."""
    z = (target - eye) / np.linalg.norm(target - eye)
    x = np.cross(z, [0, 0, 1.0])
    x = x / np.linalg.norm(x) if np.linalg.norm(x) > 1e-3 else np.array([1.0, 0, 0])
    y = np.cross(z, x)
    c, s = np.cos(roll), np.sin(roll)
    R = np.stack([c * x + s * y, c * y - s * x, z])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, -R @ eye
    return T


def random_camera(
    rng: np.random.Generator, points: np.ndarray, poses: np.ndarray, robot: Robot, width: int, height: int
) -> tuple[Camera, np.ndarray]:
    """A camera and the point it looks at: the whole robot, a piece of it, a DROID-like side view, or a
    close-up."""
    size = float(np.ptp(points, axis=0).max())
    focal = width / 2 / np.tan(np.radians(np.exp(rng.uniform(np.log(32), np.log(95)))) / 2)
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(np.clip(rng.normal(25, 22), -20, 80))
    direction = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    roll = rng.uniform(-np.pi, np.pi) if rng.random() < 0.12 else rng.normal(0, 0.07)
    kind = rng.random()
    if kind < 0.42:
        target = (points.max(0) + points.min(0)) / 2 + rng.normal(0, 0.1, 3) * size
        across = size / rng.uniform(0.35, 1.15)
    elif kind < 0.80:
        target = (
            points[rng.integers(len(points))] * 0.5 + poses[robot.ee_index, :3, 3] * 0.5 + rng.normal(0, 0.15, 3) * size
        )
        across = size * rng.uniform(0.4, 1.1)
    elif kind < 0.92:
        side = rng.choice([-1, 1])
        eye = np.array([rng.uniform(-0.3, 0.7), side * rng.uniform(0.3, 0.95), rng.uniform(0.25, 0.9)]) * max(size, 0.5)
        target = np.array([rng.uniform(0.3, 0.7), rng.uniform(-0.2, 0.2), rng.uniform(-0.1, 0.35)]) * max(size, 0.5)
        focal = width / 2 / np.tan(np.radians(rng.uniform(55, 95)) / 2)
        return Camera.from_focal(width, height, focal, look_at(eye, target, roll)), target
    else:
        target = poses[robot.ee_index, :3, 3] + rng.normal(0, 0.06, 3)
        across = rng.uniform(0.2, 0.5)
    eye = target + direction * across * focal / width
    return Camera.from_focal(width, height, focal, look_at(eye, target, roll)), target


def _share(points: np.ndarray, camera: Camera) -> float | None:
    """Rough share of the picture the robot covers; None when it is too little, too much, or touches the
    camera."""
    cam = points @ camera.T_cam_base[:3, :3].T + camera.T_cam_base[:3, 3]
    inside_cone = np.abs(cam[:, :2]).max(1) < np.abs(cam[:, 2]) * 1.2
    if (inside_cone & (cam[:, 2] > -0.1) & (cam[:, 2] < 0.12)).any() or np.linalg.norm(cam, axis=1).min() < 0.08:
        return None
    uv = camera.project(cam[cam[:, 2] > 0.1]) / 12
    seen = (uv[:, 0] >= 0) & (uv[:, 1] >= 0) & (uv[:, 0] < camera.width / 12) & (uv[:, 1] < camera.height / 12)
    if not seen.any():
        return None
    cells = np.unique(uv[seen].astype(int), axis=0)
    share = len(cells) * 144 / (camera.width * camera.height)
    return share if 0.015 < share < 0.75 else None


def photo_background(rng: np.random.Generator, assets: Assets, width: int, height: int) -> np.ndarray:
    """A piece of a photograph, mirrored at random, at the picture's size."""
    photo = assets.photos[rng.integers(len(assets.photos))]
    h, w = photo.shape[:2]
    scale = rng.uniform(0.5, 1.0)
    ch = int(min(h, w * height / width) * scale)
    cw = min(w, int(ch * width / height * np.exp(rng.normal(0, 0.15))))
    y, x = rng.integers(h - ch + 1), rng.integers(w - cw + 1)
    piece = cv2.resize(photo[y : y + ch, x : x + cw], (width, height), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    return np.ascontiguousarray(piece[::-1] if rng.random() < 0.05 else piece)


def panorama_background(rng: np.random.Generator, assets: Assets, width: int, height: int) -> np.ndarray:
    """A window of a panorama, tone-mapped (not a true projection: nobody can tell)."""
    image = assets.panoramas[rng.integers(len(assets.panoramas))]
    h, w = image.shape[:2]
    ch = int(h * rng.uniform(0.3, 0.7))
    cw = min(w, int(ch * width / height))
    y = int(np.clip(rng.normal(0.5, 0.12) * h - ch / 2, 0, h - ch))
    rolled = np.roll(image, rng.integers(w), 1)[y : y + ch, :cw]
    tone = rolled / max(float(np.percentile(rolled, 90)), 1e-4) * rng.uniform(0.5, 1.2)
    tone = np.clip(tone, 0, 1) ** (1 / 2.2) * 255
    return cv2.resize(tone.astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


def random_surroundings(
    rng: np.random.Generator, assets: Assets, target: np.ndarray, eye: np.ndarray, width: int, height: int
) -> tuple[list[Prop], np.ndarray]:
    """Tables and rooms as props, and the picture behind them."""
    kind = rng.random()
    scene: list[Prop] = []
    if kind < 0.15 and assets.panoramas:
        background = panorama_background(rng, assets, width, height)
    else:
        background = photo_background(rng, assets, width, height)
    if kind < 0.5 and rng.random() < 0.75:
        return scene, background
    drop = 0.0 if rng.random() < 0.7 else rng.uniform(0, 0.8)
    size = np.array([rng.uniform(0.6, 2.0), rng.uniform(0.6, 2.2), rng.uniform(0.02, 0.08)])
    middle = np.array([rng.uniform(-0.1, 0.7), rng.uniform(-0.3, 0.3), -drop - size[2] / 2 - 0.002])
    top = random_material(rng, assets, 0.75)
    scene.append(box(tuple(size), top, tuple(middle), 10))
    if kind > 0.7:
        floor = middle[2] - rng.uniform(0.05, 0.8)
        reach = rng.uniform(1.0, 3.0)
        x, y, z = np.eye(3) * 2 * reach
        corner = np.array([middle[0] - reach, middle[1] - reach, floor])
        scene.append(Prop(*grid(corner, x, y, 24), random_material(rng, assets, 0.8)))
        away = target - eye
        wall = random_material(rng, assets, 0.6)
        scene.append(Prop(*grid(corner + (x if away[0] > 0 else 0), y, z * 0.7, 20), wall))
        other = wall if rng.random() < 0.6 else random_material(rng, assets, 0.8)
        scene.append(Prop(*grid(corner + (y if away[1] > 0 else 0), x, z * 0.7, 20), other))
    return scene, background


def _place(rng: np.random.Generator, where: np.ndarray, size: float) -> np.ndarray:
    """T_base_prop: scaled by `size`, turned at random (upright half of the time), centred at `where`."""
    v = rng.standard_normal(3) if rng.random() < 0.5 else np.array([0, 0, 1.0])
    R = cv2.Rodrigues(v / np.linalg.norm(v) * rng.uniform(0, 6.28))[0]
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R * size, where
    return T


def random_clutter(
    rng: np.random.Generator, assets: Assets, target: np.ndarray, eye: np.ndarray, camera: Camera,
    points: np.ndarray, table: bool,
) -> list[Prop]:  # fmt: skip
    """Objects on the table or in the air, furniture behind, sometimes something in front of the robot."""
    distance = float(np.linalg.norm(target - eye))
    across = distance * camera.width / camera.focal
    props = []
    for _ in range(rng.poisson(4 if rng.random() < 0.7 else 10)):
        size = float(np.exp(rng.uniform(np.log(0.03), np.log(0.4)))) * min(1.0, across)
        where = target + rng.uniform(-0.6, 0.6, 3) * across
        if table and rng.random() < 0.7:
            where[2] = size / 2 * 0.8
        near = float(np.linalg.norm(where - eye))
        if near > max(0.3, 1.2 * size) and (near > 0.8 * distance or size < 0.12 * distance):
            props.append(random_object(rng, assets).placed(_place(rng, where, size)))
    if rng.random() < 0.12:  # an occluder
        share = rng.uniform(0.35, 0.8)
        where = eye + (points[rng.integers(len(points))] - eye) * share + rng.normal(0, 0.05, 3)
        size = rng.uniform(0.05, 0.3) * across * share
        if np.linalg.norm(where - eye) > 0.15 + size:
            props.append(random_object(rng, assets).placed(_place(rng, where, size)))
    if rng.random() < 0.3:
        away = (target - eye) * [1, 1, 0]
        away = away / (np.linalg.norm(away) + 1e-6)
        spot = target * [1, 1, 0] + away * rng.uniform(0.5, 2.0) + np.array([-away[1], away[0], 0]) * rng.normal(0, 0.7)
        spot[2] = -rng.uniform(0, 0.8)
        T = np.eye(4)
        turn = rng.uniform(0, 6.28)
        T[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        T[:3, 3] = spot
        props += [p.placed(T) for p in furniture(rng, assets)]
    return props


def attachments(rng: np.random.Generator, assets: Assets, robot: Robot, poses: np.ndarray) -> list[Prop]:
    """Held objects, hoses along the arm, a mount under the base: never robot."""
    props = []
    ee = poses[robot.ee_index]
    if rng.random() < 0.3:
        size = rng.uniform(0.04, 0.2)
        where = ee[:3, 3] + ee[:3, 2] * rng.uniform(0.0, 0.12) + rng.normal(0, 0.01, 3)
        thing = random_object(rng, assets)
        if rng.random() < 0.4:  # a dark cloth or bag that hangs down
            where = where - [0, 0, size / 2]
            thing = blob(rng).dressed(Material(tuple(np.full(3, rng.uniform(0.02, 0.3))), 0.9))
        props.append(thing.placed(_place(rng, where, size)))
    if rng.random() < 0.35:
        path = poses[:: max(1, len(poses) // 7), :3, 3]
        path = path[np.r_[True, np.linalg.norm(np.diff(path, axis=0), axis=1) > 0.02]]
        if len(path) >= 3:
            start = rng.integers(0, len(path) - 2)
            path = path[start:] + rng.normal(0, 0.05, (len(path) - start, 3))
            s = np.linspace(0, len(path) - 1, 40)
            smooth = np.stack([np.interp(s, np.arange(len(path)), path[:, i]) for i in range(3)], 1)
            smooth = _smooth(smooth)
            shade = rng.uniform(0.02, 0.2) if rng.random() < 0.8 else rng.uniform(0.2, 0.9)
            props.append(tube(smooth, rng.uniform(0.003, 0.011), Material((shade,) * 3, 0.5)))
    if rng.random() < 0.25:
        height = rng.uniform(0.02, 0.7)
        plate = (rng.uniform(0.18, 0.6), rng.uniform(0.18, 0.6), height)
        props.append(box(plate, random_material(rng, assets, 0.4), (0, 0, -height / 2 - 0.003)))
    return props


def _smooth(path: np.ndarray) -> np.ndarray:
    for _ in range(12):
        path = np.r_[path[:1], (path[:-2] + 2 * path[1:-1] + path[2:]) / 4, path[-1:]]
    return path


def random_look(rng: np.random.Generator, robot: Robot) -> Look:
    """Paint: the description's own colours (mostly), one colour, two colours by link, bands, dark or metal
    grippers."""
    mesh = robot.mesh
    color = mesh.face_color.copy()
    F = len(color)
    paint = np.array(PAINTS)
    gripper = np.array([p == "gripper" for p in robot.link_parts])[mesh.face_link]
    draw = rng.random()
    if draw < 0.5:
        plain = np.ptp(color.reshape(-1, 3), axis=0).max() < 0.05  # no colours given: paint it
        color = np.tile(paint[rng.integers(4)], (F, 1)) if plain else color * rng.uniform(0.85, 1.1)
    else:
        first = (
            paint[rng.choice(6, p=[0.35, 0.2, 0.15, 0.1, 0.1, 0.1])] if rng.random() < 0.85 else rng.uniform(0, 1, 3)
        )
        color[:] = first
        if draw > 0.75:
            second = paint[rng.integers(6)]
            links = rng.random(len(robot.link_names)) < 0.35
            color[links[mesh.face_link]] = second
    center = mesh.vertices[mesh.faces].mean(1)
    if rng.random() < 0.4:  # covers, bands, tape
        for link in range(len(robot.link_names)):
            if rng.random() < 0.35:
                mine = np.flatnonzero(mesh.face_link == link)
                if len(mine) == 0:
                    continue
                axis = rng.standard_normal(3) if rng.random() < 0.4 else np.eye(3)[rng.integers(3)]
                s = center[mine] @ axis
                low = rng.uniform(s.min(), s.max() + 1e-9)
                band = (s > low) & (s < low + np.ptp(s) * rng.uniform(0.05, 0.4))
                color[mine[band]] = paint[rng.integers(6)] if rng.random() < 0.8 else rng.uniform(0, 1, 3)
    rough, metal = np.full(F, rng.uniform(0.12, 0.75)), np.zeros(F)
    kind = rng.random()
    if kind < 0.35:
        color[gripper], rough[gripper] = rng.uniform(0.02, 0.25), rng.uniform(0.3, 0.8)
    elif kind < 0.5:
        color[gripper], metal[gripper], rough[gripper] = rng.uniform(0.4, 0.8), 0.9, rng.uniform(0.2, 0.5)
    elif kind < 0.6:
        color[gripper] = rng.uniform(0.6, 0.95)
    color = color * (1 + rng.normal(0, 0.03, 3))
    return Look(np.clip(color, 0, 1), rough, metal)


def random_light(
    rng: np.random.Generator, assets: Assets, background: np.ndarray
) -> tuple[list[Light], np.ndarray, float]:
    """One to three lights, a sky, and the exposure that makes a white surface medium to burnt out."""
    lights, total = [], 0.0
    for i in range(rng.integers(1, 4)):
        d = rng.normal(0, 1, 3)
        d[2] = abs(d[2]) + 0.3
        tint = 1 + rng.normal(0, 0.08, 3)
        strength = rng.uniform(0.15, 1.1) / (1 + i)
        total += strength
        light = Light(tuple(d), tuple(np.clip(strength * tint, 0, 2)), float(np.exp(rng.uniform(np.log(0.03), 0))))
        lights.append(light)
    gain = rng.uniform(0.4, 1.4)
    sky = assets.skies[rng.integers(len(assets.skies))] if assets.panoramas and rng.random() < 0.8 else plain_room()
    brightness = float(np.mean((background[::9, ::9] / 255.0) ** 2.2))
    exposure = rng.uniform(0.45, 1.25) / (0.5 * total + 0.5 * gain)
    exposure *= float(np.clip((brightness / 0.2) ** rng.uniform(0, 0.6), 0.35, 1.6))
    return lights, (sky * gain).astype(np.float32), exposure
