"""Kinematics a second for a robot, beside pinocchio's loop and torch's autograd, and inverse kinematics.

    python -m benchmarks.kinematics [--robot panda] [--batch 4096] [--threads 2] [--targets 1000]

Poses are those of all links. Pinocchio runs in a Python loop over the rows in one thread, as it has no batches; its
poses are counted once copied into an array, as ours are, and once left in its own memory. The gradient is of a random
weighting of all poses. The autograd Jacobian is torch.func.jacrev, vectorised over the batch, of the
poses by elementwise torch operations. Times are the least of several runs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from urdf import Robot, load_robot
from urdf.inverse import inverse_kinematics
from urdf.reference import Reference
from urdf.torch_kinematics import by_level


def rate(work: Callable[[], object], rows: int, repeat: int = 20, seconds: float = 3.0) -> float:
    """Rows a second in the best run."""
    work()
    best, end = np.inf, time.perf_counter() + seconds
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
        if time.perf_counter() > end:
            break
    return rows / best


def pinocchio_rates(robot: Robot, q: np.ndarray) -> tuple[float, float, float]:
    """Poses of all links (computed; taken out too), and Jacobians of the end effector, a second in a loop."""
    import pinocchio

    reference = Reference(robot)
    model, data, frame = reference.model, reference.data, reference.frame(robot.ee_link)
    rows = [reference.configuration(row) for row in q]

    def poses() -> None:
        for row in rows:
            pinocchio.framesForwardKinematics(model, data, row)

    frames = [reference.frame(name) for name in robot.link_names]
    out = np.empty((len(q), len(frames), 4, 4))

    def poses_out() -> None:
        for i, row in enumerate(rows):
            pinocchio.framesForwardKinematics(model, data, row)
            for k, number in enumerate(frames):
                out[i, k] = data.oMf[number].homogeneous

    def jacobians() -> None:
        for row in rows:
            pinocchio.computeFrameJacobian(model, data, row, frame, pinocchio.LOCAL_WORLD_ALIGNED)

    return rate(poses, len(q)), rate(poses_out, len(q)), rate(jacobians, len(q))


def torch_rates(robot: Robot, q: np.ndarray, dtype: torch.dtype) -> dict[str, float]:
    x, rows = torch.tensor(q, dtype=dtype), len(q)
    leaf = x.clone().requires_grad_()
    weight = torch.randn(rows, len(robot.link_names), 4, 4, dtype=dtype)
    links, points = robot.mesh.vertex_link[:100], robot.mesh.vertices[:100]

    def plain(row: torch.Tensor) -> torch.Tensor:
        return by_level(robot.tree, row[None])[0, robot.ee_index]

    few = x[: max(1, rows // 4)]
    return {
        "poses": rate(lambda: robot.forward_kinematics(x), rows),
        "poses and gradient": rate(lambda: robot.forward_kinematics(leaf).backward(weight), rows),
        "jacobian": rate(lambda: robot.jacobian(x), rows),
        "jacobian by autograd": rate(lambda: torch.func.vmap(torch.func.jacrev(plain))(few), len(few), 5),
        "jacobians of 100 points": rate(lambda: robot.point_jacobian(few, links, points), len(few)),
    }


def report_inverse(robot: Robot, targets: int) -> None:
    rng = np.random.default_rng(1)
    q = np.stack([robot.random_configuration(rng) for _ in range(targets)])
    poses = robot.link_poses(q)[:, robot.ee_index]
    for restarts in (0, 20):
        start = time.perf_counter()
        found = [inverse_kinematics(robot, T, restarts=restarts) for T in poses]
        spent = 1000 * (time.perf_counter() - start) / targets
        share = np.mean([f.success for f in found])
        print(f"inverse kinematics, {restarts:2} restarts: {share:7.1%} of {targets} random poses, {spent:.2f} ms each")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robot", default="panda")
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--targets", type=int, default=1000)
    options = parser.parse_args()
    robot = load_robot(options.robot)
    rng = np.random.default_rng(0)
    q = np.stack([robot.random_configuration(rng) for _ in range(options.batch)])
    print(f"{robot.name}: {len(robot.link_names)} links, {q.shape[1]} joints, batches of {options.batch}, a second")
    bare, poses, jacobians = pinocchio_rates(robot, q)
    arrays = rate(lambda: robot.link_poses(q), len(q))
    print(f"pinocchio, 1 thread: poses {poses:,.0f} ({bare:,.0f} left inside), jacobian {jacobians:,.0f}")
    print(
        f"arrays (link_poses), 1 thread: poses {arrays:,.0f}   x{arrays / poses:.1f} (x{arrays / bare:.1f}) pinocchio"
    )
    for threads in sorted({1, options.threads}):
        torch.set_num_threads(threads)
        for dtype in (torch.float64, torch.float32):
            print(f"torch, {str(dtype).removeprefix('torch.')}, {threads} thread{'s' if threads > 1 else ''}")
            rates = torch_rates(robot, q, dtype)
            autograd = rates["jacobian by autograd"]
            for name, value in rates.items():
                peer = {"poses": poses, "jacobian": jacobians}.get(name)
                ratio = f"   x{value / peer:.1f} pinocchio" if peer else ""
                ratio += f"   x{value / autograd:.0f} autograd" if name == "jacobian" else ""
                print(f"    {name:29} {value:18,.0f}{ratio}")
    report_inverse(robot, options.targets)


if __name__ == "__main__":
    main()
