"""Where the cameras of a rig stand and what the joints are, with nothing to begin from but the masks.

Each view by itself has doubles: mirrored arms, turned bases. So the hypotheses of one view are shown to the others:
given its joints, each other camera is looked for; the hypothesis that all views explain best is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pose.azimuth import base_axis, minima
from pose.bundle import State, look_at
from pose.camera import Camera
from pose.errors import FitError
from pose.hypotheses import EXPLAINED, Hypothesis, KeyFrames, Report, camera_turn, find, with_joints
from pose.keyframes import pyramids
from pose.rig import Rig
from pose.solver import CORRELATION
from pose.targets import Targets
from pose.tracking import PYRAMID
from pose.uncertainty import contour_length

SHOWN = 2  # hypotheses of a view that the other views are asked about
TELLING = 25.0  # of cost, in variances of the masks: five standard deviations
GUESSES = 8000  # for a camera, the joints being known


@dataclass(frozen=True)
class Start:
    """Cameras of all views and joints (F,n) of the key instants, with the mean IoU of the views.

    `twins` holds what the masks tell from this no better than by their noise, see `ViewsFit.alternatives`.
    """

    cameras: list[Camera]
    q: np.ndarray
    score: float
    twins: tuple[dict[str, Any], ...] = ()


def key_frames(
    rig: Rig, v: int, camera: Camera, instants: Sequence[int], q: np.ndarray | None, turns, free: np.ndarray
) -> KeyFrames:
    """What one view knows of some instants; joints q (F,n) known or a start."""
    posed = replace(camera, T_cam_base=np.eye(4)) if camera.T_cam_base is None else camera
    targets: Targets = rig.targets[v]
    K = tuple(targets.view(posed, level.width).K for level in PYRAMID)
    return KeyFrames(
        rig.models, rig.search_model, rig.channels, PYRAMID, pyramids(targets, list(instants)), K,
        not bool(rig.focal_free[v]), camera.T_cam_base, bool(rig.camera_free[v]), q, free, rig.limits, rig.rest, turns,
    )  # fmt: skip


def known_joints(rig: Rig, cameras: Sequence[Camera], keys: Sequence[int], q: np.ndarray, turns, rng, report: Report):
    """Cameras of all views, given the joints (F,n) of the key instants.

    Raises:
        FitError: a view shows the robot in none of them, or no pose covers its masks.
    """
    out = list(cameras)
    for v, camera in enumerate(cameras):
        if not (rig.camera_free[v] or rig.focal_free[v]):
            continue
        index = [i for i, t in enumerate(keys) if rig.seen[v, t]]
        if not index:
            raise FitError(f"view {v} shows no robot at any instant: leave it out")
        key = key_frames(rig, v, camera, [keys[i] for i in index], q[index], turns, np.zeros(len(rig.free), bool))
        solution, _ = find(key, rng, _part(report, v, len(cameras)))
        out[v] = rig.targets[v].camera(camera, solution.view)
    return out


def _part(report: Report, i: int, count: int) -> Report:
    return lambda done, total: report(i * total + done, count * total)


def from_nothing(rig: Rig, cameras: Sequence[Camera], keys: Sequence[int], turns, rng, report: Report) -> Start:
    """The start that all views explain best.

    Raises:
        FitError: no view's own fit covers its masks.
    """
    known = ~(rig.camera_free | rig.focal_free)
    order = sorted(range(len(cameras)), key=lambda v: (not known[v], -int(rig.seen[v, list(keys)].sum())))
    best: Start | None = None
    failure: FitError | None = None
    for n, v in enumerate(order):
        index = [i for i, t in enumerate(keys) if rig.seen[v, t]]
        if not index:
            continue
        key = key_frames(rig, v, cameras[v], [keys[i] for i in index], None, turns, rig.free)
        try:
            solution, others = find(key, rng, _part(report, n, len(order)))
        except FitError as error:
            failure = error
            continue
        first = Hypothesis(_coarse(key, solution.view.K), solution.view.T_cam_base, solution.q, solution.iou)
        apart = [h for h in others if np.abs(h.q - first.q).max() > 0.3]
        before = best
        for h in [first, *apart[: SHOWN - 1]]:
            start = _shown(rig, cameras, keys, v, h, index, turns, rng)
            if start is not None and (best is None or start.score > best.score):
                best = start
        if best is not None and (best.score > EXPLAINED or (before is not None and _agree(best, before))):
            break
    if best is None:
        raise failure or FitError("no instant is seen by two views: fit each view by itself")
    return _base_turned(rig, best, keys)


def _agree(a: Start, b: Start) -> bool:
    """Whether two searches, from different views, came to the same cameras."""
    turns = [camera_turn(x.T_cam_base, y.T_cam_base) for x, y in zip(a.cameras, b.cameras)]
    return a is not b and abs(a.score - b.score) < 0.01 and max(turns) < np.deg2rad(5)


def _base_turned(rig: Rig, start: Start, keys: Sequence[int]) -> Start:
    """The start, or the same arm with the base turned under it (`pose.azimuth`), whichever costs less when refined.

    No descent leads from one to the other: seen from afar, a base looks much the same from several sides.
    """
    axis = base_axis(rig.models[1], rig.free) if rig.camera_free.all() else None
    if axis is None:
        return start
    lenses = rig.lenses(1, start.cameras, range(len(start.cameras)))
    looks = rig.looks(1, keys, range(len(start.cameras)))
    poses = np.stack([lens.T_cam_base for lens in lenses])

    def cost(angle: float) -> float:
        q = axis.turn(poses[0], start.q, angle)[1]
        if (q < rig.limits[0] - 1e-9).any() or (q > rig.limits[1] + 1e-9).any():
            return np.inf
        turned = State(q, np.stack([axis.turn(T, q, angle)[0] for T in poses]), lenses)
        return sum(e.cost for e in look_at(rig.models[1], turned, looks, rig.channels, PYRAMID[1], None))

    tried: list[tuple[float, float, Start]] = []
    for angle in minima(cost):
        cameras = [
            replace(camera, T_cam_base=axis.turn(camera.T_cam_base, start.q, angle)[0]) for camera in start.cameras
        ]
        q = axis.turn(poses[0], start.q, angle)[1]
        total = np.inf
        for level in (1, 2):  # near-twins are told apart on the finest level
            end, cameras = rig.refine(q, cameras, keys, level, move_cameras=True, free_offsets=level == 2)
            q, total = end.state.q, float(end.cost.sum())
        tried.append((total, angle, Start(cameras, q, float(end.iou.mean()))))
    least, chosen, best = min(tried, key=lambda one: one[0])
    noise = max(
        1.0, least / sum(contour_length(look.target) / (CORRELATION * look.target.shape[2] / 640) for look in looks)
    )
    twins = []
    for total, angle, other in tried:
        apart = camera_turn(other.cameras[0].T_cam_base, best.cameras[0].T_cam_base)
        if total - least < TELLING * noise and apart > np.deg2rad(5):
            turned = np.rad2deg((angle - chosen + np.pi) % (2 * np.pi) - np.pi)
            twins.append(
                {
                    "base_turned_deg": round(float(turned), 1),
                    "cost": round((total - least) / noise, 1),
                    "q": other.q[0].tolist(),
                    "T_cam_base": [np.asarray(camera.T_cam_base).tolist() for camera in other.cameras],
                }
            )
    return replace(best, twins=tuple(twins))


def _coarse(key: KeyFrames, K: np.ndarray) -> np.ndarray:
    """Intrinsics at the coarsest level with the focal length of the finest one's."""
    out = key.K[0].copy()
    out[0, 0] *= K[0, 0] / key.K[-1][0, 0]
    out[1, 1] *= K[1, 1] / key.K[-1][1, 1]
    return out


