"""For comparison: Adam through the differentiable renderer, the common way to fit a robot to masks.

It cannot begin from nothing. It is given what the fit has to find: the truth, disturbed a little.
"""

from __future__ import annotations

import time
from dataclasses import replace

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from benchmarks.synthetic import Clip
from pose import Camera, Trajectory, render_silhouette
from urdf import Robot

STEPS = 200
SCALE = 0.5  # of the pictures
OFF_JOINTS, OFF_TURN, OFF_PLACE, OFF_FOCAL = np.deg2rad(5.0), np.deg2rad(3.0), 0.03, 0.05  # standard deviations
RATE = {"q": 0.01, "turn": 0.003, "place": 0.003, "focal": 0.002}


def adam(robot: Robot, clip: Clip, seed: int = 0) -> tuple[Trajectory, float]:
    """Joints, camera and focal length after STEPS steps on the squared difference of masks, and the seconds it took."""
    begin = time.perf_counter()
    rng = np.random.default_rng([seed, 3])
    small = clip.camera.scaled(SCALE)
    size = small.width, small.height
    names = [n for n in ("robot", "gripper") if n in clip.masks[0]]
    masks = {
        n: torch.tensor(np.stack([cv2.resize(m[n], size, interpolation=cv2.INTER_AREA) for m in clip.masks]) / 255.0)
        for n in names
    }
    unit = np.minimum(1.0, (robot.upper - robot.lower) / 1.4)
    q = torch.tensor(robot.clip(clip.q + rng.normal(0, OFF_JOINTS, clip.q.shape) * unit)).requires_grad_()
    start = np.array(clip.camera.T_cam_base, float)
    start[:3, :3] = Rotation.from_rotvec(rng.normal(0, OFF_TURN, 3)).as_matrix() @ start[:3, :3]
    start[:3, 3] += rng.normal(0, OFF_PLACE, 3)
    T0, K0 = torch.tensor(start), torch.tensor(np.asarray(small.K, float))
    turn, place = (torch.zeros(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    stretch = torch.tensor(rng.normal(0, OFF_FOCAL), requires_grad=True)
    optimizer = torch.optim.Adam(
        [{"params": [p], "lr": RATE[n]} for n, p in (("q", q), ("turn", turn), ("place", place), ("focal", stretch))]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)

    def camera() -> Camera:
        x, y, z = turn
        zero = torch.zeros(())
        skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
        R = torch.linalg.matrix_exp(skew) @ T0[:3, :3]
        T = torch.cat([torch.cat([R, (T0[:3, 3] + place)[:, None]], 1), T0[3:]])
        f = torch.exp(stretch)
        # the principal point is known: only the diagonal is stretched
        K = K0 * torch.where(torch.tensor(np.diag([True, True, False])), f, torch.ones(()))
        return replace(small, T_cam_base=T, K=K)

    for _ in range(STEPS):
        optimizer.zero_grad()
        drawn = render_silhouette(robot, q, camera())
        loss = sum(((drawn[n] - masks[n]) ** 2).sum() for n in names)
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        T = camera().T_cam_base.numpy()
    focal = clip.camera.focal * float(np.exp(stretch.item()))
    found = Camera.from_focal(clip.camera.width, clip.camera.height, focal, T)
    count = len(clip.q)
    fit = Trajectory(
        robot.joint_names, q.detach().numpy(), np.zeros(clip.q.shape), np.ones(clip.q.shape, bool), np.ones(count),
        np.ones(count, bool), found, np.zeros(6), 0.0, 0.0, ("camera", "joints", "gripper", "focal"),
    )  # fmt: skip
    return fit, time.perf_counter() - begin
