"""What scenes are made of: motions inside limits, hands, cameras, backdrops, carried things, sensors."""

import numpy as np
import pytest

from pose.camera import Camera
from pose.shading import Prop
from segmentation.training.assets import Assets
from segmentation.training.backdrops import Backdrop, random_backdrop
from segmentation.training.cameras import clear, eye_of, handheld, look_at, well_covered
from segmentation.training.hand import grasp_frame
from segmentation.training.lights import random_lighting
from segmentation.training.looks import random_look
from segmentation.training.motion import CLOSING, SPEED, random_motion, random_pose
from segmentation.training.movers import attachments, carried
from segmentation.training.sensor import Sensor, exposed, random_sensor, recoded
from urdf import load_robot

ROBOTS = ("panda", "iiwa14", "widowx250s")
PLAIN = Sensor((1.0, 1.0, 1.0), 1.0, 1.0, 0.0, 0.3, 1.0, (0.0, 0.0), 0, 0, 0.0)


@pytest.fixture(scope="module", params=ROBOTS)
def robot(request):
    return load_robot(request.param)


@pytest.fixture(scope="module")
def bare():
    """Assets without any file."""
    panda = load_robot("panda")
    return Assets([], [], [], [], [panda], np.ones(1), ["panda"])


def camera(width=80, height=60):
    return Camera.from_focal(width, height, 70.0, look_at(np.array([1.5, 0.3, 0.6]), np.array([0, 0, 0.3]), 0.1))


def test_poses_are_inside_the_limits(robot):
    rng = np.random.default_rng(0)
    poses = np.array([random_pose(rng, robot) for _ in range(40)])
    inside = (poses >= robot.lower - 1e-9) & (poses <= robot.upper + 1e-9)
    assert (inside | robot.continuous).all() and np.ptp(poses, axis=0).min() > 0.01


def test_motions_are_smooth_slow_and_inside_the_limits(robot):
    times = np.linspace(0, 2.0, 401)
    arm = np.setdiff1d(np.arange(len(robot.rest)), robot.gripper_joints)
    moved = []
    for seed in range(12):
        motion = random_motion(np.random.default_rng(seed), robot, 2.0)
        q = np.array([motion.at(t) for t in times])
        assert ((q >= robot.lower - 1e-9) & (q <= robot.upper + 1e-9) | robot.continuous).all()
        speed = np.abs(np.gradient(q, times, axis=0))[:, arm]
        # twice: scipy's slopes at a knot may exceed those of the chord, which alone is bounded
        assert (speed <= 2 * np.minimum(robot.velocity[arm], SPEED)).all()
        assert np.abs(np.diff(speed, axis=0)).max() < 0.25  # no jumps within 5 ms
        moved.append(np.ptp(q, axis=0)[arm].max())
    assert np.median(moved) > 0.1


def test_the_gripper_closes_and_opens_when_the_motion_says():
    robot, seen = load_robot("panda"), 0
    for seed in range(30):
        motion = random_motion(np.random.default_rng(seed), robot, 2.0)
        if motion.grasp is None or motion.grasp[0] < 0:
            continue
        start, end = motion.grasp
        opening = [float(robot.gripper.opening(motion.at(t))) for t in (start - CLOSING, start, (start + end) / 2)]
        assert opening[0] > 1.05 * opening[1] and opening[1] == pytest.approx(opening[2], abs=1e-6)
        seen += 1
    assert seen >= 3


def test_the_grasp_frame_of_the_panda_is_between_its_pads():
    robot = load_robot("panda")
    T_ee_grasp = grasp_frame(robot)
    q = robot.rest.copy()
    q[robot.gripper.joint] = robot.gripper.from_opening(robot.gripper.max_opening)
    poses = robot.link_poses(q)
    T_base_grasp = poses[robot.ee_index] @ T_ee_grasp
    left, right = (poses[robot.link_names.index(f"panda_{side}finger")][:3, 3] for side in ("left", "right"))
    across = (left - right) / np.linalg.norm(left - right)
    assert abs(T_base_grasp[:3, 0] @ across) == pytest.approx(1, abs=1e-3)
    middle = T_base_grasp[:3, 3] - (left + right) / 2
    assert abs(middle @ across) < 1e-3 and 0.03 < middle @ T_base_grasp[:3, 2] < 0.07  # fingers are 54 mm long
    assert np.allclose(T_ee_grasp[:3, :3] @ T_ee_grasp[:3, :3].T, np.eye(3), atol=1e-9)
    assert np.linalg.det(T_ee_grasp[:3, :3]) == pytest.approx(1)


def test_a_robot_without_gripper_has_a_grasp_frame_too():
    T = grasp_frame(load_robot("iiwa14"))
    assert np.allclose(T[:3, :3], np.eye(3)) and T[2, 3] == pytest.approx(0.05)


def test_carried_things_wait_move_with_the_hand_and_fall(bare):
    robot, kinds = bare.robots[0], set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        motion = random_motion(rng, robot, 2.0)
        movers, stands = carried(rng, bare, motion, 2.0)
        assert len(movers) == (motion.grasp is not None)
        if not movers:
            continue
        start, end = motion.grasp

        def place(time, thing=movers[0], motion=motion):
            poses = robot.link_poses(motion.at(time))
            return poses[robot.ee_index], thing(time, poses).T_base_prop

        held = [np.linalg.inv(ee) @ T for ee, T in map(place, np.linspace(max(start, 0), min(end, 2.0), 4))]
        assert np.ptp(held, axis=0).max() < 1e-9
        if start > 0:
            assert np.allclose(place(0.0)[1], place(start)[1]) and kinds.add("waits") is None
        if end < 1.8:
            drop = place(end)[1][2, 3] - place(end + 0.1)[1][2, 3]
            assert drop == pytest.approx(9.81 / 2 * 0.01, abs=1e-6) or place(end + 0.1)[1][2, 3] < 0.2
            kinds.add("falls")
        kinds.add("stands" if stands else "")
    assert kinds >= {"waits", "falls", "stands"}


