"""Joints from a single picture and a known camera, with no guess or a bad one: where a live tracker begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose.hypotheses import mistakable
from pose.kernel import make_model
from pose.start import Search
from pose.targets import Targets
from pose.tracking import COARSE, MIDDLE
from pose.tracking import Tracker as Levels
from urdf import Robot

SEARCH_FACES = 700
GUESSES, ROUNDS, KEEP = 8000, 4, 16
TWINS = 0.03  # of IoU: as good, for one picture
APART = 0.15  # rad: other joints


@dataclass(frozen=True)
class Candidate:
    """Joints (n,) that explain a picture: its IoU at the middle level."""

    q: np.ndarray
    iou: float


class Acquire:
    """Finds joints in pictures of one camera. `channels`, sizes and views come from `targets`."""

    def __init__(self, robot: Robot, targets: Targets, camera, seed: int = 0):
        self.robot = robot
        model, small = make_model(robot), make_model(robot.with_mesh_faces(SEARCH_FACES))
        limits = robot.lower, robot.upper
        levels = (COARSE, MIDDLE)
        views = tuple(targets.view(camera, level.width) for level in levels)
        free = np.ones(len(robot.rest), bool)
        self._levels = Levels((model, model), small, targets.channels, views, levels, free, limits, robot.rest)
        self._search_model, self._rng = small, np.random.default_rng(seed)

    def __call__(self, target: np.ndarray, near: np.ndarray | None = None) -> list[Candidate]:
        """Candidates for a picture (C,H,W) at the middle level's size, best first; none when nothing overlaps it.

        near: (n,) joints that were believed before.
        """
        levels = self._levels
        pyramid = levels.pyramid(target)
        starts = []
        if near is not None:
            starts = [near, *levels.search(near, target, self._rng, 0.4)]
            found = self._refined(starts, pyramid)
            if found and found[0].iou > 0.93:  # it did not go far
                return _distinct(found)
        search = Search(
            self._search_model, pyramid[0][None], levels.channels, levels.limits, levels.views[0].K, True,
            self.robot.rest, T=levels.views[0].T_cam_base,
        )  # fmt: skip
        starts += list(search.run(GUESSES, KEEP, self._rng, ROUNDS).q)
        found = self._refined(starts, pyramid)
        best = found[0].q
        turned = []
        for column, angle in mistakable(self.robot):
            for sign in (-1, 1):
                q = best.copy()
                q[column] += sign * angle
                if levels.limits[0][column] <= q[column] <= levels.limits[1][column]:
                    turned.append(q)
        return _distinct(found + self._refined(turned, pyramid))

    def _refined(self, starts: list[np.ndarray], pyramid: list[np.ndarray]) -> list[Candidate]:
        out = [Candidate(*self._levels.refine(q, pyramid)) for q in starts]
        return sorted(out, key=lambda one: -one.iou)


def _distinct(found: list[Candidate]) -> list[Candidate]:
    """The best, and those nearly as good that are other joints."""
    out: list[Candidate] = []
    for one in sorted(found, key=lambda one: -one.iou):
        if out and one.iou < out[0].iou - TWINS:
            break
        if all(np.abs(one.q - other.q).max() > APART for other in out):
            out.append(one)
    return out if out and out[0].iou > 0.3 else []
