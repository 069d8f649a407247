"""The fit on rendered masks of the Panda, and on the KUKA's photographs where the shared data is present."""

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose import Camera, FitError, fit_video
from pose.kernel import coverage, make_model, see
from pose.solver import SHARED, Level, View, evaluate, move
from pose.start import look
from urdf import load_robot

FRAMES, WIDTH, HEIGHT = 6, 320, 240


@pytest.fixture(scope="module")
def robot():
    return load_robot("panda")


@pytest.fixture(scope="module")
def clip(robot):
    """Joints (T,8), camera, and masks of arm and gripper drawn by the rasteriser."""
    t = np.linspace(0, 1, FRAMES)[:, None]
    q = robot.rest + 0.3 * np.sin(2 * np.pi * (0.3 * t + np.linspace(0, 1, 8)))
    q[:, 7] = np.linspace(0.005, 0.035, FRAMES)
    R = look(np.array([0.9]), np.array([0.4]), np.array([0.03]))[0]
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, R @ -np.array([0.25, 0, 0.35]) + [0, 0, 1.6]
    camera = Camera.from_focal(WIDTH, HEIGHT, 300.0, T)
    model = make_model(robot, robot.display_mesh)
    masks = []
    for row in q:
        face_id, _, _ = see(model, row, T, np.asarray(camera.K), HEIGHT, WIDTH, 1)
        part = np.where(face_id >= 0, model.face_part[face_id], -1)
        masks.append({"robot": (part >= 0).astype(np.uint8) * 255, "gripper": (part == 1).astype(np.uint8) * 255})
    return q, camera, masks


def _camera_error(T, T_true):
    a, b = np.linalg.inv(T), np.linalg.inv(T_true)
    angle = np.linalg.norm(Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).as_rotvec())
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3])), float(np.rad2deg(angle))


@pytest.mark.parametrize("width, height", [(80, 60), (320, 240)])
def test_normal_equations_are_the_costs_derivatives(robot, clip, width, height):
    q, camera, _ = clip
    model = make_model(robot)
    channels = np.array([[1, 1], [0, 1]], np.float32)
    K = camera.scaled(width / WIDTH).K
    view = View(width, height, K, camera.T_cam_base, np.array([0.2, -0.1]))
    level = Level(width, 2.0, robust=100.0, samples=4)
    face_id, _, _ = see(model, q[0] + np.r_[np.full(7, 0.03), -0.004], camera.T_cam_base, K, height, width, 4)
    target = coverage(face_id, model.face_part, channels, 4)
    pivot = np.array([0.0, 0, 1.6])
    g = evaluate(model, q[0], view, target, channels, level, pivot).g

    def cost(step):
        moved = move(view, step[:SHARED], pivot)
        return evaluate(model, q[0] + step[SHARED:], moved, target, channels, level).cost

    numeric = []
    for k in range(SHARED + 8):
        step = np.zeros(SHARED + 8)
        step[k] = 0.01 if k < SHARED + 7 else 0.004
        numeric.append((cost(step) - cost(-step)) / 4 / step[k])
    for block in (np.r_[0:7, SHARED : SHARED + 7], np.r_[7:SHARED]):
        scale = np.linalg.norm(np.array(numeric)[block])
        assert np.linalg.norm((g - numeric)[block]) < 0.1 * scale


def test_camera_from_known_joints(robot, clip):
    q, camera, masks = clip
    fit = fit_video(robot, masks, camera=Camera(WIDTH, HEIGHT, camera.K), q=q)
    metres, degrees = _camera_error(fit.camera.T_cam_base, camera.T_cam_base)
    assert metres < 0.005 and degrees < 0.3
    assert fit.solved == ("camera",)
    np.testing.assert_allclose(fit.q, q)
    assert (fit.camera_sigma > 0).all() and fit.iou.min() > 0.95


def test_joints_from_known_camera_and_first_frame(robot, clip):
    q, camera, masks = clip
    fit = fit_video(robot, masks, camera=camera, q0=q[0], fps=10)
    assert np.rad2deg(np.median(np.abs(fit.q - q)[:, :7])) < 0.3
    assert np.abs(fit.q - q)[:, 7].max() < 0.004
    assert fit.valid.all() and fit.observable[:, :7].all()


def test_everything_from_nothing(robot, clip):
    q, _, masks = clip
    fit = fit_video(robot, masks, fps=10)
    assert np.rad2deg(np.median(np.abs(fit.q - q)[:, :7])) < 1.0
    assert abs(fit.camera.focal / 300 - 1) < 0.05 and fit.focal_sigma > 0
    assert fit.solved == ("camera", "joints", "gripper", "focal")


