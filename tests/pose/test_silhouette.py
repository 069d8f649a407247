"""Silhouettes: coverage, occlusion, batches, and gradients against central differences of a hard rendering.

A gradient's error is the norm of its difference to the central difference over the norm of the latter, for each
of the blocks q, twist of T_cam_base, and (fx, fy, cx, cy, skew). The loss is the sum of coverage times a smooth random
image of both signs, for the arm, for the gripper and for the robot, so that most of the gradient cancels, as it does
near a fit.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from pose import Camera, CameraError
from pose.boundary import EdgeTable, boundary_samples
from pose.raster import inverse_depth, rasterize
from pose.silhouette import project_vertices, render_silhouette
from tests.pose.silhouette_cases import hard_parts, look_at, ring_and_box, slider, smooth_weights, torus, twisted
from urdf import RobotError, load_robot

W, H = 320, 240
K = np.array([[320.0, 0, 159.5], [0, 320, 119.5], [0, 0, 1]])


def gradients(
    robot: Any, q: np.ndarray, T: np.ndarray, distortion: tuple[float, ...], weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Analytic and central-difference gradients, each (3, n+11): losses of arm, gripper, robot by q, twist, K."""
    n = len(q)
    base = torch.from_numpy(T)

    def unpack(p: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        fx, fy, cx, cy, skew = p[n + 6 :]
        zero = torch.zeros_like(fx)
        matrix = torch.stack([fx, skew, cx, zero, fy, cy, zero, zero, torch.ones_like(fx)]).reshape(3, 3)
        return p[:n], twisted(base, p[n : n + 6]), matrix

    start = torch.from_numpy(np.r_[q, np.zeros(6), K[0, 0], K[1, 1], K[0, 2], K[1, 2], 0.0])
    camera = Camera(W, H, None, None, distortion)
    point = start.clone().requires_grad_()
    q_, T_, K_ = unpack(point)
    image = render_silhouette(robot, q_, replace(camera, K=K_, T_cam_base=T_))
    w = torch.from_numpy(weights)
    losses = [(image.arm * w[0]).sum(), (image.gripper * w[1]).sum(), (image.robot * w[0]).sum()]
    analytic = [torch.autograd.grad(value, point, retain_graph=True)[0].numpy() for value in losses]

    step = np.r_[np.full(n + 6, 3e-3), 4, 4, 0.5, 0.5, 2]
    numeric = []
    for i, h in enumerate(step):
        ends = []
        for sign in (1, -1):
            moved = start.clone()
            moved[i] += sign * h
            hard = hard_parts(
                robot, *unpack(moved), camera, scale=16
            )  # at 12 the reference itself is off by up to 10 %
            ends.append([(hard[0] * weights[0]).sum(), (hard[1] * weights[1]).sum(), (hard.sum(0) * weights[0]).sum()])
        numeric.append((np.array(ends[0]) - ends[1]) / (2 * h))
    return np.array(analytic), np.array(numeric).T


def block_errors(analytic: np.ndarray, numeric: np.ndarray, n: int) -> list[float]:
    """Errors of every block and loss; a part whose gradient almost vanishes counts against a tenth of the largest."""
    errors = []
    for block in (slice(0, n), slice(n, n + 6), slice(n + 6, n + 11)):
        size = np.linalg.norm(numeric[:, block], axis=1)
        error = np.linalg.norm((analytic - numeric)[:, block], axis=1)
        errors += (error / np.maximum(size, max(0.1 * size.max(), 1e-9))).tolist()
    return errors


def random_view(rng: np.random.Generator, distance: float, target: tuple[float, float, float]) -> np.ndarray:
    azimuth, elevation = rng.uniform(-3, 3), rng.uniform(-0.1, 1.0)
    c = np.cos(elevation)
    eye = distance * np.array([np.cos(azimuth) * c, np.sin(azimuth) * c, np.sin(elevation)])
    return look_at(eye + target, np.array(target) + rng.normal(size=3) * 0.15, rng.uniform(-0.3, 0.3))


@pytest.mark.parametrize("shape", [torus, ring_and_box])
@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_of_primitives(shape: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    T = random_view(rng, 1.3 - 0.5 * seed, (0, 0, 0.1))
    distortion = (-0.1, 0.05, 0.001, -0.001, 0.0) if seed else ()
    q = np.array([0.1 * rng.normal(), rng.normal()])
    analytic, numeric = gradients(shape(), q, T, distortion, smooth_weights(rng, H, W))
    assert max(block_errors(analytic, numeric, 2)) < 0.10


@pytest.mark.parametrize("seed,distance", [(0, 1.7), (1, 2.0), (2, 0.9)])  # the last one partly outside the image
def test_gradients_of_panda(seed: int, distance: float) -> None:
    _check_robot(load_robot("panda"), seed, distance)


@pytest.mark.parametrize("seed,distance", [(0, 1.7), (2, 0.9)])
def test_gradients_of_kuka(shared: Any, seed: int, distance: float) -> None:
    path = shared / "data" / "kuka_lbr_med7" / "robot" / "lbr_med7.urdf"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    _check_robot(load_robot(str(path)), seed, distance)


def _check_robot(robot: Any, seed: int, distance: float) -> None:
    rng = np.random.default_rng(seed)
    T = random_view(rng, distance, (0, 0, 0.4))
    q = robot.random_configuration(rng)
    analytic, numeric = gradients(robot, q, T, (), smooth_weights(rng, H, W))
    errors = block_errors(analytic, numeric, len(q))
    assert np.median(errors) < 0.05 and max(errors) < 0.10, errors


def test_seam_of_parts_that_run_into_each_other() -> None:
    """A box sunk into a ball: the boundary is no mesh edge, and moves with depth too."""
    robot = slider(trimesh.creation.icosphere(4, 0.3), trimesh.creation.box((0.35, 0.35, 0.5)))
    rng = np.random.default_rng(3)
    view, weights = random_view(rng, 1.2, (0, 0, 0)), smooth_weights(rng, H, W)
    analytic, numeric = gradients(robot, np.array([0.05, 0.4]), view, (), weights)
    assert max(block_errors(analytic, numeric, 2)) < 0.10


def test_coverage_and_occlusion() -> None:
    """A square of known size, and a gripper box behind, then in front of the arm's plate."""
    plate = trimesh.creation.box((0.4, 0.02, 0.4))
    box = trimesh.creation.box((0.2, 0.02, 0.2), transform=trimesh.transformations.translation_matrix((0, 0.3, 0)))
    robot = slider(plate, box)
    front, back = look_at(np.array([0, -1.0, 0.0]), np.zeros(3)), look_at(np.array([0, 1.0, 0.0]), np.zeros(3))
    hidden = render_silhouette(robot, np.zeros(2), Camera(W, H, K, front))
    assert hidden.gripper.max() == 0
    assert float(hidden.arm.sum()) == pytest.approx((320 * 0.4 / 0.99) ** 2, rel=2e-3)
    seen = render_silhouette(robot, np.zeros(2), Camera(W, H, K, back))
    assert float(seen.gripper.sum()) == pytest.approx((320 * 0.2 / 0.69) ** 2, rel=2e-3)
    assert float(seen.robot.sum()) == pytest.approx((320 * 0.4 / 0.99) ** 2, rel=2e-3)
    for image in (hidden, seen):
        assert torch.equal(image["robot"], image.arm + image.gripper)
        assert image.robot.min() >= 0 and image.robot.max() <= 1
        assert image.robot.dtype == torch.float32 and image.robot.shape == (H, W)


def test_batch_equals_loop() -> None:
    robot = ring_and_box()
    rng = np.random.default_rng(0)
    q = torch.from_numpy(rng.normal(size=(2, 3, 2)) * 0.2).requires_grad_()
    T = torch.from_numpy(np.stack([random_view(rng, 1.3, (0, 0, 0)) for _ in range(3)])).requires_grad_()
    weights = torch.from_numpy(rng.normal(size=(H, W)))
    batch = render_silhouette(robot, q, Camera(W, H, K, T))
    assert batch.gripper.shape == (2, 3, H, W)
    (batch.arm * weights).sum().backward()
    grad_q, grad_T = q.grad.clone(), T.grad.clone()
    q.grad, T.grad = None, None
    for i in range(2):
        for j in range(3):
            one = render_silhouette(robot, q[i, j], Camera(W, H, K, T[j]))
            assert torch.equal(one.robot, batch.robot[i, j])
            (one.arm * weights).sum().backward()
    assert torch.allclose(q.grad, grad_q, rtol=1e-6) and torch.allclose(T.grad, grad_T, rtol=1e-6)


@pytest.mark.parametrize("eye,target", [((0, -2, 0.0), (0, -4, 0.0)), ((0, -2, 0.0), (5, -2, 0.0))])
def test_robot_out_of_view(eye: Any, target: Any) -> None:
    """Behind the camera, beside the image: nothing, and a gradient of zero, not NaN."""
    T = torch.from_numpy(look_at(np.array(eye, float), np.array(target, float))).requires_grad_()
    q = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    image = render_silhouette(ring_and_box(), q, Camera(W, H, K, T))
    image.robot.sum().backward()
    assert image.robot.abs().max() == 0
    assert q.grad.abs().max() == 0 and T.grad.abs().max() == 0


def test_dtypes_and_gradient_types() -> None:
    for dtype in (torch.float32, torch.float64):
        q = torch.zeros(2, dtype=dtype, requires_grad=True)
        image = render_silhouette(torus(), q, Camera(W, H, K, look_at(np.array([0.2, -1.5, 0.4]), np.zeros(3))))
        image.arm.sum().backward()
        assert image.arm.dtype == torch.float32 and q.grad.dtype == dtype


def test_errors_say_what_to_do() -> None:
    robot, T = torus(), look_at(np.array([0, -1.5, 0.4]), np.zeros(3))
    with pytest.raises(RobotError, match="2 joint values"):
        render_silhouette(robot, np.zeros(3), Camera(W, H, K, T))
    with pytest.raises(CameraError, match="T_cam_base"):
        render_silhouette(robot, np.zeros(2), Camera(W, H, K))
    with pytest.raises(CameraError, match="expected"):
        render_silhouette(robot, np.zeros(2), Camera(W, H, K, T[:3]))
    with pytest.raises(CameraError, match="broadcast"):
        render_silhouette(robot, np.zeros((3, 2)), Camera(W, H, K, np.stack([T, T])))
    with pytest.raises(CameraError, match="unknown rendering backend"):
        render_silhouette(robot, np.zeros(2), Camera(W, H, K, T), backend="mitsuba")


def test_boundary_samples_measure_a_disc() -> None:
    """Every change in the picture has one sample; they sum to the circumference, and to zero as vectors."""
    ball = trimesh.creation.icosphere(4, 0.3)
    uv = (ball.vertices[:, :2] * 300 / 2.0 + [60.3, 64.8]).astype(np.float32)  # parallel projection
    inv_z = inverse_depth(ball.vertices[:, 2] + 2)
    edges = EdgeTable.build(ball.vertices, ball.faces)
    assert len(edges.vertices) == 3 * len(ball.faces) // 2 and (edges.opposite >= 0).all()
    for scale in (1, 4):
        face_id, inv_depth = rasterize(uv, inv_z, ball.faces, 128, 128, scale)
        part = np.zeros(len(ball.faces), np.int8)
        b = boundary_samples(uv, inv_z, edges, face_id, inv_depth, part, scale)
        seen = face_id >= 0
        assert len(b.x) == (seen[1:] != seen[:-1]).sum() + (seen[:, 1:] != seen[:, :-1]).sum()
        assert b.length.sum() == pytest.approx(2 * np.pi * 45, rel=0.01)
        assert abs((b.nx * b.length).sum()) < 0.5 and abs((b.ny * b.length).sum()) < 0.5
        assert np.hypot(b.x - 60.3, b.y - 64.8) == pytest.approx(45, abs=0.5)
        assert ((b.x - 60.3) * b.nx + (b.y - 64.8) * b.ny > 0).all()


def test_edges_of_an_open_and_a_branching_mesh() -> None:
    """Two triangles on one edge, a third on the same edge, and vertices that lie on each other."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, 0]], float)
    pair = EdgeTable.build(vertices, np.array([[0, 1, 2], [1, 5, 3]]))
    assert (pair.opposite[:, 1] >= 0).sum() == 1 and len(pair.vertices) == 5
    three = EdgeTable.build(vertices, np.array([[0, 1, 2], [1, 5, 3], [0, 1, 4]]))
    assert (three.opposite[:, 1] < 0).all() and len(three.vertices) == 9


def test_coverage_is_the_mean_of_point_samples() -> None:
    robot, T = ring_and_box(), torch.from_numpy(random_view(np.random.default_rng(1), 1.0, (0.2, 0, 0)))
    q = torch.tensor([0.1, 0.3], dtype=torch.float64)
    uv, z = project_vertices(robot.mesh, (T @ robot.forward_kinematics(q))[None], torch.from_numpy(K)[None])
    face_id, _ = rasterize(uv[0].numpy(), inverse_depth(z[0].numpy()), robot.mesh.faces, H, W, 4)
    part = np.where(face_id < 0, -1, robot.part_of_face[face_id]).reshape(H, 4, W, 4)
    for p, image in enumerate(hard_parts(robot, q, T, torch.from_numpy(K), Camera(W, H, K), 4)):
        assert np.abs((part == p).mean((1, 3)) - image).max() < 1e-6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_tensors_on_a_gpu() -> None:
    q = torch.zeros(2, device="cuda", requires_grad=True)
    image = render_silhouette(torus(), q, Camera(W, H, K, look_at(np.array([0.2, -1.5, 0.4]), np.zeros(3))), "cpu")
    image.arm.sum().backward()
    assert image.arm.is_cuda and q.grad.is_cuda


@pytest.mark.skipif(find_spec("pytorch3d") is None, reason="pytorch3d is not installed")
def test_pytorch3d_agrees() -> None:
    """Same coverage but for its soft edges; the same gradient of the whole robot.

    Where one part hides the other pytorch3d's gradient is no reference: the nearer triangle's weight saturates.
    """
    robot = ring_and_box()
    rng = np.random.default_rng(5)
    weights = torch.from_numpy(smooth_weights(rng, H, W)).float()
    camera = Camera(W, H, K, random_view(rng, 1.3, (0, 0, 0)))
    results = []
    for backend in ("cpu", "pytorch3d"):
        q = torch.tensor([0.05, 0.4], requires_grad=True)
        T = torch.tensor(camera.T_cam_base, dtype=torch.float32, requires_grad=True)
        image = render_silhouette(robot, q, replace(camera, T_cam_base=T), backend)
        (image.robot * weights[0]).sum().backward()
        results.append((image, torch.cat([q.grad, T.grad.flatten()])))
    (ours, grad), (theirs, other) = results
    for part in ("robot", "arm", "gripper"):
        both, either = torch.minimum(ours[part], theirs[part]).sum(), torch.maximum(ours[part], theirs[part]).sum()
        assert both / either > 0.96, part
    assert torch.nn.functional.cosine_similarity(grad, other, dim=0) > 0.95