def test_attachments_follow_the_arm():
    robot = load_robot("panda")
    assets = Assets([], [], [], [], [robot], np.ones(1), ["panda"])
    rest, other = (robot.link_poses(robot.clip(robot.rest + d)) for d in (0.0, 0.3))
    moved = 0
    for seed in range(12):
        for mover in attachments(np.random.default_rng(seed), assets, robot, rest):
            a, b = mover(0.0, rest), mover(0.0, other)
            assert isinstance(a, Prop) and len(a.faces) == len(b.faces)
            same = a.T_base_prop is b.T_base_prop is None or np.allclose(a.T_base_prop, b.T_base_prop)
            moved += not (same and np.array_equal(a.vertices, b.vertices))
    assert moved >= 4


def test_a_handheld_camera_starts_where_it_was_put_and_keeps_looking():
    start, target = camera(), np.array([0, 0, 0.3])
    for seed in range(10):
        track = handheld(np.random.default_rng(seed), start, target)
        assert np.allclose(track(0.0, None).T_cam_base, start.T_cam_base)
        first, later = ((c.T_cam_base @ [*target, 1])[:3] for c in (track(0.0, None), track(1.0, None)))
        cosine = first @ later / np.linalg.norm(first) / np.linalg.norm(later)
        assert cosine > np.cos(0.35) and np.linalg.norm(eye_of(track(1.0, None)) - eye_of(start)) > 1e-3


def test_cameras_too_near_too_far_and_right():
    panda = load_robot("panda")
    poses, mesh = panda.link_poses(panda.rest), panda.mesh
    points = np.einsum("vij,vj->vi", poses[mesh.vertex_link, :3, :3], mesh.vertices) + poses[mesh.vertex_link, :3, 3]

    def at(distance):
        eye = np.array([0.2, -distance, 0.5])
        return Camera.from_focal(80, 60, 70, look_at(eye, np.array([0.2, 0, 0.4]), 0))

    assert clear(points, at(1.5)) and well_covered(points, at(1.5))
    assert not clear(points, at(0.1)) and not well_covered(points, at(30.0))


def test_a_backdrop_turns_with_the_camera():
    rng = np.random.default_rng(0)
    first = camera(81, 61)
    wide = Camera.from_focal(201, 151, first.focal, first.T_cam_base)
    coarse = rng.integers(0, 255, (10, 14, 3)).astype(np.uint8)
    image = np.kron(coarse, np.ones((16, 16, 1), np.uint8))[:151, :201]
    backdrop = Backdrop(np.ascontiguousarray(image), wide)
    seen = backdrop.seen_by(first)
    assert np.array_equal(seen, image[45:106, 60:141])  # the middle, pixel on pixel
    pan = np.eye(4)
    angle = np.arctan(20 / first.focal)
    pan[:3, :3] = [[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]]
    turned = Camera(81, 61, first.K, pan @ first.T_cam_base)
    middle = backdrop.seen_by(turned)[30, 40].astype(int)
    assert np.abs(middle - image[75, 120]).max() <= 1  # 20 pixels farther right


def test_drawn_backdrops_and_looks_need_no_files(bare):
    rng = np.random.default_rng(1)
    image = random_backdrop(rng, bare, camera(), moving=True).image
    assert image.shape == (90, 120, 3) and image.std() > 5
    lighting = random_lighting(rng, bare, image)
    assert 1 <= len(lighting.lights) <= 3 and lighting.exposure > 0
    looks = [random_look(rng, bare.robots[0]) for _ in range(20)]
    assert all((look.face_color >= 0).all() and (look.face_color <= 1).all() for look in looks)
    assert len({look.face_color.tobytes() for look in looks}) == 20


def test_a_shutter_adds_light_not_bytes():
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert exposed([black, white])[0, 0, 0] == round(255 * 0.5 ** (1 / 2.2))
    assert exposed([white]) is white


def test_a_plain_sensor_hardly_changes_a_smooth_picture_and_others_do():
    x = np.linspace(20, 230, 64)
    picture = np.stack([np.tile(x, (48, 1))] * 3, -1).astype(np.uint8)
    rng = np.random.default_rng(0)
    assert np.abs(PLAIN.develop(picture, rng).astype(int) - picture).max() <= 1
    changes = []
    for seed in range(30):
        sensor = random_sensor(np.random.default_rng(seed))
        out = sensor.develop(picture, np.random.default_rng(0))
        assert out.shape == picture.shape and out.dtype == np.uint8
        assert np.array_equal(out, sensor.develop(picture, np.random.default_rng(0)))
        changes.append(np.abs(out.astype(int) - picture).mean())
    assert max(changes) > 8 and 0.5 < np.median(changes) < 16


def test_video_compression_keeps_the_number_of_frames_and_costs_quality():
    rng = np.random.default_rng(0)
    texture = np.kron(rng.integers(0, 255, (20, 24, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    frames = [np.ascontiguousarray(np.roll(texture, 3 * k, 1)[:64, :80]) for k in range(5)]
    good, bad = (recoded(frames, crf, 10) for crf in (18, 40))
    assert len(good) == len(bad) == 5 and good[0].shape == frames[0].shape

    def error(coded):
        return np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(coded, frames)])

    assert error(good) < 0.6 * error(bad)
