"""Where the cameras of a rig are, and what the robot did: one fit of all views, the robot being the target.

    placed = place_rig(load_rig("rig.json"), load_robot("panda"), masks)  # masks of every camera, by frame
    placed.rig.cameras[0].camera.T_cam_base, placed.motion

Poses that were given are checked against the robot and repaired, not trusted; a camera that cannot be placed is named
and left out, and the others are placed all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pose import PosePrior, ViewsFit, fit_views
from segmentation.errors import VideoError
from twin.chosen import MaskSet, frames_with_masks, masked_at, masked_instants
from twin.errors import TwinError
from twin.place_check import apart, camera_sigma, contradicting, given_pose, overlap, state_of, unrelated, worst
from twin.place_depth import check_depth
from twin.place_edges import sharpen_fit
from twin.rig import Rig, RigCamera
from twin.scene import RobotMotion
from twin.sync import mask_shifts, shifted
from urdf import Robot

Progress = Callable[[str, int, int], None]
MOST = 100  # instants of a fit
LOOKED = 24  # frames that are searched for a robot
LEAST = 5e-4  # of a picture: less is no robot
BELIEVED = PosePrior(np.eye(4), float(np.deg2rad(1.0)), 0.02)  # how far given poses that pass are off, usually


@dataclass(frozen=True)
class Statement:
    """What became of a camera.

    Attributes:
        name: of the camera.
        state: "placed", "confirmed", "repaired" (a given pose was off) or "left out".
        text: one line for people.
        moved_m, moved_rad: from the given pose, NaN where none was given.
        sigma_m, sigma_rad: largest standard deviation of place and turn by the masks; NaN where the camera was left out
            or the pictures' edges moved it: what they leave is not known.
        iou: median overlap of its masks with the fitted robot.
        clock_s: what was added to its stamps.
        depth_scale: metres a unit after the check, NaN without depth.
    """

    name: str
    state: str
    text: str
    moved_m: float = float("nan")
    moved_rad: float = float("nan")
    sigma_m: float = float("nan")
    sigma_rad: float = float("nan")
    iou: float = float("nan")
    clock_s: float = 0.0
    depth_scale: float = float("nan")


@dataclass(frozen=True, eq=False)
class Placed:
    """A rig in the robot's base frame.

    Attributes:
        rig: cameras that were left out have no T_cam_base.
        motion: the robot's joints at the instants of the fit.
        sigma, observable: (T,n) of the joints; valid: (T,) instants that the fit explains.
        fit: of the views in `views`, whole.
        views: numbers of the cameras that were placed.
        statements: one a camera. warnings: one line each.
    """

    rig: Rig
    motion: RobotMotion
    sigma: np.ndarray
    observable: np.ndarray
    valid: np.ndarray
    fit: ViewsFit
    views: tuple[int, ...]
    statements: tuple[Statement, ...]
    warnings: tuple[str, ...]

    def joints_at(self, time_s: float) -> np.ndarray | None:
        """(n,) joints at a time on the rig's clock, linear between instants; None where the motion is not known."""
        times, q = self.motion.times, self.motion.q
        after = int(np.searchsorted(times, time_s))
        near = [i for i in (after - 1, after) if 0 <= i < len(times) and self.valid[i] and np.isfinite(q[i]).all()]
        if not near:
            return None
        step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
        if len(near) == 1:
            return q[near[0]] if abs(times[near[0]] - time_s) <= step else None
        share = (time_s - times[near[0]]) / (times[near[1]] - times[near[0]])
        return (1 - share) * q[near[0]] + share * q[near[1]]


class _At(Sequence):
    """Masks of a camera at the instants of a rig, read one at a time; None where it has no frame."""

    def __init__(self, masks: MaskSet, frames: np.ndarray) -> None:
        self._masks, self._frames = masks, frames

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, t):
        return None if self._frames[t] < 0 else self._masks[int(self._frames[t])]


