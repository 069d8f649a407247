"""Input that cannot be right: recognised where it can be, and said in one line that names what to look at.

What no test recognises shows in the overlap of fit and masks: a fit that explains them badly says so, whatever it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from pose.bundle import Solution, Unknowns, solve
from pose.evenly import evenly
from pose.kernel import Model, overlaps
from pose.solver import View
from pose.targets import Targets
from pose.tracking import MIDDLE, Tracker
from pose.uncertainty import misfit
from urdf import Robot

POOR, DOUBTFUL = 0.7, 0.88  # median IoU: no explanation; less than the right robot reaches with decent masks
SMALL = 64  # pixels across the pictures in which orders of joints are compared
ORDER_FRAMES = 5
ORDER_GAIN = 0.1  # of IoU that another order must bring
MOST_ORDERS = 6000
FOCAL_OFF = 0.08  # relative: a K that far from what the masks say is wrong ...
FOCAL_TOLD = 5.0  # ... if that is as many standard deviations, and the cost falls by their square
FOCAL_FRAMES = 8
HANGING = np.deg2rad(120)


def joints(robot: Robot, q: np.ndarray, free: np.ndarray, known: Sequence[int] = ()) -> list[str]:
    """What is odd about given joints (T,n) by themselves: gaps, degrees, values beyond the limits.

    Rows that are `known` may be given alone.
    """
    out = []
    rows = np.delete(q, known, 0)
    gaps = [(k, int(np.isnan(rows[:, k]).sum())) for k in range(q.shape[1])]
    for k, count in gaps:
        if 0 < count < len(rows) and free[k]:
            out.append(
                f"{robot.joint_names[k]} holds NaN in {count} of {len(q)} rows of the joints: it is solved for in all"
            )
    turning = np.unique(robot.tree.q_index[(robot.tree.kind == 1) & (robot.tree.q_index >= 0)])
    given = q[:, turning][np.isfinite(q[:, turning])]
    if given.size and np.abs(given).max() > 4 * np.pi:
        out.append(f"joint values reach {np.abs(given).max():.0f}: they look like degrees, expected radians")
        return out
    unit = np.minimum(1.0, (robot.upper - robot.lower) / 1.4)
    beyond = np.maximum(robot.lower - q, q - robot.upper) / unit > 0.05
    wrong = [robot.joint_names[k] for k in range(q.shape[1]) if beyond[:, k].mean() > 0.05]
    if wrong:
        out.append(
            f"the given values of {', '.join(wrong)} lie outside the joint's limits: check the order and the units of "
            "the joints"
        )
    return out


def order(
    robot: Robot, model: Model, targets: Targets, tracker: Tracker, used: Sequence[int], q: np.ndarray, reached: float
) -> list[str]:
    """Whether the arm's joints (T,n), given as known, explain the masks much better in another order.

    Args:
        tracker: its views hold the camera.
        used: frames to look at; reached: the median IoU of the fit.
    """
    arm = [int(k) for k in robot.arm_joints]
    if reached > DOUBTFUL or len(arm) < 2:
        return []
    frames = [used[i] for i in evenly(len(used), ORDER_FRAMES)]
    small = np.stack([targets.read(t, SMALL) for t in frames])
    view = tracker.views[-1]
    K = view.K.copy()
    factor = small.shape[3] / view.width
    K[:2] *= factor
    K[:2, 2] += (factor - 1) / 2
    rows = []
    slack = 0.05
    for sequence in permutations(arm):
        row = q[frames].copy()
        row[:, arm] = q[np.ix_(frames, list(sequence))]
        if ((row < robot.lower - slack) | (row > robot.upper + slack)).any():
            continue
        rows.append((sequence, row))
        if len(rows) > MOST_ORDERS:
            return []
    if len(rows) < 2 or rows[0][0] != tuple(arm):
        # the order as given breaks limits: compare with it all the same
        rows.insert(0, (tuple(arm), q[frames].copy()))
    count = len(rows) * len(frames)
    each = overlaps(
        model, np.ascontiguousarray(np.concatenate([row for _, row in rows])), np.tile(view.T_cam_base, (count, 1, 1)),
        np.tile(K, (count, 1, 1)), small, np.tile(np.arange(len(frames)), len(rows)), tracker.channels,
    )  # fmt: skip
    score = each[:, 0].reshape(len(rows), len(frames)).mean(1)
    best = int(np.argmax(score))
    if score[best] < max(POOR, score[0] + ORDER_GAIN):
        return []
    moved = ", ".join(
        f"{robot.joint_names[a]} = column of {robot.joint_names[b]}" for a, b in zip(arm, rows[best][0]) if a != b
    )
    return [f"the joints fit the masks better in another order (IoU {score[0]:.2f} -> {score[best]:.2f}): {moved}"]


def focal(targets: Targets, tracker: Tracker, frames: Sequence[int], solution: Solution, free: np.ndarray) -> list[str]:
    """Whether the masks contradict a focal length that was given as known, the camera's pose being unknown.

    Args:
        frames: those that the solution (F,n) rests on, on the finest level.
        free: (n,) joints that are unknown.
    """
    level, model = tracker.levels[1], tracker.models[1]
    few = evenly(len(frames), FOCAL_FRAMES)
    frames = [frames[i] for i in few]
    factor = level.width / tracker.levels[-1].width
    masks = [targets.read(t, MIDDLE.width) for t in frames]
    view: View = tracker.views[1]
    start = View(view.width, view.height, view.K, solution.view.T_cam_base, solution.view.offset)
    ends = [
        solve(
            model, solution.q[few], start, masks, tracker.channels, level,
            Unknowns(np.r_[np.ones(6), loose], free, True), tracker.limits, iterations=25, tolerance=1e-3,
        )
        for loose in (0, 1)
    ]  # fmt: skip
    ratio = ends[1].view.K[0, 0] / view.K[0, 0]
    scale = float(np.mean([misfit(cost, mask, level) for cost, mask in zip(ends[1].cost, masks)]))
    gain = float(ends[0].cost.sum() - ends[1].cost.sum()) / scale
    if abs(np.log(ratio)) < FOCAL_OFF or gain < FOCAL_TOLD**2:
        return []
    given = view.K[0, 0] / factor * max(targets.width, targets.height) / tracker.levels[-1].width
    return [
        f"K does not fit the masks: its focal length is {given:.0f} pixels, the masks say about {given * ratio:.0f} "
        "(another resolution, or a cropped or zoomed video?)"
    ]


def upside_down(T_cam_base: np.ndarray) -> list[str]:
    """Whether the robot hangs from the top of the picture."""
    up = T_cam_base[:3, :3] @ [0.0, 0.0, 1.0]
    if np.hypot(up[0], up[1]) < 0.3:  # seen from straight above or below there is no up in the picture
        return []
    roll = abs(np.arctan2(up[0], -up[1]))
    if roll < HANGING:
        return []
    degrees = np.rad2deg(roll)
    return [f"the robot stands on its head in the picture (turned by {degrees:.0f} degrees): is the video upside down?"]


def explanation(reached: float, all_known: bool) -> list[str]:
    """What a low overlap means."""
    if reached >= DOUBTFUL:
        return []
    what = "check the order of the joints, T_cam_base and K" if all_known else "wrong robot, wrong K, or rough masks"
    if reached < POOR:
        return [f"the fit explains the masks poorly (median IoU {reached:.2f}): {what}"]
    return [f"the fit explains the masks only in part (median IoU {reached:.2f}): {what}"]
