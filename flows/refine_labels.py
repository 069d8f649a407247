"""Labels for training from a fitted video: the fitted robot drawn again, in the frames whose fit can be trusted.

The masks that were fitted are rough; the robot's shape is known. So the silhouette at the fitted pose is a better mask
than the one it came from, as long as the fit is right. Whether it is, the fit itself says: its overlap with the masks,
and how far its own uncertainty moves the robot in the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from flows.drawing import link_vertices, part_image
from pose.camera import Camera
from segmentation.training.shards import IGNORE, Sample, encode

if TYPE_CHECKING:
    from pose import Trajectory
    from urdf import Robot

POOR_CLIP = 0.6  # median IoU of fit and masks below which a whole video teaches nothing
POOR_FRAME = 0.85  # of the video's median IoU: a frame below it is explained worse than the others
UNSURE = 2.0  # times the video's median uncertainty of the robot in the picture: a frame worse than that, and ...
LOST = 0.1  # ... one whose joints may move it by this share of the picture's longer side
FAR = 0.012  # of the longer side: the segmenter's robot that far outside the fit is something unknown


@dataclass(frozen=True)
class Trust:
    """Which frames of a fit to learn from.

    Attributes:
        keep: (T,) bool. sigma_px: (T,) see `picture_sigma`, NaN without a fit.
        left_out: reason -> number of frames, each frame counted under its first reason.
    """

    keep: np.ndarray
    sigma_px: np.ndarray
    left_out: dict[str, int]


def trusted(robot: Robot, trajectory: Trajectory) -> Trust:
    """Decide frame by frame; only the fit is asked, no truth."""
    camera = trajectory.camera
    sigma = np.array([picture_sigma(robot, q, s, camera) for q, s in zip(trajectory.q, trajectory.sigma)])
    valid, iou = np.asarray(trajectory.valid, bool), np.nan_to_num(trajectory.iou)
    median = float(np.median(iou[valid])) if valid.any() else 0.0
    limit = min(UNSURE * float(np.nanmedian(sigma)), LOST * max(camera.width, camera.height)) if valid.any() else 0.0
    keep, left_out = np.ones(len(valid), bool), {}
    for reason, bad in (
        ("no robot, or not explained by the fit", ~valid),
        ("the whole video explained poorly", np.full(len(valid), median < POOR_CLIP)),
        ("explained worse than the others", iou < POOR_FRAME * median),
        ("joints too uncertain", ~(sigma <= limit)),
    ):
        count = int((keep & bad).sum())
        if count:
            left_out[reason] = count
        keep &= ~bad
    return Trust(keep, sigma, left_out)


def picture_sigma(robot: Robot, q: np.ndarray, sigma: np.ndarray, camera: Camera) -> float:
    """How many pixels the joints' standard deviations (n,) move the robot in the picture; NaN without a fit.

    The ninth decile over the mesh's vertices in the picture, with the joints taken as independent of each other and of
    the camera. They are not: what the masks leave open is mostly what does not show in them. So this is far more than
    the error of the outline, and serves to compare frames of one video with each other.
    """
    if not (np.isfinite(q).all() and np.isfinite(sigma).all()):
        return float("nan")
    here, seen = _pixels(robot, q, camera)
    if not seen.any():
        return float("nan")
    square = np.zeros(len(here))
    for joint in np.flatnonzero(sigma > 0):
        moved = q.copy()
        moved[joint] += sigma[joint]
        square += ((_pixels(robot, moved, camera)[0] - here) ** 2).sum(1)
    return float(np.sqrt(np.quantile(square[seen], 0.9)))


def _pixels(robot: Robot, q: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (V,2) of the mesh's vertices, and (V,) which of them lie in the picture."""
    T = np.asarray(camera.T_cam_base, float)
    points = link_vertices(robot, q) @ T[:3, :3].T + T[:3, 3]
    ahead = points[:, 2] > 1e-3
    uv = camera.project(np.where(ahead[:, None], points, [0.0, 0.0, 1.0]))
    return uv, ahead & ((uv > -0.5) & (uv < np.array([camera.width, camera.height]) - 0.5)).all(1)


def part_label(parts: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The label (H,W) uint8 of one frame: 0 background, 1 arm, 2 gripper, 255 nobody knows.

    Unknown is what the segmenter took for robot well outside of the fit: a second robot, a tool or a cable that the
    description lacks, or indeed a mistake.

    Args:
        parts: (H,W) int8 as `flows.drawing.part_image` gives it. found: (H,W) the segmenter's robot, non-zero inside.
    """
    label = (parts + 1).astype(np.uint8)
    robot = (label > 0).astype(np.uint8)
    far = max(2, round(FAR * max(robot.shape)))
    outside = ((found > 0) & (cv2.dilate(robot, _disc(far)) == 0)).astype(np.uint8)
    unknown = (cv2.dilate(outside, _disc(far)) > 0) & (robot == 0)
    label[unknown] = IGNORE
    return label


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def labelled_frames(
    robot: Robot, name: str, trajectory: Trajectory, trust: Trust, frames: Any, masks: Any, clip: str
) -> Iterator[tuple[Sample, float]]:
    """A sample of every trusted frame, and how well the segmenter's mask agreed with it (IoU).

    Args:
        name: of the robot, for the samples' meta. frames: the video's frames in order. masks: see `MaskFolder`.
        clip: name of the samples.
    """
    for t, frame in enumerate(frames):
        if t >= len(trust.keep) or not trust.keep[t]:
            continue
        found: Mapping[str, np.ndarray] = masks[t]
        robot_mask = found["robot"] if "robot" in found else np.maximum.reduce(list(found.values()))
        q = trajectory.q[t]
        label = part_label(part_image(robot, q, trajectory.camera), robot_mask)
        sample = encode(
            frame.image, label, clip=clip, frame=t, robot=name, joint_names=list(robot.joint_names), q=q.tolist(),
            camera=trajectory.camera.to_dict(), time=frame.time_s, source="refined", iou=float(trajectory.iou[t]),
            sigma_px=float(trust.sigma_px[t]),
        )  # fmt: skip
        yield sample, agreement(label, robot_mask)


def agreement(label: np.ndarray, mask: np.ndarray) -> float:
    """IoU of a mask with the robot of a label where the label knows; 1 where both are empty."""
    known = label != IGNORE
    a, b = (label > 0) & known, (mask > 0) & known
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else 1.0
