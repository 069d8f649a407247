"""Masks of parts or single links as two channels: the robot against the rest, and which part or link it is.

Every mask by itself would be a channel of the fit, and cost as much as the robot's. Two tell the same: in the second,
parts have levels of grey that are half of the range apart between neighbours along the arm and never alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pose.errors import FitError
from urdf import Robot

PARTS = {"robot": (1.0, 1.0), "arm": (1.0, 0.0), "gripper": (0.0, 1.0)}
SEAM = 0.3  # of the outline's weight: segmenters know the seam between arm and gripper some three times worse


@dataclass(frozen=True)
class MaskCode:
    """How masks by name become channels.

    Attributes:
        channels: (C,G) float32, what a label of links counts in each channel, times the channel's weight.
        labels: (L,) the label of each link; None: 0 arm, 1 gripper.
        whole: names whose union is channel 0, where there is no mask of the robot.
        levels: by name, what it counts in channel 1 before its weight; empty without such a channel.
        robot: whether masks of the robot are given.
    """

    channels: np.ndarray
    labels: np.ndarray | None
    whole: tuple[str, ...]
    levels: dict[str, float]
    robot: bool


def mask_code(names: Iterable[str], robot: Robot | None) -> MaskCode:
    """The code of a clip's masks.

    Args:
        names: robot, arm, gripper, and with `robot` its links.

    Raises:
        FitError: no names, one that is neither a part nor a link, or two that hold the same link.
    """
    names = list(names)
    links = () if robot is None else tuple(robot.link_names)
    unknown = sorted(set(names) - set(PARTS) - set(links))
    if unknown or not names:
        also = "" if robot is None else f", or links of {robot.name} ({', '.join(links)})"
        raise FitError(f"masks have parts {sorted(names)}; expected some of robot, arm, gripper{also}")
    parts = [name for name in names if name != "robot"]
    whole = tuple(parts)
    if not set(parts) - set(PARTS):
        own = np.array([PARTS[p] for p in parts], np.float32).reshape(-1, 2)
        union = np.ones(2, np.float32) if "robot" in names else own.max(0)
        levels = _levels(parts if union.all() else [])
        return _finished(names, union, own, levels, None, whole)
    assert robot is not None
    labels = np.full(len(links), -1)
    for i, name in enumerate(parts):
        for k, link in enumerate(links):
            if (link == name) if name in links else robot.link_parts[k] == name:
                if labels[k] >= 0:
                    raise FitError(f"masks {parts[labels[k]]} and {name} both hold link {link}: give one of them")
                labels[k] = i
    labels[labels < 0] = len(parts)  # the rest
    own = np.eye(len(parts), len(parts) + 1, dtype=np.float32)
    union = np.ones(len(parts) + 1, np.float32) if "robot" in names else own.max(0)
    order = sorted(range(len(parts)), key=lambda i: int(np.flatnonzero(labels == i)[0]))
    rest = "robot" in names and bool((labels == len(parts)).any())
    levels = _interleaved([parts[i] for i in order], rest)
    return _finished(names, union, own, levels, labels.astype(np.int8), whole)


def _levels(parts: list[str]) -> dict[str, float]:
    """Of arm and gripper: the gripper where it is given, else the arm."""
    told = "gripper" if "gripper" in parts else "arm" if "arm" in parts else None
    return {} if told is None else {p: float(p == told) for p in parts}


def _interleaved(order: list[str], rest: bool) -> dict[str, float]:
    """Levels 0, 4, 1, 5, 2 ... of n along the arm, from 0 to 1; what is no part has level 0."""
    count = len(order) + rest
    if count < 2:
        return {}
    half = (count + 1) // 2
    place = [k // 2 if k % 2 == 0 else half + k // 2 for k in range(count)]
    return {name: place[k + rest] / (count - 1) for k, name in enumerate(order)}


def _finished(
    names: list[str], union: np.ndarray, own: np.ndarray, levels: dict[str, float], labels: np.ndarray | None,
    whole: tuple[str, ...],
) -> MaskCode:  # fmt: skip
    channels = [union]
    if levels:
        channels.append(np.float32(SEAM) * np.array([levels[p] for p in whole], np.float32) @ own)
    return MaskCode(np.stack(channels).astype(np.float32), labels, whole, levels, "robot" in names)
