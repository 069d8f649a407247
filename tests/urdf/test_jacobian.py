"""Geometric Jacobians against autograd of the forward kinematics and against pinocchio."""

from __future__ import annotations

import numpy as np
import pinocchio
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_trees import random_robot

from urdf import Robot, load_robot
from urdf.reference import reference_jacobian


def autograd_frames(robot: Robot, q: torch.Tensor) -> np.ndarray:
    """(L,6,n) by differentiating poses: the angular velocity is the skew part of dR R^T."""
    R = robot.forward_kinematics(q)[:, :3, :3]
    D = torch.autograd.functional.jacobian(lambda x: robot.forward_kinematics(x), q)  # (L,4,4,n)
    spin = torch.einsum("lijn,lkj->likn", D[:, :3, :3], R)
    return torch.cat([D[:, :3, 3], torch.stack([spin[:, 2, 1], spin[:, 0, 2], spin[:, 1, 0]], 1)], 1).numpy()


def check(robot: Robot, q: np.ndarray, atol: float) -> None:
    """All links of all rows of q (N,n) against autograd; the tool and another link against pinocchio."""
    x = torch.tensor(q)
    frames = torch.stack([robot.jacobian(x, name) for name in robot.link_names], 1).numpy()
    np.testing.assert_allclose(frames[0], autograd_frames(robot, x[0]), atol=atol)
    for name in {robot.ee_link, robot.link_names[len(q) % len(robot.link_names)]}:
        expected = reference_jacobian(robot, q, name)
        np.testing.assert_allclose(frames[:, robot.link_names.index(name)], expected, atol=atol)
    rng = np.random.default_rng(0)
    links, points = rng.integers(0, len(robot.link_names), 20), rng.normal(size=(20, 3))

    def place(x: torch.Tensor) -> torch.Tensor:
        T = robot.forward_kinematics(x)[links]
        return (T[:, :3, :3] @ torch.tensor(points)[:, :, None])[..., 0] + T[:, :3, 3]

    expected = torch.autograd.functional.jacobian(place, x[-1]).numpy()
    np.testing.assert_allclose(robot.point_jacobian(x, links, points)[-1].numpy(), expected, atol=atol)


@pytest.mark.parametrize("name", ["panda", "iiwa14", "widowx250s", "viperx300s"])
def test_catalogue_robots(name: str) -> None:
    robot = load_robot(name)
    rng = np.random.default_rng(1)
    check(robot, np.stack([robot.random_configuration(rng) for _ in range(8)]), 1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), links=st.integers(1, 14))
def test_random_trees(seed: int, links: int) -> None:
    """All joint types, mimic chains, endless joints, branches."""
    robot = random_robot(seed, links)
    rng = np.random.default_rng(seed)
    check(robot, np.stack([robot.random_configuration(rng) for _ in range(3)]), 1e-8)


def test_pinocchio_itself_agrees(panda: Robot) -> None:
    """Pinocchio's own treatment of the mimic joint, without our projection."""
    model = pinocchio.buildModelFromXML(panda.urdf_xml, mimic=True)
    data = model.createData()
    q = panda.random_configuration(np.random.default_rng(3))
    pinocchio.computeJointJacobians(model, data, q)
    pinocchio.updateFramePlacements(model, data)
    for name in ("panda_hand_tcp", "panda_rightfinger"):
        frame = model.getFrameId(name, pinocchio.FrameType.BODY)
        expected = pinocchio.getFrameJacobian(model, data, frame, pinocchio.LOCAL_WORLD_ALIGNED)
        np.testing.assert_allclose(panda.jacobian(torch.tensor(q), name).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (0,)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_shapes_and_types(panda: Robot, batch: tuple[int, ...], dtype: torch.dtype) -> None:
    q = torch.tensor(panda.rest, dtype=dtype).expand(*batch, 8)
    frame = panda.jacobian(q)
    points = panda.point_jacobian(q, panda.mesh.vertex_link[:5], panda.mesh.vertices[:5])
    assert frame.shape == (*batch, 6, 8) and points.shape == (*batch, 5, 3, 8)
    assert frame.dtype == points.dtype == dtype
    exact = panda.jacobian(torch.tensor(panda.rest)).expand(*batch, 6, 8)
    torch.testing.assert_close(frame, exact.to(dtype), atol=1e-6, rtol=0)


def test_they_stay_on_the_device_of_q(panda: Robot) -> None:
    """Tensors without storage refuse to be mixed with others, so no constant comes from the CPU."""
    q = torch.zeros(3, 8, device="meta")
    links, points = torch.zeros(5, dtype=torch.long, device="meta"), torch.zeros(5, 3, device="meta")
    assert panda.jacobian(q).device.type == panda.point_jacobian(q, links, points).device.type == "meta"


def test_they_can_be_differentiated_again(panda: Robot) -> None:
    q = torch.tensor(panda.rest, requires_grad=True)
    links, points = np.array([0, 5, 12]), np.ones((3, 3))
    assert torch.autograd.gradcheck(lambda x: (panda.jacobian(x), panda.point_jacobian(x, links, points)), (q,))


def test_what_does_not_fit_is_refused(panda: Robot) -> None:
    q = torch.tensor(panda.rest)
    with pytest.raises(ValueError, match="no link 'elbow'"):
        panda.jacobian(q, "elbow")
    with pytest.raises(ValueError, match="8 joints"):
        panda.jacobian(q[:7])
    for links, points, words in (
        ([0], np.zeros((2, 3)), r"\(P,\) and \(P,3\)"),
        ([0, 1], np.zeros((2, 2)), r"\(P,\) and \(P,3\)"),
        ([13], np.zeros((1, 3)), "links 0 to 12"),
        ([-1], np.zeros((1, 3)), "links 0 to 12"),
    ):
        with pytest.raises(ValueError, match=words):
            panda.point_jacobian(q, np.array(links), points)
