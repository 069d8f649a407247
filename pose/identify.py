"""Which robot is in a clip: robots fitted to a few frames, the best of them ever more carefully.

Nothing is known, neither camera nor joints. All robots are looked for in one key frame; those that explain it best are
taken to all key frames with one camera; the best few of these are refined as a fit is. Silhouettes know no scale, so
robots are told apart by proportions, by shape, and by one camera having to serve all frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pose.camera import Camera
from pose.errors import FitError
from pose.hypotheses import EXPLAINED, Hypothesis, KeyFrames, bases, bundle, extend, look_at, mistakable, polish
from pose.kernel import make_model
from pose.keyframes import choose, pyramids, scan
from pose.targets import Targets
from pose.tracking import FINE, PYRAMID
from pose.uncertainty import misfit
from urdf import Robot, RobotError, load_robot

Progress = Callable[[str, int, int], None]
KEY_FRAMES = 5
SEARCH_FACES = 250
GUESSES, KEPT = 4000, 10
SECOND, THIRD, FINALISTS = 8, 4, 3  # robots that reach the later rounds
WITHIN = 0.02  # of IoU: robots so close to the last of them reach the second round as well
EXTENDED = 2  # hypotheses of a look that are taken to all key frames
ROUNDS = ("one frame", "all key frames", "all key frames again", "refined")
RELIABILITY = 0.1  # of the masks' evidence, see `_probabilities`
SURE = 0.9
POOR = 0.8  # IoU: less is no explanation


@dataclass(frozen=True)
class Candidate:
    """How well one robot explains the clip.

    Attributes:
        name: of the robot.
        iou: mean overlap with the masks of the frames looked at (a single one in the first round).
        probability: that it is the robot, if one of the robots is; 0 for those that were not refined.
        stage: the last of ROUNDS that it took part in.
        seconds: spent on it, loading included.
    """

    name: str
    iou: float
    probability: float
    stage: str
    seconds: float


@dataclass(frozen=True)
class Ranking:
    """The robots, most likely first.

    Attributes:
        candidates: all that were tried.
        skipped: name to reason for robots that could not be loaded.
        tied: the most likely robots that the masks do not tell apart, best first; one alone when it is clear.
        margin: of probability between the first two.
        frames: the frames looked at.
        seconds: in all.
    """

    candidates: tuple[Candidate, ...]
    skipped: dict[str, str]
    tied: tuple[str, ...]
    margin: float
    frames: tuple[int, ...]
    seconds: float

    @property
    def best(self) -> Candidate:
        """The most likely robot."""
        return self.candidates[0]

    @property
    def explained(self) -> bool:
        """Whether the best robot explains the masks at all; else the robot is likely none of those tried."""
        return self.best.iou >= POOR

    @property
    def confident(self) -> bool:
        """Whether the best robot can be taken without asking."""
        return self.explained and len(self.tied) == 1

    def warnings(self) -> tuple[str, ...]:
        """What a user should know before trusting the first name, a line each."""
        out = []
        if not self.explained:
            out.append(
                f"no robot explains the masks well (best: {self.best.name}, IoU {self.best.iou:.2f}): the video shows "
                "another robot, or the masks are wrong"
            )
        if len(self.tied) > 1:
            chances = ", ".join(f"{c.name} {c.probability:.0%}" for c in self.candidates if c.name in self.tied)
            out.append(f"the masks hardly tell these robots apart: {chances}; give --robot if you know it")
        return tuple(out)


def identify(
    masks: Sequence[Mapping[str, np.ndarray]],
    robots: Mapping[str, Callable[[], Robot]] | Sequence[str],
    *,
    camera: Camera | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Ranking:
    """Rank robots by how well they explain the masks of a clip.

    Args:
        masks: as for `fit_video`.
        robots: names or paths for `load_robot`, or name to a function that loads the robot.
        camera: K where known; its pose is not used.
        seed: of the random searches.
        progress: called with (stage, done, total).

    Returns:
        The ranking. Robots that cannot be loaded or do not overlap the masks are not among its candidates.

    Raises:
        FitError: no usable mask, or no robot that could be tried.
    """
    begin = time.perf_counter()
    say = progress or (lambda stage, done, total: None)
    loaders = dict(robots) if isinstance(robots, Mapping) else {name: _loader(name) for name in robots}
    clip = _clip(masks, camera, say)
    skipped: dict[str, str] = {}
    contenders: list[_Contender] = []
    for i, (name, load) in enumerate(loaders.items()):
        say("identify: search", i, len(loaders))
        start = time.perf_counter()
        try:
            contender = _Contender(name, load(), clip, np.random.default_rng(seed))
        except (RobotError, OSError) as error:
            skipped[name] = str(error)
            continue
        contender.look()
        contender.seconds += time.perf_counter() - start
        contenders.append(contender)
    if not contenders:
        first = next(iter(skipped.items()), ("", "none was given"))
        raise FitError(f"no robot to choose from: {': '.join(filter(None, first))}")
    contenders.sort(key=lambda c: -c.iou)
    limit = contenders[min(SECOND, len(contenders)) - 1].iou - WITHIN
    second = [c for c in contenders if c.iou >= limit]
    rounds: list[tuple[str, int, Callable[[_Contender, list[_Contender]], None]]] = [
        ("identify: key frames", len(second), _Contender.follow),
        ("identify: again", THIRD, _Contender.retry),
        ("identify: refine", FINALISTS, _Contender.refine),
    ]
    for stage, count, work in rounds:
        going = contenders[:count]
        for i, contender in enumerate(going):
            say(stage, i, len(going))
            start = time.perf_counter()
            work(contender, going)
            contender.seconds += time.perf_counter() - start
        # who came further ranks higher: the overlap of fewer frames is the easier one
        contenders.sort(key=lambda c: (-c.reached, c.cost, -c.iou))
    return _ranking(contenders, skipped, clip, time.perf_counter() - begin)


def _loader(name: str) -> Callable[[], Robot]:
    return lambda: load_robot(name)


@dataclass(frozen=True)
class _Clip:
    """What all robots are compared with: the key frames' masks at every level."""

    frames: list[int]
    targets: Targets
    pyramids: tuple[list[np.ndarray], ...]
    K: tuple[np.ndarray, ...]
    focal_known: bool


