"""Fit one robot to the masks of several cameras at the same instants: every camera, and joints that all of them share.

fit = fit_views(robot, [left_masks, right_masks], [left_camera, right_camera])  # nothing known but K
fit.T_view_view(1, 0)  # maps the first camera's coordinates into the second
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from pose.bundle import Look
from pose.camera import Camera
from pose.errors import FitError
from pose.evenly import evenly
from pose.fit import FINE_FACES, SEARCH_FACES
from pose.hypotheses import mistakable
from pose.kernel import make_model
from pose.keyframes import SCAN_WIDTH, choose, scan
from pose.over_time import liveliness
from pose.priors import PosePrior
from pose.rig import Blanks, Rig
from pose.rig_errors import RigErrors, rig_errors
from pose.rig_start import from_nothing, known_joints
from pose.settle import SAMPLE
from pose.smoothing import smooth
from pose.targets import Targets
from pose.uncertainty import observable, prior_information
from urdf import Robot

Progress = Callable[[str, int, int], None]
KEY_INSTANTS = 8
POOR = 0.75  # of the usual IoU: an instant is not explained
DEAR = 1.6  # times the usual cost: an instant is searched again
FOLLOWED = 0.5  # seconds over which a motion is followed; an instant further from the solved ones is searched


@dataclass(frozen=True)
class ViewsFit:
    """Cameras of V views and joints of T instants.

    Attributes:
        joint_names: n actuated joints in URDF order.
        q, sigma: (T,n) radians or metres; NaN where no view shows the robot.
        observable: (T,n) False where the views together cannot tell the joint.
        valid: (T,) False where there is no robot or the fit does not explain the masks.
        iou: (V,T) overlap of each mask with the fitted silhouette, NaN where a view does not show the robot.
        cameras: V with T_cam_base.
        covariance: (6V,6V) of the cameras' twists, each (3 rotations in radians, 3 translations in metres) about the
            middle of the robot in that camera's frame; zeros where known.
        pivots: (V,3) those middles, in the cameras' frames.
        focal_sigma: (V,) pixels.
        mask_offset: (V,) pixels by which a view's masks lie outside the robot.
        alternatives: what the masks hardly tell from this: {"base_turned_deg", "cost" (by how much worse, in variances
            of the masks), "q" of the first key instant, "T_cam_base" of every view} each.
        warnings: one line each.
        seconds: time per stage.
    """

    joint_names: tuple[str, ...]
    q: np.ndarray
    sigma: np.ndarray
    observable: np.ndarray
    valid: np.ndarray
    iou: np.ndarray
    cameras: tuple[Camera, ...]
    covariance: np.ndarray
    pivots: np.ndarray
    focal_sigma: np.ndarray
    mask_offset: np.ndarray
    alternatives: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    def T_view_view(self, a: int, b: int) -> np.ndarray:
        """(4,4) pose of view b in view a: maps coordinates of camera b into camera a."""
        return self.cameras[a].T_cam_base @ np.linalg.inv(self.cameras[b].T_cam_base)


def fit_views(
    robot: Robot,
    masks: Sequence[Sequence[Mapping[str, np.ndarray] | None]],
    cameras: Sequence[Camera | None] | None = None,
    *,
    q: np.ndarray | None = None,
    solve: Sequence[str] | None = None,
    priors: Mapping[int, PosePrior] | None = None,
    times: np.ndarray | None = None,
    progress: Progress | None = None,
    seed: int = 0,
) -> ViewsFit:
    """Fit a robot to the masks that several cameras took at the same instants.

    Cameras given with T_cam_base are believed, those without are found; so are joints.

    Args:
        robot: from `urdf.load_robot`.
        masks: V views of T instants: mappings from part to (H,W) masks as for `fit_video`, all views with the same
            parts; None where a view has no picture.
        cameras: V with K and, where known, T_cam_base; None for a view of which nothing is known.
        q: (T,n) joints, known unless `solve` names them; then they are a start.
        solve: any of camera, joints, gripper, focal; by default what was not given.
        priors: for views by number, where a camera is believed to be; it is then solved for, from there.
        times: (T,) seconds; then joints are smoothed over time. None: the instants have nothing to do with each other.
        progress: called with (stage, done, total).
        seed: of the random searches.

    Raises:
        FitError: views of different lengths or parts, no usable mask, or no pose that covers the masks.
    """
    say = progress or (lambda stage, done, total: None)
    rng = np.random.default_rng(seed)
    seconds: dict[str, float] = {}
    clock = time.perf_counter()
    rig, given, q = _prepare(robot, masks, cameras, q, solve, priors, times, say)
    count = rig.seen.shape[1]
    keys = _keys(rig)
    turns = mistakable(robot)
    twins: tuple[dict[str, Any], ...] = ()
    if q is not None and not rig.free.any():
        found = known_joints(rig, given, keys, q[keys], turns, rng, lambda done, total: say("cameras", done, total))
        joints = q.copy()
    elif q is not None:
        found = known_joints(rig, given, keys, q[keys], turns, rng, lambda done, total: say("cameras", done, total))
        joints = _track(rig, found, {t: q[t] for t in range(count)}, times, rng, say)
    else:
        start = from_nothing(rig, given, keys, turns, rng, lambda done, total: say("cameras", done, total))
        found, twins = start.cameras, start.twins
        joints = _track(rig, found, {t: start.q[i] for i, t in enumerate(keys)}, times, rng, say)
    seconds["start"], clock = time.perf_counter() - clock, time.perf_counter()
    any_view = np.flatnonzero(rig.seen.any(0))
    used = [int(any_view[i]) for i in evenly(len(any_view), SAMPLE)]
    offsets = np.zeros((len(given), 2))
    for level in (1, 2):  # the last pixel is the finest level's; the middle one brings the views together
        end, found = rig.refine(
            joints[used], found, used, level, move_cameras=True, offsets=offsets, free_offsets=level == 2,
            iterations=12, tolerance=1e-3,
        )  # fmt: skip
        joints[used] = end.state.q
        offsets = np.stack([lens.offset for lens in end.state.lenses])
    for done, t in enumerate(any_view):
        say("follow", done + 1, len(any_view))
        if rig.free.any():
            one, _ = rig.refine(joints[[t]], found, [int(t)], 2, offsets=offsets, iterations=6)
            joints[t] = one.state.q[0]
    errors = rig_errors(rig, found, joints, offsets, used)
    seconds["polish"] = time.perf_counter() - clock
    return _finish(robot, rig, found, joints, offsets, errors, times, twins, seconds)


def _prepare(robot, masks, cameras, q, solve, priors, times, say):
    if not masks or len({len(view) for view in masks}) != 1:
        raise FitError(
            f"views have {[len(v) for v in masks]} instants: give every view the same ones (None: no picture)"
        )
    cameras = [None] * len(masks) if cameras is None else list(cameras)
    if len(cameras) != len(masks):
        raise FitError(f"{len(masks)} views but {len(cameras)} cameras: give one a view, None where nothing is known")
    targets = tuple(Targets(Blanks(view), camera) for view, camera in zip(masks, cameras))
    if any(t.names != targets[0].names for t in targets):
        raise FitError(f"views have masks of different parts: {[t.names for t in targets]}; give all the same")
    count, joints = len(targets[0]), len(robot.joint_names)
    if times is not None and (np.shape(times) != (count,) or (np.diff(times) <= 0).any()):
        raise FitError(f"times must be {count} increasing numbers of seconds")
    if q is not None:
        q = np.array(q, float)
        if q.shape != (count, joints) or not np.isfinite(q).all():
            raise FitError(
                f"joints must be {count} instants x {joints} finite values ({', '.join(robot.joint_names)}), got shape "
                f"{'x'.join(map(str, q.shape))}"
            )
    priors = dict(priors or {})
    given, camera_free, focal_free = [], [], []
    for v, (camera, target) in enumerate(zip(cameras, targets)):
        focal_free.append(camera is None if solve is None else "focal" in solve)
        if camera is None:
            camera = Camera.from_focal(target.width, target.height, 0.9 * max(target.width, target.height))
        unknown = camera.T_cam_base is None or v in priors
        camera_free.append(unknown or (solve is not None and "camera" in solve))
        if v in priors and camera.T_cam_base is None:
            camera = replace(camera, T_cam_base=np.asarray(priors[v].T_cam_base, float))
        given.append(camera)
    free = np.full(joints, q is None)
    if solve is not None and q is not None:
        free[robot.arm_joints], free[robot.gripper_joints] = "joints" in solve, "gripper" in solve
    seen = np.array([[thumb is not None for thumb in scan(target, say)] for target in targets])
    if not seen.any():
        raise FitError("no view's masks show a robot (every mask is empty or only specks)")
    models = make_model(robot), make_model(robot), make_model(robot.with_mesh_faces(FINE_FACES))
    rig = Rig(
        models, make_model(robot.with_mesh_faces(SEARCH_FACES)), targets, seen, np.array(camera_free),
        np.array(focal_free), free, (robot.lower, robot.upper), robot.rest, priors,
    )  # fmt: skip
    return rig, given, q


def _keys(rig: Rig) -> list[int]:
    """Instants that differ most, among those that most views see."""
    views = rig.seen.sum(0)
    enough = min(2, int(views.max()))
    side: list[np.ndarray | None] = []
    for t in range(rig.seen.shape[1]):
        if views[t] < enough:
            side.append(None)
            continue
        small = [cv2.resize(target.read(t, SCAN_WIDTH)[0], (SCAN_WIDTH, SCAN_WIDTH)) for target in rig.targets]
        side.append((np.concatenate(small, 1)[None] * 255).astype(np.uint8))
    return choose(side, KEY_INSTANTS)


def _track(rig: Rig, cameras, anchors: dict[int, np.ndarray], times: np.ndarray | None, rng, say) -> np.ndarray:
    """Joints (T,n) of all instants with the cameras held, on the middle level; anchors are starts."""
    count = rig.seen.shape[1]
    clock = np.arange(count) * 2 * FOLLOWED if times is None else np.asarray(times, float)
    q = np.full((count, len(rig.rest)), np.nan)
    costs: list[float] = []
    order = sorted(np.flatnonzero(rig.seen.any(0)), key=lambda t: (t not in anchors, min(abs(t - a) for a in anchors)))
    for done, t in enumerate(int(t) for t in order):
        say("track", done + 1, len(order))
        solved = [s for s in np.flatnonzero(np.isfinite(q).all(1))]
        near = sorted(solved, key=lambda s: abs(clock[s] - clock[t]))[:2]
        starts = [anchors[t]] if t in anchors else [q[s] for s in near]
        alone = t not in anchors and abs(clock[near[0]] - clock[t]) > FOLLOWED
        looks = [rig.looks(level, [t], range(len(rig.targets))) for level in (0, 1)]
        tried = [_settled(rig, cameras, t, looks, start) for start in starts]
        best = min(tried, key=lambda one: one[0])
        if alone or (costs and best[0] > DEAR * np.median(costs)):
            for v in np.flatnonzero(rig.seen[:, t]):
                found = rig.tracker(int(v), cameras).search(best[1], rig.targets[v].read(t, 400), rng, 0.8)
                tried += [_settled(rig, cameras, t, looks, start) for start in found[:4]]
            best = min(tried, key=lambda one: one[0])
        q[t] = best[1]
        costs.append(best[0])
    return q


def _settled(rig: Rig, cameras, t: int, looks: list[list[Look]], start: np.ndarray) -> tuple[float, np.ndarray]:
    """Cost a view and joints (n,) of an instant after refinement from a start."""
    at = start[None]
    for level in (0, 1):
        end, _ = rig.refine(at, cameras, [t], level, looks=looks[level])
        at = end.state.q
    return float(end.cost.sum()) / len(looks[1]), at[0]


def _finish(robot: Robot, rig: Rig, cameras, joints, offsets, errors: RigErrors, times, twins, seconds) -> ViewsFit:
    limits = rig.limits
    seen = np.asarray(rig.seen.any(axis=0))
    prior = prior_information(limits)
    usual = np.nanmedian(errors.iou, axis=1).reshape(-1, 1)
    worst = np.asarray(np.where(rig.seen, errors.iou / usual, np.inf)).min(axis=0)
    valid = seen & (worst > POOR) & (np.where(rig.seen, errors.iou, 0).max(axis=0) > 0.3)
    q = np.where(seen[:, None], joints, np.nan)
    sigma, free = np.zeros(q.shape), np.flatnonzero(rig.free)
    if len(free):
        deviation = errors.sigma[:, free]
        if times is not None:
            information = errors.information[:, free][:, :, free] + np.diag(prior[free]) / max(1, seen.sum())
            used = np.where(valid[:, None], q[:, free], np.nan)
            smoothed, own, _ = smooth(used, information, np.asarray(times, float), liveliness(robot)[free])
            q[:, free] = np.where(np.isfinite(smoothed), np.clip(smoothed, *(x[free] for x in limits)), q[:, free])
            deviation = np.where(
                np.isfinite(own), np.hypot(own / np.sqrt(errors.fresh), errors.spread[:, free]), deviation
            )
        sigma[:, free] = np.minimum(deviation, 1 / np.sqrt(prior[free]))
    sigma[~np.isfinite(q)] = np.nan
    told = observable(sigma, limits) & valid[:, None]
    size = max(t.width for t in rig.targets) / 640
    warnings = [
        f"{name} cannot be told from these views in {int((valid & ~told[:, k]).sum())} instants"
        for k, name in enumerate(robot.joint_names)
        if rig.free[k] and (valid & ~told[:, k]).sum() > 0.5 * max(1, valid.sum())
    ]
    if (seen & ~valid).any():
        warnings.append(f"{int((seen & ~valid).sum())} instants are not explained by the fit: flagged invalid")
    for v in range(len(cameras)):
        if usual[v, 0] < 0.7:
            warnings.append(f"view {v} is explained poorly (median IoU {usual[v, 0]:.2f}): wrong masks, K or pose")
    for twin in twins:
        turn = twin["base_turned_deg"]
        warnings.append(f"the base turned by {turn:.0f} degrees explains the masks about as well (see alternatives)")
    focal = np.array([c.focal for c in cameras])
    return ViewsFit(
        robot.joint_names, q, sigma, told, valid, errors.iou, tuple(cameras), errors.covariance, errors.pivots,
        focal * errors.focal_sigma, offsets[:, 0] * size, twins, tuple(warnings), seconds,
    )  # fmt: skip
