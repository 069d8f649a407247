"""How far results are from the truth: masks against masks, an episode against recorded joints and camera."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.episode import Episode
from flows.errors import FlowError
from flows.files import read_json
from flows.job import robot_of
from pose.camera import Camera

if TYPE_CHECKING:
    from urdf import Robot


@dataclass(frozen=True)
class PoseErrors:
    """Errors of an episode over the frames it calls valid.

    Attributes:
        joints: per joint name the mean and median absolute error in radians (metres for sliding joints).
        sliding: names of the joints measured in metres.
        median_joint: median absolute error over all turning joints and frames, radians.
        observable_joint: the same over what the episode calls observable.
        camera_m, camera_rad: distance and angle between estimated and true camera; NaN without a true camera.
        gripper_m: mean absolute error of the opening, metres; NaN without a gripper.
        ee_m: median distance of the end effector from the truth, metres.
        valid_fraction: share of the frames in which the episode has a pose.
    """

    joints: dict[str, tuple[float, float]] = field(default_factory=dict)
    sliding: tuple[str, ...] = ()
    median_joint: float = float("nan")
    observable_joint: float = float("nan")
    camera_m: float = float("nan")
    camera_rad: float = float("nan")
    gripper_m: float = float("nan")
    ee_m: float = float("nan")
    valid_fraction: float = 0.0


def evaluate_pose(episode: Episode, truth: dict[str, Any], camera: Camera | None = None) -> PoseErrors:
    """Compare an episode with the content of a truth.json (see `load_truth`).

    Raises:
        FlowError: the truth has other joints or another number of frames.
    """
    from urdf.reference import end_effector_poses

    names = [n for n in episode.joint_names if n in truth["joint_names"]]
    if not names:
        raise FlowError(
            f"the truth names the joints {', '.join(truth['joint_names'])}; the episode has "
            f"{', '.join(episode.joint_names)}: none in common"
        )
    rows = np.atleast_2d(np.array(truth["q"], float))
    if len(rows) != len(episode):
        raise FlowError(f"the truth has {len(rows)} frames, the episode {len(episode)}; they must be the same")
    robot = robot_of(episode.robot)
    mine = [episode.joint_names.index(n) for n in names]
    difference = episode.q[:, mine] - rows[:, [truth["joint_names"].index(n) for n in names]]
    endless = np.array([robot.continuous[i] for i in mine])
    difference[:, endless] = (difference[:, endless] + np.pi) % (2 * np.pi) - np.pi
    error = np.abs(difference)
    slides = sliding_joints(robot)[mine]
    turning = ~slides
    seen = episode.observable[:, mine] & turning
    full = rows.shape[1] == len(robot.joint_names) and len(names) == rows.shape[1]
    ee = float("nan")
    if full:
        ordered = rows[:, [truth["joint_names"].index(n) for n in robot.joint_names]]
        distance = np.linalg.norm(episode.ee[:, :3] - end_effector_poses(robot, ordered)[:, :3, 3], axis=1)
        ee = _median(distance)
    opening = truth.get("gripper_opening_m")
    camera_m, camera_rad = camera_errors(episode.camera, camera)
    return PoseErrors(
        joints={n: (_mean(error[:, i]), _median(error[:, i])) for i, n in enumerate(names)},
        sliding=tuple(n for n, s in zip(names, slides) if s),
        median_joint=_median(error[:, turning]),
        observable_joint=_median(error[seen]),
        camera_m=camera_m,
        camera_rad=camera_rad,
        gripper_m=_mean(np.abs(episode.gripper_opening - np.array(opening, float))) if opening is not None else np.nan,
        ee_m=ee,
        valid_fraction=float(np.mean(episode.valid)),
    )


def camera_errors(estimate: Camera, truth: Camera | None) -> tuple[float, float]:
    """Distance (m) and angle (rad) between two cameras' poses in the base; NaN when one is unknown."""
    if truth is None or truth.T_cam_base is None or estimate.T_cam_base is None:
        return float("nan"), float("nan")
    a, b = (np.linalg.inv(np.asarray(c.T_cam_base, float)) for c in (estimate, truth))
    # the angle by atan2: arccos loses half the digits near zero
    turn = a[:3, :3].T @ b[:3, :3]
    sine = np.linalg.norm([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3])), float(np.arctan2(sine, np.trace(turn) - 1))


def load_truth(path: str | Path) -> tuple[dict[str, Any], Camera | None]:
    """A truth.json and the true camera: its entry "camera", else the cam.json beside it if that has a pose.

    Raises:
        FlowError: no such file, or no joints in it. CameraError: its camera is none.
    """
    path = Path(path)
    data = read_json(path, "truth file")
    if not isinstance(data, dict) or "joint_names" not in data or "q" not in data:
        raise FlowError(f"{path}: expected joint_names and q (one row a frame)")
    if data.get("camera") is not None:
        return data, Camera.from_dict(data["camera"], str(path))
    beside = path.with_name("cam.json")
    camera = Camera.load(beside) if beside.is_file() else None
    return data, camera if camera is not None and camera.T_cam_base is not None else None


def evaluate_masks(predicted: str | Path, truth: str | Path) -> dict[str, dict[str, float]]:
    """Region overlap J, boundary F and their mean for every part that both folders have, over one or more videos.

    Source: the DAVIS benchmark (Perazzi et al., CVPR 2016); see `flows.mask_scores.score_masks`.

    Raises:
        MaskError, FlowError: a folder without masks, of other size or frames, or no part in common.
    """
    from flows.mask_scores import FAILED, score_masks
    from segmentation.errors import MaskError
    from segmentation.scoring import GLOBAL

    scores = score_masks(predicted, truth)
    for score in scores:
        if score.note.startswith(FAILED):
            raise MaskError(score.note.removeprefix(FAILED))
    means = [s for s in scores if s.video == GLOBAL and s.videos]
    return {s.part: {"J": s.jaccard, "F": s.boundary, "J&F": s.both} for s in means}


def sliding_joints(robot: Robot) -> np.ndarray:
    """(n,) bool: which joints slide (metres) rather than turn (radians)."""
    from urdf.robot import PRISMATIC

    driven = robot.tree.q_index[(robot.tree.kind == PRISMATIC) & (robot.tree.q_index >= 0)]
    return np.isin(np.arange(len(robot.joint_names)), driven)


def _mean(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else float("nan")


def _median(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else float("nan")