def _clip(masks: Sequence[Mapping[str, np.ndarray]], camera: Camera | None, say: Progress) -> _Clip:
    targets = Targets(masks, camera)
    thumbnails = scan(targets, say)
    if all(thumb is None for thumb in thumbnails):
        raise FitError("no frame's mask shows a robot (every mask is empty or only specks)")
    frames = choose(thumbnails, KEY_FRAMES)
    levels = pyramids(targets, frames)
    large = [i for i, target in enumerate(levels[0]) if (target[0] > 0.5).any()]
    if not large:
        raise FitError("the robot is too small in the picture to tell which it is: name it")
    frames, levels = [frames[i] for i in large], tuple([level[i] for i in large] for level in levels)
    assumed = camera or Camera.from_focal(targets.width, targets.height, 0.9 * max(targets.width, targets.height))
    posed = replace(assumed, T_cam_base=np.eye(4))
    K = tuple(targets.view(posed, level.width).K for level in PYRAMID)
    return _Clip(frames, targets, levels, K, camera is not None)


@dataclass
class _Contender:
    """One robot on its way through the rounds."""

    name: str
    robot: Robot
    clip: _Clip
    rng: np.random.Generator
    key: KeyFrames = field(init=False)
    single: list[Hypothesis] = field(default_factory=list)
    pool: list[Hypothesis] = field(default_factory=list)
    looks: int = 0
    reached: int = 0
    iou: float = 0.0
    cost: float = np.inf  # of the key frames at the finest level
    seconds: float = 0.0

    def __post_init__(self) -> None:
        model, joints = make_model(self.robot), len(self.robot.joint_names)
        self.key = KeyFrames(
            (model, model, model), make_model(self.robot.with_mesh_faces(SEARCH_FACES)), self.clip.targets.channels,
            PYRAMID, self.clip.pyramids, self.clip.K, self.clip.focal_known, None, True, None, np.ones(joints, bool),
            (self.robot.lower, self.robot.upper), self.robot.rest, mistakable(self.robot),
        )  # fmt: skip

    def look(self) -> None:
        """Search in the next key frame."""
        self.base = bases(self.key)[self.looks]
        self.looks += 1
        self.single = look_at(self.key, self.base, self.rng, GUESSES, KEPT)
        self.iou = max(self.iou, float(self.single[0].iou[self.base]))

    def follow(self, others: list[_Contender]) -> None:
        """Take the best of the last look to all key frames."""
        found = [extend(self.key, h, self.base, self.rng) for h in self.single[:EXTENDED]]
        self.pool = sorted(self.pool + found, key=lambda h: -h.score)
        self.iou, self.reached = self.pool[0].score, 1

    def retry(self, others: list[_Contender]) -> None:
        """Start from what other robots found and, unless that explains the masks, from another key frame."""
        self.adopt(others)
        if self.iou < EXPLAINED:
            self.look()
            self.follow(others)
        self.reached = 2

    def adopt(self, others: list[_Contender]) -> None:
        """Try the cameras and joints of similar robots: twins should differ by their fit, not by luck in the search."""
        for other in others:
            theirs, mine = other.robot.arm_joints, self.robot.arm_joints
            if other is self or not other.pool or len(theirs) != len(mine):
                continue
            h = other.pool[0]
            q = np.tile(self.robot.rest, (len(h.q), 1))
            q[:, mine] = h.q[:, theirs]
            if other.robot.joint_names == self.robot.joint_names:
                q = h.q
            self.pool.append(bundle(self.key, Hypothesis(h.K, h.T, np.clip(q, *self.key.limits), h.iou), 0))
        self.pool.sort(key=lambda h: -h.score)
        self.iou = self.pool[0].score

    def refine(self, others: list[_Contender]) -> None:
        """The finest level, with the finer mesh."""
        self.adopt(others)
        model = make_model(self.robot, self.robot.display_mesh)
        key = replace(self.key, models=(*self.key.models[:2], model))
        solution, _ = polish(key, self.pool[:2])
        self.iou, self.cost = float(solution.iou.mean()), float(solution.cost.sum())
        self.reached = 3


