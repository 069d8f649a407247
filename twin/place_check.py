"""What is to be believed: poses that were given, and views beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from pose import ViewsFit, fit_views
from twin.rig import Rig
from urdf import Robot

CHECKED = 8  # instants by which given poses are judged
UNRELATED = 0.5  # s between frames from which on they are poses of their own, not a motion
CONTRADICTS = 0.8  # of the best view's IoU: a given pose with less is not believed
POOR = 0.6  # of the best view's IoU: a view that is explained worse is left out of the fit
REPAIRED = 0.005, np.deg2rad(0.3)  # metres, radians: less is no repair
SIGNIFICANT = 2.5  # nor is less than this many standard deviations


def apart(T_cam_base: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Metres between the places of two cameras, and radians between their directions."""
    a, b = np.linalg.inv(T_cam_base), np.linalg.inv(other)
    turn = Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).magnitude()
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3])), float(turn)


def given_pose(rig: Rig, v: int) -> np.ndarray | None:
    """(4,4) T_cam_base of a camera as the rig states it; None where it does not."""
    camera = rig.cameras[v].camera
    return None if camera is None or camera.T_cam_base is None or rig.world != "base" else np.asarray(camera.T_cam_base)


def unrelated(rig: Rig) -> bool:
    """Pictures of poses, not of a motion."""
    return all(len(c.times) < 3 or float(np.median(np.diff(c.times))) >= UNRELATED for c in rig.cameras)


def overlap(fit: ViewsFit, i: int) -> float:
    """Median IoU of a view."""
    seen = fit.iou[i][np.isfinite(fit.iou[i])]
    return float(np.median(seen)) if len(seen) else 0.0


def worst(fit: ViewsFit, usable: Sequence[int]) -> int | None:
    """The camera that is explained far worse than the best one."""
    shares = [overlap(fit, i) for i in range(len(usable))]
    last = int(np.argmin(shares))
    return usable[last] if len(usable) > 1 and shares[last] < POOR * max(shares) else None


def contradicting(robot: Robot, looks, lenses, poses: dict[int, np.ndarray], seed: int) -> set[int]:
    """Given poses that the masks speak against: the worst is let go until the rest agree.

    A lone given pose is believed: with unknown joints there is nothing to hold it against.
    """
    gone: set[int] = set()
    count = len(looks[0])
    some = np.unique(np.linspace(0, count - 1, min(CHECKED, count)).round().astype(int))
    while len(poses) - len(gone) > 1:
        held = sorted(set(poses) - gone)
        few = [[looks[i][int(t)] for t in some] for i in held]
        shown = [i for i, view in zip(held, few) if any(m is not None for m in view)]
        if len(shown) < 2:
            break
        fit = fit_views(
            robot, [few[held.index(i)] for i in shown],
            [replace(lenses[i], T_cam_base=poses[i]) for i in shown], seed=seed,
        )  # fmt: skip
        shares = [overlap(fit, k) for k in range(len(shown))]
        last = int(np.argmin(shares))
        if shares[last] >= CONTRADICTS * max(shares):
            break
        gone.add(shown[last])
    return gone


def state_of(given: np.ndarray | None, fit: ViewsFit, i: int) -> str:
    """What a fit says of a given pose: "confirmed", "repaired", or "placed" where none was given."""
    if given is None:
        return "placed"
    moved = apart(np.asarray(fit.cameras[i].T_cam_base), given)
    near = all(m <= max(least, SIGNIFICANT * s) for m, least, s in zip(moved, REPAIRED, camera_sigma(fit, i)))
    return "confirmed" if near else "repaired"


def camera_sigma(fit: ViewsFit, i: int) -> tuple[float, float]:
    """Largest standard deviation of a camera's place (m) and turn (rad)."""
    deviation = np.sqrt(np.maximum(np.diag(fit.covariance)[6 * i : 6 * i + 6], 0))
    return float(deviation[3:].max()), float(deviation[:3].max())
