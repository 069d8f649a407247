"""Joints from a live camera: a picture's masks in, the robot's state out, within a stated time.

    with Tracker(robot, camera) as tracker:          # camera: K and T_cam_base, for example of an earlier episode
        for masks, time in stream:
            state = tracker.update(masks, time)
            if state.valid:
                move(state.q, state.sigma)

Every picture corrects what is believed of the joints and their velocities (`pose.belief`): a few Gauss-Newton steps on
the pyramid of `pose.solver`, from where the joints were expected. Where pictures are no longer explained the joints are
searched for anew, beside the stream; a single picture may have several answers, which are followed until pictures tell
them apart.
"""

from __future__ import annotations

import time as clock
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from pose.acquire import Acquire, Candidate
from pose.belief import Belief
from pose.camera import Camera
from pose.correct import LIVE, Corrector, Look
from pose.errors import FitError
from pose.targets import MIN_SHARE, Targets
from pose.uncertainty import OBSERVABLE, joint_scale
from urdf import Robot

USUAL_SPEED = 3.0  # rad/s, units/s; where the description states none
POOR = 0.75  # of the usual IoU: a picture is not explained
PATIENCE = 3  # pictures not explained before the joints are searched for
STILL = 0.3  # rad/s: speed that is thought possible of a robot that was not seen to move
GIVEN = 0.05  # rad: standard deviation of joints that the user gives
FOUND = 0.1  # ... of joints that a search has found
DECIDED = 1e-3  # share of belief below which an answer is given up
WORKING = 2 * LIVE.width  # pixels: larger masks are shrunk first, which is quicker in bytes than in numbers
RECENT = 200  # updates that the latency is stated over


@dataclass(frozen=True)
class TrackState:
    """What is known of the robot at a picture's time.

    Attributes:
        time: seconds, as given.
        q: (n,) radians or metres; NaN while nothing is known.
        sigma: (n,) standard deviation; as wide as the answers that are still possible.
        velocity: (n,) radians or metres a second.
        observable: (n,) False where the pictures cannot tell the joint.
        gripper_m, gripper_open: metres between the finger pads, and the same as a fraction with 1 = open; NaN without
            a gripper. gripper_sigma: metres.
        iou: overlap of the robot at q with the mask; 0 without one.
        valid: False where the picture shows no robot or is not explained: q is then what the motion before suggests.
        searching: the joints are being searched for.
        answers: how many different joints the pictures still allow.
        latency: seconds from the call of `update` to its return.
    """

    time: float
    q: np.ndarray
    sigma: np.ndarray
    velocity: np.ndarray
    observable: np.ndarray
    gripper_m: float
    gripper_open: float
    gripper_sigma: float
    iou: float
    valid: bool
    searching: bool
    answers: int
    latency: float


@dataclass(frozen=True)
class Latency:
    """Seconds that recent updates took: median, 95th percentile, longest; and how many they are."""

    median: float
    p95: float
    longest: float
    count: int


@dataclass(frozen=True)
class _Answer:
    """One belief of where the joints are, and the logarithm of its share among all."""

    belief: Belief
    weight: float = 0.0
    look: Look | None = None