def _ranking(contenders: list[_Contender], skipped: dict[str, str], clip: _Clip, seconds: float) -> Ranking:
    chances = _probabilities(np.array([c.cost for c in contenders]), clip)
    candidates = tuple(
        Candidate(c.name, c.iou, float(p), ROUNDS[c.reached], c.seconds) for c, p in zip(contenders, chances)
    )
    tied, total = [], 0.0
    for candidate in candidates:
        tied.append(candidate.name)
        total += candidate.probability
        if total >= SURE:
            break
    margin = float(chances[0] - chances[1]) if len(chances) > 1 else 1.0
    return Ranking(candidates, skipped, tuple(tied), margin, tuple(clip.frames), seconds)


def _probabilities(costs: np.ndarray, clip: _Clip) -> np.ndarray:
    """Chances from the costs of the refined fits, infinite for robots without.

    A cost is a squared Mahalanobis distance for masks with contour errors as assumed (`pose.solver`). Masks that the
    best robot explains worse are believed less; and RELIABILITY, set by trials, pays for what that leaves out: meshes
    are not the robots, and the search may have missed the best pose.
    """
    best = float(costs.min())
    frames = clip.pyramids[-1]
    scale = max(misfit(best / len(frames), target, FINE) for target in frames)
    weight = np.exp(-RELIABILITY * (costs - best) / (2 * scale))
    return weight / weight.sum()