def _shown(
    rig: Rig, cameras: Sequence[Camera], keys: Sequence[int], v: int, h: Hypothesis, index: list[int], turns, rng
) -> Start | None:
    """A view's hypothesis with the other cameras found for its joints, all refined together; None when they cannot."""
    out = list(cameras)
    out[v] = _renewed(rig, v, cameras[v], h)
    for w in range(len(cameras)):
        if w == v or not (rig.camera_free[w] or rig.focal_free[w]):
            continue
        both = [(f, keys[i]) for f, i in enumerate(index) if rig.seen[w, keys[i]]]
        if not both:
            return None
        q = h.q[[f for f, _ in both]]
        key = key_frames(rig, w, cameras[w], [t for _, t in both], q, turns, np.zeros(len(rig.free), bool))
        out[w] = _renewed(rig, w, cameras[w], with_joints(key, rng, lambda share: None, GUESSES)[0])
    instants = [keys[i] for i in index]
    end, out = rig.refine(h.q, out, instants, 0, move_cameras=True, iterations=20)
    end, out = rig.refine(end.state.q, out, instants, 1, move_cameras=True)
    q = np.tile(rig.rest, (len(keys), 1))
    q[index] = end.state.q
    return Start(out, q, float(end.iou.mean()))


def _renewed(rig: Rig, v: int, camera: Camera, h: Hypothesis) -> Camera:
    """The camera of a hypothesis at the masks' own size."""
    posed = replace(camera, T_cam_base=h.T)
    coarse = rig.targets[v].view(posed, PYRAMID[0].width)
    return rig.targets[v].camera(posed, replace(coarse, K=h.K))
