"""A camera on the wrist: where it sits on its link, from what it sees of the gripper; of the arm, if joints are known.

For the camera it is the base that moves: the robot is hung on the camera's link, where the camera stands still, and
fitted like any other clip. Only the beginning differs: such a camera looks past the hand from close by, at any roll.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from scipy.spatial.transform import Rotation

from pose.bundle import Solution
from pose.camera import Camera
from pose.errors import FitError
from pose.fit import fit_problem
from pose.hypotheses import Hypothesis, KeyFrames, Report, bases, bundle, extend, first_look, polish, search_of
from pose.priors import PosePrior
from pose.problem import prepare
from pose.start import Guesses, Search
from pose.sweep import Progress
from urdf import Robot
from urdf.rooted import carried_with, only_links, rooted

FIELD_OF_VIEW = np.deg2rad([45.0, 115.0])
ASIDE = 0.02, 0.16  # metres of the lens from the hand's axis
BEHIND = 0.12  # metres that the lens may be behind the hand's beginning; it is before its tip
AHEAD = 0.03, 0.35  # metres before the lens, along the hand, at which it looks
BREADTH = PosePrior(np.eye(4), 1.0, 0.1)  # how far guesses are changed at first: rad, m
SEARCHES, KEPT = 2, 12
ALIKE, TWIN_DEG = 0.02, 90.0  # IoU and turn of a pose that may be mistaken for the one found
GROWN = 5  # of those kept, taken to all key frames


@dataclass(frozen=True)
class WristFit:
    """A camera on a link and the joints of T frames; what `Trajectory` says of them holds here.

    Attributes:
        link: the link that carries the camera.
        T_cam_link: (4,4); camera: intrinsics, its T_cam_base is None, for the base moves.
        camera_sigma: (6,) rotation (rad) and translation (m) about what is seen of the robot.
        cameras: T, each with T_cam_base, where the arm's joints were given; else none.
        q, sigma: (T,n); the arm's joints are NaN where they were not given: a hand looks the same in all of them.
        alternatives: other poses on the link that explain the masks nearly as well: {"iou", "T_cam_link"} each.
    """

    link: str
    T_cam_link: np.ndarray
    camera: Camera
    camera_sigma: np.ndarray
    focal_sigma: float
    joint_names: tuple[str, ...]
    q: np.ndarray
    sigma: np.ndarray
    observable: np.ndarray
    iou: np.ndarray
    valid: np.ndarray
    cameras: tuple[Camera, ...]
    alternatives: tuple[dict, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


def fit_wrist(
    robot: Robot,
    masks: Sequence[Mapping[str, np.ndarray]],
    *,
    link: str | None = None,
    camera: Camera | None = None,
    q: np.ndarray | None = None,
    times: np.ndarray | None = None,
    fps: float = 30.0,
    progress: Progress | None = None,
    seed: int = 0,
) -> WristFit:
    """Fit a camera that a link carries, and the gripper's joints.

    Args:
        robot, masks, times, fps, progress, seed: as for `fit_video`. Without joints, and with gripper masks, these
            alone are looked at.
        link: what carries the camera; the end effector's link if None.
        camera: K where known.
        q: (T,n) joints; columns of the gripper may be NaN and are solved for. Without them only what the arm's motion
            does not move beside the camera is fitted: mostly the gripper.

    Raises:
        FitError: no usable mask, sizes or counts that do not match, joints of the arm that are given only in part, or
            no pose that covers the masks.
        RobotError: no such link.
    """
    name = robot.ee_link if link is None else link
    count, n = len(masks), len(robot.joint_names)
    seen = rooted(robot, name)
    beside = carried_with(robot, name)
    if q is None:
        gripper = beside & (robot.part_of_link == 1)
        if gripper[robot.mesh.face_link].any() and count and "gripper" in masks[0]:
            masks = _Gripper(masks)  # what else of the arm comes into the picture cannot be told without its joints
        if not beside[robot.mesh.face_link].any():
            raise FitError(f"nothing of {robot.name} stays beside {name}: give the joints, or another link")
        seen = rooted(only_links(robot, beside), name)
        given = np.tile(robot.rest, (count, 1))
        given[:, robot.gripper_joints] = np.nan
    else:
        given = np.array(q, float)
        if given.shape != (count, n) or not np.isfinite(given[:, robot.arm_joints]).all():
            raise FitError(
                f"joints must be {count} frames x {n} values ({', '.join(robot.joint_names)}), those of the arm finite"
            )
    problem = prepare(
        seen, masks, None if camera is None else replace(camera, T_cam_base=None), given, None, None, times, fps, None,
        None,
    )  # fmt: skip
    hand = only_links(robot, beside) if beside[robot.mesh.face_link].any() else robot
    mount = Mount.of(hand, name)
    fit = fit_problem(replace(problem, stands=False), partial(find_on_link, mount=mount), progress, seed)
    T = np.asarray(fit.camera.T_cam_base)
    cameras: tuple[Camera, ...] = ()
    values, sigma, told = fit.q, fit.sigma, fit.observable
    if q is None:
        unknown = np.isin(np.arange(n), robot.arm_joints)
        values, sigma = (np.where(unknown, np.nan, each) for each in (values, sigma))
        told = told & ~unknown
    else:
        rows = np.nan_to_num(np.where(np.isfinite(values), values, given))  # also where nothing is seen
        base = T @ np.linalg.inv(robot.link_poses(rows)[:, robot.link_names.index(name)])
        cameras = tuple(replace(fit.camera, T_cam_base=one) for one in base)
    warnings = fit.warnings
    here = float(np.median(fit.iou[fit.valid])) if fit.valid.any() else 0.0
    if any(one["iou"] > here - ALIKE and one["camera_turned_deg"] > TWIN_DEG for one in fit.alternatives):
        warnings += (f"the hand looks nearly the same from another place on {name}: see alternatives",)
    others = tuple({"iou": one["iou"], "T_cam_link": one["T_cam_base"]} for one in fit.alternatives)
    return WristFit(
        name, T, replace(fit.camera, T_cam_base=None), fit.camera_sigma, fit.focal_sigma, fit.joint_names, values,
        sigma, told, fit.iou, fit.valid, cameras, others, warnings, fit.seconds,
    )  # fmt: skip


class _Gripper(Sequence):
    """Masks of the gripper alone, read when asked for."""

    def __init__(self, masks: Sequence[Mapping[str, np.ndarray]]) -> None:
        self._masks = masks

    def __len__(self) -> int:
        return len(self._masks)

    def __getitem__(self, index):
        return {"gripper": self._masks[index]["gripper"]}


@dataclass(frozen=True)
class Mount:
    """A hand beside which cameras are guessed: its beginning, axis and length in its link's frame (metres)."""

    begin: np.ndarray
    axis: np.ndarray
    length: float

    @classmethod
    def of(cls, robot: Robot, link: str) -> Mount:
        """Of what the robot's mesh shows, from the joint that turns it to its far end."""
        here = rooted(robot, link)
        poses = here.link_poses(robot.rest)
        mesh = here.mesh
        points = np.einsum("vij,vj->vi", poses[mesh.vertex_link][:, :3, :3], mesh.vertices)
        points = points + poses[mesh.vertex_link][:, :3, 3]
        arm = np.flatnonzero(np.isin(here.tree.q_index, robot.arm_joints))
        begin = poses[arm[0], :3, 3] if len(arm) else np.zeros(3)  # the joint next to the link
        held = here.part_of_link[mesh.vertex_link] == 1
        middle = points[held if held.any() else slice(None)].mean(0)
        axis = (middle - begin) / max(float(np.linalg.norm(middle - begin)), 1e-6)
        reach = (points - begin) @ axis
        return cls(begin, axis, float(max(np.percentile(reach, 99), 0.05)))

    def guess(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """T_cam_link (N,4,4) of cameras beside the hand that look past it."""
        side = np.cross(self.axis, np.eye(3)[np.argmin(np.abs(self.axis))])
        side /= np.linalg.norm(side)
        around = rng.uniform(-np.pi, np.pi, (count, 1))
        out = np.cos(around) * side + np.sin(around) * np.cross(self.axis, side)
        along = rng.uniform(-BEHIND, 0.8 * self.length, (count, 1))
        eye = self.begin + out * rng.uniform(*ASIDE, (count, 1)) + self.axis * along
        target = self.begin + self.axis * (along + rng.uniform(*AHEAD, (count, 1))) + rng.normal(0, 0.03, (count, 3))
        z = target - eye
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        x = np.cross(out, z)
        x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
        T = np.tile(np.eye(4), (count, 1, 1))
        roll = Rotation.from_rotvec([0, 0, 1] * rng.uniform(-np.pi, np.pi, (count, 1))).as_matrix()
        T[:, :3, :3] = roll @ np.stack([x, np.cross(z, x), z], 1)
        T[:, :3, 3] = -np.einsum("nij,nj->ni", T[:, :3, :3], eye)
        return T

    def half_turn(self) -> np.ndarray:
        """(4,4) of the link's frame half a turn about the hand's axis: most hands look the same."""
        T = np.eye(4)
        T[:3, :3] = Rotation.from_rotvec(np.pi * self.axis).as_matrix()
        T[:3, 3] = self.begin - T[:3, :3] @ self.begin
        return T


@dataclass(frozen=True)
class LinkSearch(Search):
    """A search among cameras on a link."""

    mount: Mount | None = None

    def sample(self, count: int, rng: np.random.Generator) -> Guesses:
        assert self.mount is not None
        K = np.tile(self.K, (count, 1, 1))
        if not self.focal_known:
            size = self.zoom * max(self.targets.shape[-2:])
            K[:, 0, 0] = K[:, 1, 1] = size / 2 / np.tan(rng.uniform(FIELD_OF_VIEW[0], FIELD_OF_VIEW[1], count) / 2)
        return self.score(Guesses(self._joints(count, rng), self.mount.guess(count, rng), K, np.zeros(count)))


def find_on_link(
    key: KeyFrames, rng: np.random.Generator, report: Report, mount: Mount, guesses: int = 20000
) -> tuple[Solution, list[Hypothesis]]:
    """As `hypotheses.find`, for a camera that a link carries.

    Raises:
        FitError: no guess overlaps the masks.
    """
    pool: list[Hypothesis] = []
    unknown = bool(key.free.any())
    starts = bases(key)[:SEARCHES] if unknown else [0]
    for number, base in enumerate(starts):
        plain = search_of(key, base)
        given = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
        search = LinkSearch(**{**given, "near": BREADTH, "mount": mount})
        if unknown:
            found = first_look(key, search, base, rng, guesses, KEPT)[:GROWN]
        else:
            assert key.q is not None
            known = key.q
            some = search.run(guesses // len(key.targets[0]), KEPT, rng)
            found = [Hypothesis(K, T, known, np.zeros(len(key.targets[0]))) for K, T in zip(some.K, some.T)]
        for i, h in enumerate(found):
            report(1 + int(7 * (number + i / len(found)) / len(starts)), 10)
            pool.append(extend(key, h, base, rng) if unknown else bundle(key, h, 0))
    pool.sort(key=lambda h: -h.score)
    if not pool or pool[0].score < 0.2:
        raise FitError("no place on this link from which a camera would see these masks: is it the right link?")
    pool = [*pool[:3], *(bundle(key, replace(h, T=h.T @ mount.half_turn()), 0) for h in pool[:1])]
    solution, others = polish(key, pool)
    report(10, 10)
    return solution, others