def place_rig(
    rig: Rig,
    robot: Robot,
    masks: Sequence[MaskSet | None],
    *,
    joints: tuple[np.ndarray, np.ndarray | None] | None = None,
    sync: bool = True,
    clocks: Sequence[float] | None = None,
    edges: bool | None = None,
    most: int = MOST,
    robot_name: str | None = None,
    progress: Progress | None = None,
    seed: int = 0,
) -> Placed:
    """Place all cameras in the robot's base frame, and find its joints.

    Args:
        masks: by camera, its masks by frame as for `fit_video`; None for a camera without.
        joints: rows (M,n) in rad and m, NaN in columns that are not known, and their times (M,) on the rig's clock, or
            None where rows are the frames of the first camera. None: joints are found as well.
        sync: whether clocks are compared by the robot's motion.
        clocks: by camera, seconds to add to its stamps, where they are compared already (`twin.sync.picture_shifts`).
        edges: whether the fit is sharpened by edges in the pictures (`twin.place_edges`), which are read once or twice;
            by default where joints are not known and no given pose was confirmed: there masks are weakest.
        most: instants that are fitted; a longer clip is thinned.
        robot_name: what the motion calls the robot; by default its own name.
        progress: called with (stage, done, total).
        seed: of the random searches.

    Raises:
        TwinError: masks or joints that do not fit the rig, or no camera that sees a robot.
        FitError: no pose that explains the masks of any camera.
    """
    if len(masks) != len(rig):
        raise TwinError(
            f"{len(rig)} cameras but {len(masks)} sets of masks: give one a camera, None where there is none"
        )
    out: dict[int, str] = {v: why for v in range(len(rig)) if (why := _blind(rig, masks, v))}
    usable = [v for v in range(len(rig)) if v not in out]
    if not usable:
        raise TwinError("no camera sees the robot: " + "; ".join(f"{rig.names[v]}: {why}" for v, why in out.items()))
    if clocks is None:
        looked_at = [m if sync and v in usable else None for v, m in enumerate(masks)]
        clocks = mask_shifts(rig, looked_at)
    rig = shifted(rig, clocks)
    while True:
        fit, times, gone = _fit(rig, robot, masks, usable, joints, most, progress, seed)
        poor = worst(fit, usable)
        if poor is None:
            break
        share = overlap(fit, usable.index(poor))
        out[poor] = f"the robot does not explain its masks (IoU {share:.2f}); the other cameras agree without it"
        usable.remove(poor)
    states = {v: state_of(given_pose(rig, v), fit, i) for i, v in enumerate(usable)}
    if joints is None and any(state == "confirmed" for state in states.values()):
        fit = _held(rig, robot, masks, usable, states, fit, times, progress, seed)
    held = [states[v] == "confirmed" for v in usable]
    masks_alone = fit
    if edges or (edges is None and joints is None and not any(held)):
        part = replace(rig, cameras=tuple(rig.cameras[v] for v in usable))
        try:
            fit = sharpen_fit(part, robot, fit, times, held, joints is not None).fit
        except VideoError as error:
            fit = replace(fit, warnings=(*fit.warnings, f"not sharpened by the pictures' edges: {error}"))
    statements, cameras = [], list(rig.cameras)
    for v in range(len(rig)):
        if v in out:
            lens = cameras[v].camera
            cameras[v] = replace(
                cameras[v], camera=None if lens is None else replace(lens, T_cam_base=None), Ts_cam_base=None
            )
            statements.append(Statement(rig.names[v], "left out", f"left out: {out[v]}", clock_s=clocks[v]))
            continue
        i = usable.index(v)
        given = given_pose(rig, v)
        cameras[v] = cameras[v].placed(fit.cameras[i])
        cameras[v], depth = check_depth(cameras[v], robot, fit, i, times)
        sharp = not held[i] and fit.cameras[i] is not masks_alone.cameras[i]
        statements.append(
            _statement(rig.names[v], given, fit, i, states[v], v in gone, sharp, clocks[v], depth, cameras[v])
        )
    motion = RobotMotion(robot_name or robot.name, fit.joint_names, fit.q, times, _stillest(fit))
    return Placed(
        replace(rig, cameras=tuple(cameras), world="base"), motion, fit.sigma, fit.observable, fit.valid, fit,
        tuple(usable), tuple(statements), fit.warnings,
    )  # fmt: skip


def _blind(rig: Rig, masks: Sequence[MaskSet | None], v: int) -> str | None:
    """Why a camera cannot take part; None: it can."""
    mine = masks[v]
    if mine is None or len(mine) == 0:
        return "it has no masks"
    if rig.cameras[v].Ts_cam_base is not None:
        return "it moves; only cameras that stand still are placed"
    known = frames_with_masks(mine)
    frames = known[np.unique(np.linspace(0, len(known) - 1, LOOKED).round().astype(int))]
    shares = [max(float((np.asarray(m) != 0).mean()) for m in mine[int(t)].values()) for t in frames]
    if max(shares) < LEAST:
        return f"it sees no robot in any of {len(frames)} frames looked at"
    return None


def _fit(
    rig: Rig, robot: Robot, masks: Sequence[MaskSet | None], usable: Sequence[int],
    joints: tuple[np.ndarray, np.ndarray | None] | None, most: int, progress: Progress | None, seed: int,
) -> tuple[ViewsFit, np.ndarray, set[int]]:  # fmt: skip
    """The fit of some cameras, its instants, and the cameras whose given poses were not believed."""
    part = replace(rig, cameras=tuple(rig.cameras[v] for v in usable))
    times, frames = masked_instants(part, [masks[v] for v in usable], most)  # type: ignore[misc]
    q, solve = _joints(joints, rig, robot, times)
    looks = [_At(masks[v], frames[i]) for i, v in enumerate(usable)]  # type: ignore[arg-type]
    lenses = [part.cameras[i].camera for i in range(len(usable))]
    poses = {i: T for i, v in enumerate(usable) if (T := given_pose(rig, v)) is not None}
    gone = set()
    if q is None and poses:
        gone = contradicting(robot, looks, lenses, poses, seed)
    elif q is not None:
        gone = set(poses)  # with known joints a pose is found without the given one
    free = [None if c is None else replace(c, T_cam_base=poses[i] if i in poses and i not in gone else None)
            for i, c in enumerate(lenses)]  # fmt: skip
    priors = {i: replace(BELIEVED, T_cam_base=poses[i]) for i in poses if i not in gone}
    fit = fit_views(
        robot, looks, free, q=q, solve=solve, priors=priors, times=None if unrelated(part) else times,
        progress=progress, seed=seed,
    )  # fmt: skip
    return fit, times, {usable[i] for i in gone} if q is None else set()


