"""What is known of joints and cameras before any picture is looked at."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

TWIST = 6  # parameters of a pose: rotation and translation about a pivot near the robot, in the camera's frame


@dataclass(frozen=True)
class PosePrior:
    """Where a camera is believed to be: T_cam_base, and standard deviations of its turn and place.

    Attributes:
        T_cam_base: (4,4).
        rotation: radians about each of the camera's axes; translation: metres, of the robot as the camera sees it.
    """

    T_cam_base: np.ndarray
    rotation: float = np.deg2rad(5.0)
    translation: float = 0.05

    @property
    def information(self) -> np.ndarray:
        """(6,) inverse variances of the twist about the robot."""
        return 1 / np.r_[np.full(3, self.rotation), np.full(3, self.translation)] ** 2


@dataclass(frozen=True)
class Steady:
    """Three poses in a row that should move evenly: their indices, times in seconds, and accelerations.

    Attributes:
        acceleration: (2,) standard deviation of rad/s^2 and m/s^2.
    """

    poses: tuple[int, int, int]
    times: tuple[float, float, float]
    acceleration: tuple[float, float]


@dataclass(frozen=True)
class Priors:
    """What is known beforehand.

    Attributes:
        joints: mean (F,n) and information (n,) or (F,n), inverse squared standard deviations.
        poses: by index.
        steady: for a camera that moves.
    """

    joints: tuple[np.ndarray, np.ndarray] | None = None
    poses: dict[int, PosePrior] = field(default_factory=dict)
    steady: tuple[Steady, ...] = ()


def between(T: np.ndarray, other: np.ndarray, pivot: np.ndarray) -> np.ndarray:
    """(6,) twist about a point of the other's camera frame that leads from one pose to the other."""
    D = other @ np.linalg.inv(T)
    turn = Rotation.from_matrix(D[:3, :3]).as_rotvec()
    return np.r_[turn, pivot - np.linalg.solve(D, np.r_[pivot, 1.0])[:3]]


def uneven(steady: Steady, poses: np.ndarray, pivots: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How unevenly three poses move: derivative (1,3) by each one's twist, acceleration (6,), and its information."""
    i, j, k = steady.poses
    a, b = steady.times[1] - steady.times[0], steady.times[2] - steady.times[1]
    A = np.array([[2 / (a * (a + b)), -2 / (a * b), 2 / (b * (a + b))]])
    before, after = between(poses[i], poses[j], pivots[j]), between(poses[j], poses[k], pivots[j])
    r = 2 / (a + b) * (after / b - before / a)
    return A, r, 1 / np.repeat(steady.acceleration, 3) ** 2
