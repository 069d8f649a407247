"""One picture's correction of what is believed of the joints: where both agree best, and what the picture itself tells.

Few Gauss-Newton steps from the expected joints suffice while they are nearly right; where they are not, a wider and
blurred look is tried. What a picture tells is stated with the caution of `pose.settle`: errors of masks last from
picture to picture, and the cost may rise more slowly than its derivatives promise. Both are measured as pictures pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from pose.belief import Belief
from pose.camera import Camera
from pose.kernel import CAMERA_PARAMETERS, coverage, make_model, see
from pose.settle import LEAST, PROBE, news
from pose.solver import CHANNELS, Equations, Level, evaluate, residual
from pose.targets import Targets, shrink
from pose.tracking import COARSE, MIDDLE
from pose.uncertainty import joint_scale, misfit
from urdf import Robot

LIVE = Level(320, 1.5, robust=0.5, samples=2)
LEVELS = (COARSE, MIDDLE, LIVE)
STEPS = (10, 4, 3)  # on each level
WIDE = 0.25  # rad: the deviation of a wider look
MEMORY = 0.97  # of an average over pictures, from one to the next
ENOUGH = 0.1  # expected gain of the cost, in squared standard deviations, below which steps end
FARTHEST = 0.5  # rad: a step
ANY = np.array([0.0, 0.0, 1.0])  # the camera stands: where it would turn about does not matter


@dataclass(frozen=True)
class Look:
    """What a picture says.

    Attributes:
        belief: what it corrects: as expected, or made wider.
        place: (CHANNELS + n,) offsets and joints where picture and belief agree best.
        information: (CHANNELS + n squared) of the picture alone.
        cost: of `place`, in squared standard deviations; iou: overlap, both at the middle level.
    """

    belief: Belief
    place: np.ndarray
    information: np.ndarray
    cost: float
    iou: float


class Corrector:
    """Corrects beliefs by pictures of one camera, and learns from them how far to trust the next."""

    def __init__(self, robot: Robot, targets: Targets, camera: Camera):
        self.model, self.channels = make_model(robot), targets.channels
        self.views = tuple(targets.view(camera, level.width) for level in LEVELS)
        self._unit, n = joint_scale((robot.lower, robot.upper)), len(robot.rest)
        self._misfit, self._likeness = 1.0, 0.5
        self._rise, self._stated = np.ones(n), np.ones(n)  # of the cost: what it is, and what its derivatives promise
        self._probed = 0
        self._before: np.ndarray | None = None
        self._believed: list[np.ndarray | None] = [None] * len(LEVELS)  # (H,W) how far each pixel's masks are

    def pyramid(self, targets: Targets) -> list[np.ndarray]:
        """The masks (C,h,w) at every level's size, coarse to fine."""
        fine = targets.read(0, LIVE.width)
        return [shrink(fine, COARSE), shrink(fine, MIDDLE), fine]

    def compare(self, q: np.ndarray, pyramid: list[np.ndarray]) -> None:
        """Learns from a picture with known joints (n,) where masks are wrong: as the camera stands, they will be again.

        A chair that passes for a link, a link that is covered: such pixels count for little from now on.
        """
        view, fine = self.views[-1], pyramid[-1]
        face_id, _, _ = see(self.model, q, view.T_cam_base, view.K, view.height, view.width, LIVE.samples)
        wrong = np.abs(fine - coverage(face_id, self.model.face_part, self.channels, LIVE.samples))[0]
        believed = 1 - cv2.GaussianBlur(wrong / self.channels[0].max(), (0, 0), LIVE.blur)
        self._believed = [*(shrink(believed[None], level)[0] for level in LEVELS[:-1]), believed]

    @property
    def trust(self) -> float:
        """Share of a picture's stated information that is new and real."""
        return news(self._likeness) / self._misfit

    def look(self, belief: Belief, pyramid: list[np.ndarray], limits, enough: float) -> Look:
        """What a picture says; a wider look is tried where its overlap would stay below `enough`."""
        place, equations = self._descend(belief, belief.mean[belief.placed], pyramid, 1, limits)
        if equations.iou < enough:
            wide = belief.widened(WIDE * self._unit)
            other, _ = self._descend(wide, wide.mean[wide.placed], pyramid, 0, limits)
            other, seen = self._descend(wide, other, pyramid, 1, limits)
            if seen.iou > equations.iou + 0.005:
                belief, place = wide, other
        place, _ = self._descend(belief, place, pyramid, 2, limits)
        told = self._evaluate(place, pyramid, 1, exact=True)
        kept = np.r_[np.ones(CHANNELS), np.sqrt(np.clip(self._rise / self._stated, LEAST, 1.0))]
        information = self.trust * told.H[CAMERA_PARAMETERS:, CAMERA_PARAMETERS:] * np.outer(kept, kept)
        return Look(belief, place, information, self.trust * told.cost, told.iou)

    def learn(self, look: Look, pyramid: list[np.ndarray], limits) -> None:
        """Takes from an explained picture how large, how lasting and how lopsided the masks' errors are."""
        q, view, target = look.place[CHANNELS:], self._view(look.place, 1), pyramid[1]
        plain = look.cost / self.trust
        wrong = residual(self.model, q, view, target, self.channels, MIDDLE)
        if self._believed[1] is not None:
            wrong = wrong * self._believed[1]
        if self._before is not None:
            alike = (wrong * self._before).sum() / max(1e-9, np.sqrt((wrong**2).sum() * (self._before**2).sum()))
            self._likeness = _average(self._likeness, max(0.0, float(alike)))
        self._before = wrong
        self._probe(look, plain, pyramid, limits)
        self._misfit = _average(self._misfit, misfit(plain, target, MIDDLE))

    def _probe(self, look: Look, plain: float, pyramid: list[np.ndarray], limits) -> None:
        """Moves one joint a little, another one each time, to see what that costs."""
        k = self._probed % len(self._unit)
        self._probed += 1
        kept = float(np.clip(self._rise[k] / self._stated[k], LEAST, 1.0))
        stated = look.information[CHANNELS + k, CHANNELS + k] / kept
        step = min(PROBE / np.sqrt(max(stated, 1e-9)), 0.25 * self._unit[k])
        rises = []
        for sign in (-1, 1):
            place = look.place.copy()
            place[CHANNELS + k] += sign * step
            if limits[0][k] <= place[CHANNELS + k] <= limits[1][k]:
                rises.append(self._evaluate(place, pyramid, 1, plain=True).cost - plain)
        if rises:
            self._rise[k] = _average(self._rise[k], max(0.0, self.trust * float(np.mean(rises))), MEMORY**8)
            self._stated[k] = _average(self._stated[k], stated * step**2, MEMORY**8)

    def _view(self, place: np.ndarray, level: int):
        return replace(self.views[level], offset=place[:CHANNELS])

    def _evaluate(
        self, place: np.ndarray, pyramid: list[np.ndarray], level: int, exact: bool = False, plain: bool = False
    ) -> Equations:
        at = self.model, place[CHANNELS:], self._view(place, level), pyramid[level], self.channels, LEVELS[level]
        return evaluate(*at, None if plain else ANY, self._believed[level], exact)

    def _descend(
        self, belief: Belief, place: np.ndarray, pyramid: list[np.ndarray], level: int, limits
    ) -> tuple[np.ndarray, Equations]:
        """Levenberg-Marquardt from `place` on one level, pulled to the belief: the end, and what is seen there."""
        mean, weight = belief.mean[belief.placed], self.trust
        pull = np.linalg.inv(belief.covariance[belief.placed, belief.placed])
        low, high = (np.r_[np.full(CHANNELS, sign * np.inf), limit] for sign, limit in zip((-1, 1), limits))
        unit = np.r_[np.ones(CHANNELS), self._unit]
        damping, now = 1e-3, self._evaluate(place, pyramid, level)
        total = weight * now.cost + float((place - mean) @ pull @ (place - mean))
        for _ in range(STEPS[level]):
            H = weight * now.H[CAMERA_PARAMETERS:, CAMERA_PARAMETERS:] + pull
            g = weight * now.g[CAMERA_PARAMETERS:] + pull @ (place - mean)
            stuck = ((place <= low) & (g > 0)) | ((place >= high) & (g < 0))
            free = np.flatnonzero(~stuck)
            A = H[np.ix_(free, free)]
            step = np.zeros(len(place))
            step[free] = -np.linalg.solve(A + damping * np.diag(np.diag(A)), g[free])
            if -float(2 * g @ step + step @ H @ step) < ENOUGH:
                break
            step *= min(1.0, FARTHEST / max(1e-12, float(np.abs(step / unit)[CHANNELS:].max())))
            further = np.clip(place + step, low, high)
            then = self._evaluate(further, pyramid, level)
            total_then = weight * then.cost + float((further - mean) @ pull @ (further - mean))
            if total_then >= total:
                damping *= 20
                continue
            place, now, total, damping = further, then, total_then, damping / 5
        return place, now


def _average(mean: float, value: float, memory: float = MEMORY) -> float:
    """A running mean after one more value."""
    return memory * mean + (1 - memory) * value