def _joints(
    joints: tuple[np.ndarray, np.ndarray | None] | None, rig: Rig, robot: Robot, times: np.ndarray
) -> tuple[np.ndarray | None, list[str] | None]:
    """Rows (T,n) at the instants, and what remains to be solved for."""
    if joints is None:
        return None, None
    rows, clock = np.array(joints[0], float), joints[1]
    clock = rig.cameras[0].times if clock is None else np.asarray(clock, float)
    if rows.shape != (len(clock), len(robot.joint_names)):
        raise TwinError(
            f"joints have shape {'x'.join(map(str, rows.shape))}, expected {len(clock)} rows (the frames of "
            f"{rig.names[0]}, or the rows' own times) of {len(robot.joint_names)} joints"
        )
    silent = np.isnan(rows).all(0)
    if silent[robot.arm_joints].any() or np.isnan(rows[:, ~silent]).any():
        name = robot.joint_names[int(np.flatnonzero(np.isnan(rows).any(0))[0])]
        raise TwinError(f"joint {name} is missing in some rows; give every joint of the arm in every row, or no joints")
    rows[:, silent] = robot.rest[silent]
    q = np.stack([np.interp(times, clock, column) for column in rows.T], 1)
    return q, ["gripper"] if silent.any() else None


def _held(
    rig: Rig, robot: Robot, masks: Sequence[MaskSet | None], usable: Sequence[int], states: Mapping[int, str],
    fit: ViewsFit, times: np.ndarray, progress: Progress | None, seed: int,
) -> ViewsFit:  # fmt: skip
    """The fit again with the confirmed poses held: a calibration that passes is better than what masks tell."""
    part = replace(rig, cameras=tuple(rig.cameras[v] for v in usable))
    frames = masked_at(part, [masks[v] for v in usable], times)  # type: ignore[misc]
    looks = [_At(masks[v], frames[i]) for i, v in enumerate(usable)]  # type: ignore[arg-type]
    known = np.flatnonzero(np.isfinite(fit.q).all(1))
    nearest = known[np.abs(known[:, None] - np.arange(len(times))).argmin(0)]
    lenses, priors = [], {}
    for i, v in enumerate(usable):
        given, found = given_pose(rig, v), np.asarray(fit.cameras[i].T_cam_base)
        held = states[v] == "confirmed" and given is not None
        lenses.append(replace(fit.cameras[i], T_cam_base=given if held else found))
        if not held:
            priors[i] = PosePrior(found, 0.1, 0.1)
    return fit_views(
        robot, looks, lenses, q=fit.q[nearest], solve=["joints", "gripper"], priors=priors,
        times=None if unrelated(part) else times, progress=progress, seed=seed,
    )  # fmt: skip


def _statement(
    name: str, given: np.ndarray | None, fit: ViewsFit, i: int, state: str, contradicted: bool,
    sharp: bool, clock: float, depth: str, camera: RigCamera,
) -> Statement:  # fmt: skip
    sigma_m, sigma_rad = (float("nan"), float("nan")) if sharp else camera_sigma(fit, i)
    moved_m = moved_rad = float("nan")
    told = "sharpened by edges" if sharp else f"+- {1e3 * sigma_m:.1f} mm, {np.rad2deg(sigma_rad):.2f} deg"
    text = f"placed ({told})"
    if given is not None:
        moved_m, moved_rad = apart(np.asarray(fit.cameras[i].T_cam_base), given)
        how = f"{1e3 * moved_m:.1f} mm and {np.rad2deg(moved_rad):.2f} deg"
        if state == "confirmed":
            text = "given pose confirmed"
        elif contradicted:
            text = f"given pose contradicts the other cameras; found anew, {how} away ({told})"
        else:
            text = f"given pose repaired by {how} ({told})"
    if clock:
        text += f"; its clock put forward by {1e3 * clock:.0f} ms"
    scale = float("nan") if camera.depth is None else camera.depth.scale
    return Statement(
        name, state, text + depth, moved_m, moved_rad, sigma_m, sigma_rad, overlap(fit, i), clock, scale
    )  # fmt: skip


def _stillest(fit: ViewsFit) -> int:
    """The first instant that the fit explains."""
    good = np.flatnonzero(fit.valid)
    return int(good[0]) if len(good) else 0