class Tracker:
    """Follows a robot's joints; see the module. One stream each; not for several threads at once."""

    def __init__(
        self, robot: Robot, camera: Camera, *, q: np.ndarray | None = None,
        segment: Callable[[np.ndarray], Mapping[str, np.ndarray]] | None = None, background: bool = True, seed: int = 0,
    ):  # fmt: skip
        """
        Args:
            camera: K and T_cam_base; it stands.
            q: (n,) joints of the first picture, where known; else they are searched for.
            segment: from a picture (H,W,3) uint8 RGB to masks, when `update` is to take pictures.
            background: search in a thread of its own, so that `update` returns in time; else `update` waits.

        Raises:
            FitError: the camera's pose is unknown, or q is not n finite numbers.
        """
        if camera.T_cam_base is None:
            raise FitError(
                "the camera has no T_cam_base: a live tracker needs to know where it stands; fit a recorded clip first "
                "(`urdfit run`) and give the camera of its episode.json"
            )
        if q is not None and (np.shape(q) != robot.rest.shape or not np.isfinite(q).all()):
            raise FitError(f"q must be {len(robot.rest)} finite values ({', '.join(robot.joint_names)})")
        self.robot, self.camera = robot, camera
        self._working = camera.scaled(min(1.0, WORKING / max(camera.width, camera.height)))
        self._given = None if q is None else robot.clip(np.asarray(q, float))
        self._segment, self._seed = segment, seed
        # a joint that turns without end is not stopped where its values are cut
        ends = np.where(robot.continuous, np.inf, 0.0)
        self._limits = robot.lower - ends, robot.upper + ends
        self._unit = joint_scale((robot.lower, robot.upper))
        self._fastest = np.where(np.isfinite(robot.velocity), robot.velocity, USUAL_SPEED * self._unit)
        self._masks: list[Mapping[str, np.ndarray]] = []
        self._targets: Targets | None = None
        self._corrector: Corrector
        self._acquire: Acquire
        self._answers: list[_Answer] = []
        self._time = -np.inf
        self._missed = 0
        self._usual: deque[float] = deque(maxlen=100)
        self._took: deque[float] = deque(maxlen=RECENT)
        self._pool = ThreadPoolExecutor(1, "urdfit-search") if background else None
        self._search: Future[list[Candidate]] | None = None

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Ends the search thread."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def latency(self) -> Latency:
        """What `update` takes, over the last 200 calls."""
        took = np.array(self._took) if self._took else np.full(1, np.nan)
        return Latency(float(np.median(took)), float(np.quantile(took, 0.95)), float(took.max()), len(self._took))

    def update(self, masks: Mapping[str, np.ndarray] | np.ndarray, time: float) -> TrackState:
        """The state at a picture.

        Args:
            masks: part (robot, arm, gripper) to (H,W), as for `fit_video`; with `segment` also a picture.
            time: of the picture in seconds, later than the one before.

        Raises:
            FitError: masks of another size or without a part that the first had, or a time that does not increase.
        """
        begin = clock.perf_counter()
        if not (np.isfinite(time) and time > self._time):
            raise FitError(f"pictures must come in order of time: {time} s after {self._time} s")
        if not isinstance(masks, Mapping):
            if self._segment is None:
                raise FitError("update was given a picture: give the tracker a `segment` function, or give it masks")
            masks = self._segment(masks)
        first = self._read(masks)
        pyramid = self._corrector.pyramid(self._targets)  # type: ignore[arg-type]
        if first and self._given is not None:
            self._corrector.compare(self._given, pyramid)
            self._answers = [self._new(self._given, time, GIVEN)]
        self._time = time
        robot_there = bool(pyramid[0].max(0).mean() > MIN_SHARE)
        self._take_found(time)
        self._answers = [self._ahead(one, time) for one in self._answers]
        valid = robot_there and self._correct(pyramid)
        if robot_there and not valid:
            self._missed += 1
            if self._missed >= PATIENCE or not self._answers:
                valid = self._look_for(pyramid[1], time) and self._correct(pyramid)
        if valid:
            self._missed = 0
        else:  # it may have stopped, or turned: its motion is no longer known
            self._answers = [replace(one, belief=one.belief.widened(STILL * self._unit)) for one in self._answers]
        return self._state(time, valid, begin)

    def predict(self, time: float) -> TrackState:
        """What is expected at a later time, for a controller that must make up for the latency.

        Raises:
            FitError: a time before the last picture's.
        """
        if not time >= self._time:
            raise FitError(f"cannot predict {time} s, before the last picture ({self._time} s)")
        now = self._answers
        begin = clock.perf_counter()
        try:
            self._answers = [self._ahead(one, time) for one in now]
            return self._state(time, self._missed == 0 and bool(now), begin)
        finally:
            self._answers = now

    def _read(self, masks: Mapping[str, np.ndarray]) -> bool:
        """Takes the masks in; True for the first ones, which say what parts there are."""
        self._masks[:] = [{part: self._shrunk(np.asarray(mask)) for part, mask in masks.items()}]
        if self._targets is not None:
            return False
        self._targets = Targets(self._masks, self._working)
        self._corrector = Corrector(self.robot, self._targets, self._working)
        self._acquire = Acquire(self.robot, self._targets, self._working, self._seed)
        return True

    def _shrunk(self, mask: np.ndarray) -> np.ndarray:
        """A mask of a large picture at the working size; others, and what is no such mask, as they are."""
        size = self._working.width, self._working.height
        if mask.shape != (self.camera.height, self.camera.width) or mask.shape == size[::-1]:
            return mask
        if mask.dtype == np.uint8:
            scale = 255.0 if mask.max(initial=0) > 1 else 1.0
            return cv2.resize(mask * np.uint8(255 / scale), size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)

    def _new(self, q: np.ndarray, time: float, sigma: float, weight: float = 0.0) -> _Answer:
        return _Answer(Belief.start(q, sigma * self._unit, STILL * self._unit, time), weight)

    def _ahead(self, one: _Answer, time: float) -> _Answer:
        return replace(one, belief=one.belief.ahead(time, self._unit, self._limits))

    def _correct(self, pyramid: list[np.ndarray]) -> bool:
        """Corrects every answer by the picture, and gives up those that explain too little; whether one explains it."""
        if not self._answers:
            return False
        usual = float(np.median(self._usual)) if self._usual else 0.0
        enough = max(0.3, POOR * usual)
        known = len(self._answers) == 1
        looks = [self._corrector.look(one.belief, pyramid, self._limits, 0.97 * usual) for one in self._answers]
        best = max(looks, key=lambda look: look.iou)
        if best.iou < enough:
            return False
        answers = []
        for one, look in zip(self._answers, looks):
            belief = look.belief.corrected(look.place, look.information, self._fastest)
            answers.append(_Answer(belief, one.weight - look.cost / 2, look))
        self._answers = _plausible(answers)
        if known:
            self._corrector.learn(best, pyramid, self._limits)
        self._usual.append(best.iou)
        return True

    def _look_for(self, target: np.ndarray, time: float) -> bool:
        """Has the joints searched for in a picture (C,H,W); True when there are answers at once."""
        near = self._answers[0].belief.q if self._answers else None
        if self._pool is None:
            self._missed = 0
            return self._adopt(self._acquire(target, near), time)
        if self._search is None:
            self._search = self._pool.submit(self._acquire, target.copy(), near)
        return False

    def _take_found(self, time: float) -> None:
        """Begins with what a search beside the stream has found, unless the joints have turned up meanwhile."""
        if self._search is None or not self._search.done():
            return
        found, self._search = self._search.result(), None
        if self._missed or not self._answers:
            self._adopt(found, time)

    def _adopt(self, found: list[Candidate], time: float) -> bool:
        if not found:
            return False
        self._usual.clear()
        self._answers = [self._new(one.q, time, FOUND) for one in found[:4]]
        return True

    def _state(self, time: float, valid: bool, begin: float) -> TrackState:
        n = len(self.robot.rest)
        q, sigma, velocity, iou = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan), 0.0
        if self._answers:
            best = self._answers[0]
            q, velocity = best.belief.q, best.belief.velocity
            share = np.exp([one.weight for one in self._answers])
            spread = [one.belief.sigma**2 + (one.belief.q - q) ** 2 for one in self._answers]
            widest = (self._limits[1] - self._limits[0]) / np.sqrt(12)
            sigma = np.minimum(np.sqrt(np.average(spread, axis=0, weights=share)), widest)
            iou = best.look.iou if valid and best.look is not None else 0.0
        gripper = self.robot.gripper
        opening = fraction = slack = np.nan
        if gripper is not None and self._answers:
            opening, fraction = float(gripper.opening(q)), float(gripper.fraction(q))
            slack = float(abs(gripper.slope(q)) * sigma[gripper.joint])
        latency = clock.perf_counter() - begin
        self._took.append(latency)
        return TrackState(
            time, q.copy(), sigma, velocity.copy(), np.nan_to_num(sigma, nan=np.inf) < OBSERVABLE * self._unit,
            opening, fraction, slack, iou, valid, self._search is not None, len(self._answers), latency,
        )  # fmt: skip


def _plausible(answers: list[_Answer]) -> list[_Answer]:
    """The answers worth following, likeliest first, each only once; their weights sum to 1."""
    order = sorted(answers, key=lambda one: -one.weight)
    kept: list[_Answer] = []
    for one in order:
        apart = all(np.abs(one.belief.q - other.belief.q).max() > 0.05 for other in kept)
        if apart and one.weight > order[0].weight + np.log(DECIDED):
            kept.append(one)
    total = np.logaddexp.reduce([one.weight for one in kept])
    return [replace(one, weight=float(one.weight - total)) for one in kept]
