"""How good an episode is for training, as one number, and whether to keep it, with reasons.

The score is the product of factors between 0 and 1, each 1 where there is nothing to object to. A product, because
one bad thing spoils an episode however good the rest is; each factor is in the record, so that a low score can be
understood, and the thresholds of keeping are on the quantities themselves, not on the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flows.episode import Episode
from flows.exporting.action_extraction import ActionClip

GOOD_IOU = 0.9  # of the fitted silhouette with the mask: above, a mask says nothing more
RIVAL = 1.1  # a solution whose misfit (1 - IoU) is at most this many times the best one's may be the true one


@dataclass(frozen=True)
class QualityLimits:
    """What an episode must have to be kept.

    Attributes:
        least_trusted: share of the recording's time that ends up in segments.
        least_iou: mean overlap of fitted silhouette and mask.
        max_speed, max_turn: of the end effector between rows, m/s and rad/s: no arm on a table is faster.
        least_motion: metres or radians that the end effector or the gripper (as fraction) must move at all.
        least_score: of the product.
    """

    least_trusted: float = 0.5
    least_iou: float = 0.6
    max_speed: float = 3.0
    max_turn: float = 9.0
    least_motion: float = 0.02
    least_score: float = 0.2


@dataclass(frozen=True)
class Quality:
    """The judgement of an episode.

    Attributes:
        score: 0..1. factors: what it is the product of.
        keep: whether it is fit for training. reasons: why not, one line each; empty where it is.
        notes: what to know of an episode that is kept.
    """

    score: float
    factors: dict[str, float]
    keep: bool
    reasons: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "score": round(self.score, 4),
            "factors": {k: round(v, 4) for k, v in self.factors.items()},
            "keep": self.keep,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
        }


def judge(episode: Episode, clips: Sequence[ActionClip], limits: QualityLimits | None = None) -> Quality:
    """Score an episode by its extracted segments, and decide whether to keep it."""
    limits = limits or QualityLimits()
    if not clips:
        return Quality(0.0, {}, False, (_nothing(episode),), ())
    rows = sum(len(c) for c in clips)
    trusted = min(1.0, sum(float(c.valid.sum()) / c.fps for c in clips) / _seconds(episode))
    iou = float(np.nanmean(episode.iou)) if np.isfinite(episode.iou).any() else float("nan")
    position, turn = (float(np.median(np.concatenate([c.ee_sigma[:, i] for c in clips]))) for i in (0, 1))
    speed, turning = _speeds(clips)
    motion = _motion(clips)
    rivals = [a for a in episode.alternatives if 1 - a.get("iou", 0.0) <= RIVAL * (1 - iou)]
    factors = {
        "trusted": trusted,
        "iou": 1.0 if np.isnan(iou) else min(1.0, iou / GOOD_IOU),
        "precision": float(np.exp(-((position / 0.05) ** 2 + (turn / np.radians(12)) ** 2) / 2)),
        "unambiguous": 1 / (1 + len(rivals)),
        "speed": min(1.0, limits.max_speed / max(speed, 1e-9), limits.max_turn / max(turning, 1e-9)),
    }
    score = float(np.prod(list(factors.values())))
    reasons, notes = [], []
    if trusted < limits.least_trusted:
        reasons.append(f"only {trusted:.0%} of its time can be trusted (at least {limits.least_trusted:.0%})")
    if iou < limits.least_iou:
        reasons.append(f"the fit overlaps the masks by {iou:.2f} on average (at least {limits.least_iou:.2f})")
    if rivals:
        reasons.append(f"{len(rivals)} other solution(s) explain the masks as well: camera or joints may be mirrored")
    if speed > limits.max_speed:
        reasons.append(f"the end effector moves at {speed:.1f} m/s (at most {limits.max_speed:.1f}): a jump of the fit")
    if turning > limits.max_turn:
        reasons.append(
            f"the end effector turns at {turning:.1f} rad/s (at most {limits.max_turn:.1f}): a jump of the fit"
        )
    if motion < limits.least_motion:
        reasons.append(f"nothing moves ({motion:.3f} m, rad or gripper range; at least {limits.least_motion:.3f})")
    if not reasons and score < limits.least_score:
        reasons.append(f"score {score:.2f} (at least {limits.least_score:.2f})")
    if len(clips) > 1:
        notes.append(f"cut into {len(clips)} segments where the robot is lost")
    bridged = rows - sum(int(c.valid.sum()) for c in clips)
    if bridged:
        notes.append(f"{bridged} of {rows} rows are bridged over frames that cannot be trusted (valid is False)")
    return Quality(score, factors, not reasons, tuple(reasons), tuple(notes))


def _seconds(episode: Episode) -> float:
    """The recording's length; its last frame lasts as long as the median one."""
    times = np.asarray(episode.time_s, float)
    return max(float(times[-1] - times[0] + np.median(np.diff(times))), 1e-9) if len(times) > 1 else 1e-9


def _nothing(episode: Episode) -> str:
    """Why there is not a single segment."""
    valid = np.asarray(episode.valid, bool)
    if not valid.any():
        return "no frame has a valid pose"
    worst = episode.sigma[valid].mean(0) if episode.sigma.size else np.zeros(0)
    seen = np.asarray(episode.observable, bool)[valid].mean(0) if episode.observable.size else np.zeros(0)
    if len(seen) and np.isfinite(worst).all() and seen.min() < 0.5:
        joint = episode.joint_names[int(np.argmin(seen))]
        return f"no stretch can be trusted: {joint} is determined in only {seen.min():.0%} of the frames"
    return f"no stretch of trusted frames is long enough ({valid.mean():.0%} of the frames are valid)"


def _speeds(clips: Sequence[ActionClip]) -> tuple[float, float]:
    """The greatest speed (m/s) and turning (rad/s) between two rows."""
    speed = turning = 0.0
    for clip in clips:
        if len(clip) < 2:
            continue
        T = clip.poses
        speed = max(speed, float(np.linalg.norm(np.diff(T[:, :3, 3], axis=0), axis=1).max()) * clip.fps)
        cosine = (np.einsum("tij,tij->t", T[1:, :3, :3], T[:-1, :3, :3]) - 1) / 2
        turning = max(turning, float(np.arccos(np.clip(cosine, -1, 1)).max()) * clip.fps)
    return speed, turning


def _motion(clips: Sequence[ActionClip]) -> float:
    """By how much anything moves: extent of positions (m), joints (rad) or gripper (fraction), the largest."""
    position = np.concatenate([c.poses[:, :3, 3] for c in clips])
    joints = np.concatenate([c.q for c in clips])
    gripper = np.concatenate([c.gripper for c in clips])
    extents = [float(np.ptp(position, axis=0).max()), float(np.ptp(joints, axis=0).max(initial=0.0))]
    if np.isfinite(gripper).any():
        extents.append(float(np.ptp(gripper[np.isfinite(gripper)])))
    return max(extents)
