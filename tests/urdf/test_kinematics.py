"""Forward kinematics against pinocchio, and its gradients against finite differences."""

from __future__ import annotations

import numpy as np
import pinocchio
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_trees import random_robot

from urdf import Robot, load_robot
from urdf.reference import end_effector_poses, reference_poses
from urdf.torch_kinematics import by_level


@pytest.fixture(params=["panda", "kuka"])
def robot(request: pytest.FixtureRequest) -> Robot:
    return request.getfixturevalue(request.param)


def test_equals_pinocchio_on_a_thousand_configurations(robot: Robot) -> None:
    rng = np.random.default_rng(0)
    q = np.stack([robot.random_configuration(rng) for _ in range(1000)])
    expected = reference_poses(robot, q)
    np.testing.assert_allclose(robot.link_poses(q), expected, atol=1e-12)
    np.testing.assert_allclose(robot.forward_kinematics(torch.tensor(q)).numpy(), expected, atol=1e-12)
    single = robot.forward_kinematics(torch.tensor(q, dtype=torch.float32))
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), expected, atol=2e-6)
    np.testing.assert_allclose(end_effector_poses(robot, q[:9]), expected[:9, robot.ee_index], atol=1e-12)


@pytest.mark.parametrize("name", ["iiwa14", "widowx250s", "viperx300s"])
def test_other_catalogue_robots_equal_pinocchio(name: str) -> None:
    robot = load_robot(name)
    q = np.stack([robot.random_configuration(np.random.default_rng(i)) for i in range(50)])
    np.testing.assert_allclose(robot.link_poses(q), reference_poses(robot, q), atol=1e-12)


def test_pinocchio_couples_the_fingers_itself(panda: Robot) -> None:
    """The URDF text stands alone: pinocchio reads its mimic joint and agrees."""
    model = pinocchio.buildModelFromXML(panda.urdf_xml, mimic=True)
    assert model.nq == len(panda.joint_names) and list(model.names[1:9]) == list(panda.joint_names)
    data = model.createData()
    rng = np.random.default_rng(3)
    for q in (panda.random_configuration(rng) for _ in range(20)):
        pinocchio.framesForwardKinematics(model, data, q)
        for name, pose in zip(panda.link_names, panda.link_poses(q)):
            frame = model.getFrameId(name, pinocchio.FrameType.BODY)
            np.testing.assert_allclose(pose, data.oMf[frame].homogeneous, atol=1e-12)


@pytest.mark.parametrize("batch", [(), (1,), (4,), (2, 3), (0,)])
def test_batch_shapes(panda: Robot, batch: tuple[int, ...]) -> None:
    q = np.broadcast_to(panda.rest, (*batch, len(panda.joint_names)))
    poses = panda.link_poses(q)
    assert poses.shape == (*batch, len(panda.link_names), 4, 4)
    np.testing.assert_allclose(panda.forward_kinematics(torch.tensor(q.copy())).numpy(), poses, atol=1e-12)


def test_gradient_agrees_with_finite_differences(panda: Robot) -> None:
    rng = np.random.default_rng(1)
    q = torch.tensor(np.stack([panda.random_configuration(rng) for _ in range(3)]), requires_grad=True)
    assert torch.autograd.gradcheck(
        panda.forward_kinematics, (q,), atol=1e-7, check_forward_ad=True, check_batched_grad=True
    )
    assert torch.autograd.gradgradcheck(panda.forward_kinematics, (q[:1],), atol=1e-6)


def test_function_transforms(panda: Robot) -> None:
    q = torch.tensor(np.stack([panda.random_configuration(np.random.default_rng(i)) for i in range(6)]))
    expected = panda.forward_kinematics(q)
    torch.testing.assert_close(torch.func.vmap(panda.forward_kinematics, in_dims=1)(q.T), expected)
    forward, reverse = (jac(panda.forward_kinematics)(q[0]) for jac in (torch.func.jacfwd, torch.func.jacrev))
    torch.testing.assert_close(forward, reverse)


def test_other_devices_take_the_same_poses(panda: Robot) -> None:
    """The path of accelerators, run on the CPU; and no constant of it stays on the CPU elsewhere."""
    q = torch.tensor(np.stack([panda.random_configuration(np.random.default_rng(i)) for i in range(6)]))
    torch.testing.assert_close(by_level(panda.tree, q), panda.forward_kinematics(q), atol=1e-12, rtol=0)
    assert panda.forward_kinematics(q.to("meta", torch.float16)).device.type == "meta"
    half = panda.forward_kinematics(q.bfloat16())
    assert half.dtype == torch.bfloat16 and (half - panda.forward_kinematics(q)).abs().max() < 0.1


def test_integers_are_refused(panda: Robot) -> None:
    with pytest.raises(ValueError, match="floating-point"):
        panda.forward_kinematics(torch.zeros(8, dtype=torch.long))


def test_rows_that_are_not_finite_give_nan_end_effectors(panda: Robot) -> None:
    q = np.stack([panda.rest, np.full_like(panda.rest, np.nan)])
    poses = end_effector_poses(panda, q)
    assert np.isfinite(poses[0]).all() and np.isnan(poses[1]).all()


def test_wrong_number_of_joints_is_refused(panda: Robot) -> None:
    for q in (np.zeros((5, 7)), np.zeros(9), np.zeros(())):
        with pytest.raises(ValueError, match="8 joints"):
            panda.link_poses(q)
        with pytest.raises(ValueError, match="8 joints"):
            panda.forward_kinematics(torch.tensor(q))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), links=st.integers(1, 14))
def test_random_trees_equal_pinocchio(seed: int, links: int) -> None:
    """All joint types and axes, mimic chains with offsets and backwards, endless joints, branches."""
    robot = random_robot(seed, links)
    rng = np.random.default_rng(seed)
    q = np.stack([robot.random_configuration(rng) for _ in range(4)])
    expected = reference_poses(robot, q)
    np.testing.assert_allclose(robot.link_poses(q), expected, atol=1e-9)
    np.testing.assert_allclose(robot.forward_kinematics(torch.tensor(q)).numpy(), expected, atol=1e-9)
    np.testing.assert_allclose(by_level(robot.tree, torch.tensor(q)).numpy(), expected, atol=1e-9)
