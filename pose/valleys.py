"""Whether a joint is as well told as the normal equations say, when the other joints may make up for its change.

Normal equations describe a valley of the cost by the curvature at its lowest point. A round wrist from afar lies in
a valley that is long and bent: joints far from the fit explain the mask as well. So a joint is moved by a few standard
deviations, and by an angle that would matter, the others follow, and the rise of the cost says what is really told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pose.evenly import evenly
from pose.solver import SHARED, View, evaluate, parallel
from pose.tracking import Frame, Tracker
from pose.uncertainty import joint_scale, misfit, prior_information

LOOKED_AT = 6  # frames
ASKED = np.deg2rad(0.7)  # standard deviation from which a joint is asked
STEPS = 3.0, np.deg2rad(20.0)  # standard deviations, and radians, by which it is moved
LEAST = 0.004  # of the information that the normal equations state, kept at least


def borne_out(
    tracker: Tracker, view: View, frames: Sequence[Frame], masks: Sequence[np.ndarray], H: Sequence[np.ndarray]
) -> np.ndarray:
    """(F,n) the share of each joint's stated information that is real, at most 1; 1 for joints that are not asked.

    A few frames are looked at; those between them get what lies between.

    Args:
        frames: on the finest level, with their masks there and their information H (SHARED + n, SHARED + n).
        view: the camera that was settled.
    """
    out = np.ones((len(frames), len(tracker.free)))
    index = np.flatnonzero(tracker.free)
    some = evenly(len(frames), LOOKED_AT)
    unit, prior = joint_scale(tracker.limits), prior_information(tracker.limits)
    sigma = np.zeros_like(out)
    for i in some:
        own = (H[i][SHARED:, SHARED:] + np.diag(prior))[np.ix_(index, index)]
        sigma[i, index] = np.sqrt(np.diag(np.linalg.inv(own)))
    tracker = replace(tracker, views=tuple(_like(old, view) for old in tracker.views))
    for k in index:
        asked = [int(i) for i in some if sigma[i, k] >= ASKED * unit[k]]
        real = np.ones(len(some))
        for step in (STEPS[0] * sigma[:, k], np.full(len(frames), STEPS[1] * unit[k])) if asked else ():
            step = np.minimum(step, 0.25 * (tracker.limits[1][k] - tracker.limits[0][k]))
            jobs = [(frames[i], masks[i], k, step[i]) for i in asked]
            rise = np.array(parallel(lambda job: _rise(tracker, *job), jobs))
            place = np.searchsorted(some, asked)
            real[place] = np.fmin(real[place], rise / (step[asked] / sigma[asked, k]) ** 2)
        out[:, k] = np.exp(np.interp(np.arange(len(frames)), some, np.log(np.clip(real, LEAST, 1.0))))
    return out


def _like(old: View, view: View) -> View:
    """A view of another size with the pose, focal length and offsets of `view`."""
    K = old.K.copy()
    scale = max(old.width, old.height) / max(view.width, view.height)
    K[0, 0], K[1, 1] = scale * view.K[0, 0], scale * view.K[1, 1]
    return replace(old, K=K, T_cam_base=view.T_cam_base, offset=view.offset)


def _rise(tracker: Tracker, frame: Frame, mask: np.ndarray, k: int, step: float) -> float:
    """By how much a frame costs more, for its noise, with a joint off by a step: the mean of both sides.

    NaN where limits forbid both.
    """
    level = len(tracker.levels) - 1
    free = tracker.free.copy()
    free[k] = False
    held = replace(tracker, free=free)
    pyramid = tracker.pyramid(mask)
    model, view, trust = tracker.models[level], tracker.views[level], tracker.trust[level]

    def cost(q: np.ndarray) -> float:
        return evaluate(model, q, view, mask, tracker.channels, tracker.levels[level], None, trust).cost

    base = cost(frame.q)
    rises = []
    for sign in (-1.0, 1.0):
        q = frame.q.copy()
        q[k] += sign * step
        if tracker.limits[0][k] <= q[k] <= tracker.limits[1][k]:
            rises.append(cost(held.refine(q, pyramid, 1)[0]) - base)
    return max(0.0, float(np.mean(rises))) / misfit(base, mask, tracker.levels[level]) if rises else np.nan