def test_frames_without_a_robot_have_no_joints(robot, clip):
    q, camera, masks = clip
    holes = [dict(m) for m in masks]
    holes[2] = {name: np.zeros_like(mask) for name, mask in holes[2].items()}
    fit = fit_video(robot, holes, camera=camera, q0=q[0], fps=10)
    assert np.isnan(fit.q[2]).all() and not fit.valid[2] and not fit.observable[2].any()
    assert np.isfinite(np.delete(fit.q, 2, 0)).all()
    assert any("no robot" in warning for warning in fit.warnings)


def test_a_mask_that_does_not_fit_is_flagged(robot, clip):
    q, camera, masks = clip
    wrong = [dict(m) for m in masks]
    disc = cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), (40, 200), 35, 255, -1)
    wrong[3] = {"robot": disc, "gripper": np.zeros_like(disc)}
    fit = fit_video(robot, wrong, camera=camera, q0=q[0], fps=10)
    assert not fit.valid[3] and fit.valid[[0, 1, 2, 4, 5]].all()


def test_distorted_lens(robot, clip):
    q, camera, _ = clip
    lens = (-0.25, 0.08, 0.001, -0.002, 0.0)
    bent = Camera(WIDTH, HEIGHT, camera.K, camera.T_cam_base, lens)
    mesh = robot.display_mesh
    masks = []
    from pose.raster import inverse_depth, rasterize

    for row in q:
        poses = camera.T_cam_base @ robot.link_poses(row)
        T = poses[mesh.vertex_link]
        points = np.einsum("vij,vj->vi", T[:, :3, :3], mesh.vertices) + T[:, :3, 3]
        face_id, _ = rasterize(bent.project(points), inverse_depth(points[:, 2]), mesh.faces, HEIGHT, WIDTH)
        masks.append({"robot": (face_id >= 0).astype(np.uint8) * 255})
    fit = fit_video(robot, masks, camera=Camera(WIDTH, HEIGHT, camera.K, None, lens), q=q)
    metres, degrees = _camera_error(fit.camera.T_cam_base, camera.T_cam_base)
    assert metres < 0.008 and degrees < 0.4


@pytest.mark.parametrize(
    "change, word",
    [
        ({"camera": Camera.from_focal(64, 48, 50.0)}, "64x48"),
        ({"q": np.zeros((2, 8))}, "2x8"),
        ({"q0": np.zeros(3)}, "8 finite"),
        ({"solve": ["everything"]}, "everything"),
        ({"solve": ["joints"]}, "pose is not given"),
        ({"times": np.zeros(FRAMES)}, "increasing"),
    ],
)
def test_bad_arguments_are_named(robot, clip, change, word):
    with pytest.raises(FitError, match=word) as error:
        fit_video(robot, clip[2], **change)
    assert "\n" not in str(error.value)


def test_bad_masks_are_named(robot, clip):
    masks = clip[2]
    empty = [{"robot": np.zeros((HEIGHT, WIDTH), np.uint8)}] * 3
    with pytest.raises(FitError, match="no frame"):
        fit_video(robot, empty)
    with pytest.raises(FitError, match="no masks"):
        fit_video(robot, [])
    with pytest.raises(FitError, match="parts"):
        fit_video(robot, [{"leg": masks[0]["robot"]}])
    with pytest.raises(FitError, match="frame 1 is 10x10"):
        fit_video(robot, [{"robot": masks[0]["robot"]}, {"robot": np.zeros((10, 10), np.uint8)}])


def test_kuka_camera_from_photographs(shared):
    """Real left images: joints known, no depth, no initial camera; reference and bar as in the shared data's index."""
    import yaml

    folder = shared / "data" / "kuka_lbr_med7"
    robot = load_robot(str(folder / "robot" / "lbr_med7.urdf"))
    info = yaml.safe_load((folder / "left_camera_info.yaml").read_text())
    camera = Camera(info["width"], info["height"], np.array(info["k"], float).reshape(3, 3))
    masks = [{"robot": cv2.imread(str(folder / f"mask_sam2_left_image_{i}.png"), 0)} for i in range(5)]
    q = np.stack([np.load(folder / f"joint_states_{i}.npy") for i in range(5)])
    optical = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    reference = optical @ np.linalg.inv(np.load(folder / "HT_left_dr.npy"))
    fit = fit_video(robot, masks, camera=camera, q=q)
    metres, degrees = _camera_error(fit.camera.T_cam_base, reference)
    assert metres < 0.010 and degrees < 0.6 and fit.iou.mean() > 0.90
