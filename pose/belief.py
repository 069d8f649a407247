"""What is believed of joints that move: mean and covariance, carried on in time and corrected by pictures.

Source: the Kalman filter for a random, piecewise constant acceleration; Bar-Shalom, Li & Kirubarajan, Estimation with
Applications to Tracking and Navigation (2001), section 6.3.2. The correction is that of the iterated filter: its mean
is where picture and prediction agree best, found outside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pose.solver import CHANNELS, OFFSET

DRIFT = 0.05  # pixels per root second by which the masks' offset may wander
RESTLESS = (0.5, 60.0)  # accelerations between which the filter adapts a joint's: rad/s^2, slides by their unit
LIVELY = 5.0  # with which it begins
HASTE = 0.1  # how quickly it does


@dataclass(frozen=True)
class Belief:
    """Masks' offsets (CHANNELS) and joints (n) at a time, then the joints' velocities (n).

    Attributes:
        mean: (CHANNELS + 2n,); covariance: of it.
        time: seconds.
        acceleration: (n,) standard deviation of the joints' accelerations, in units of `unit` a second squared.
    """

    mean: np.ndarray
    covariance: np.ndarray
    time: float
    acceleration: np.ndarray

    @classmethod
    def start(cls, q: np.ndarray, sigma: np.ndarray, speed: np.ndarray, time: float) -> Belief:
        """Joints (n,) known to sigma (n,), at rest but for speeds (n,) of a standard deviation."""
        deviation = np.r_[np.full(CHANNELS, OFFSET), sigma, speed]
        return cls(np.r_[np.zeros(CHANNELS), q, np.zeros(len(q))], np.diag(deviation**2), time, np.full(len(q), LIVELY))

    @property
    def joints(self) -> int:
        """n."""
        return (len(self.mean) - CHANNELS) // 2

    @property
    def placed(self) -> slice:
        """Where offsets and joints are: what a picture tells."""
        return slice(0, CHANNELS + self.joints)

    @property
    def q(self) -> np.ndarray:
        """(n,) joints."""
        return self.mean[CHANNELS : CHANNELS + self.joints]

    @property
    def velocity(self) -> np.ndarray:
        """(n,) joints' velocities."""
        return self.mean[CHANNELS + self.joints :]

    @property
    def sigma(self) -> np.ndarray:
        """(n,) standard deviations of the joints."""
        return np.sqrt(np.diag(self.covariance)[CHANNELS : CHANNELS + self.joints])

    def ahead(self, time: float, unit: np.ndarray, limits: tuple[np.ndarray, np.ndarray]) -> Belief:
        """The belief at a later time; a joint stops at its limits. unit (n,): size of each joint's unit."""
        step, n = time - self.time, self.joints
        F = np.eye(len(self.mean))
        q, v = np.arange(CHANNELS, CHANNELS + n), np.arange(CHANNELS + n, len(self.mean))
        F[q, v] = step
        covariance = F @ self.covariance @ F.T
        noise = (self.acceleration * unit) ** 2
        covariance[q, q] += noise * step**4 / 4
        covariance[q, v] += noise * step**3 / 2
        covariance[v, q] += noise * step**3 / 2
        covariance[v, v] += noise * step**2
        offsets = np.arange(CHANNELS)
        covariance[offsets, offsets] += DRIFT**2 * step
        mean = F @ self.mean
        stopped = (mean[q] < limits[0]) | (mean[q] > limits[1])
        mean[q] = np.clip(mean[q], *limits)
        mean[v] = np.where(stopped, 0.0, mean[v])
        return replace(self, mean=mean, covariance=covariance, time=time)

    def widened(self, sigma: np.ndarray) -> Belief:
        """The same mean, the joints known to no better than sigma (n,) and as likely to move either way."""
        n = self.joints
        least = np.r_[np.zeros(CHANNELS), sigma, sigma]
        extra = np.maximum(0.0, least**2 - np.diag(self.covariance))
        mean = self.mean.copy()
        mean[CHANNELS + n :] = 0.0
        return replace(self, mean=mean, covariance=self.covariance + np.diag(extra))

    def corrected(self, place: np.ndarray, information: np.ndarray, fastest: np.ndarray) -> Belief:
        """After a picture: offsets and joints `place`, where it and the belief agree best, and its own information.

        information (CHANNELS + n squared); fastest (n,): no joint is faster.
        """
        at, n = self.placed, self.joints
        moved = place - self.mean[at]
        mean = self.mean + self.covariance[:, at] @ np.linalg.solve(self.covariance[at, at], moved)
        mean[at] = place
        mean[CHANNELS + n :] = np.clip(mean[CHANNELS + n :], -fastest, fastest)
        # (P^-1 + I)^-1 without inverting P, which is nearly singular where a joint is known well
        gain = self.covariance[:, at] @ information
        covariance = np.linalg.solve(np.eye(len(mean)) + _wide(gain, len(mean)), self.covariance)
        covariance = (covariance + covariance.T) / 2
        return replace(self, mean=mean, covariance=covariance, acceleration=self._adapted(moved, covariance))

    def _adapted(self, moved: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Other accelerations, where corrections, whose variance is what they take away, are others."""
        joints = slice(CHANNELS, CHANNELS + self.joints)
        before, rest = np.diag(self.covariance)[joints], np.diag(after)[joints]
        told = rest < 0.5 * before  # a joint that the picture hardly tells says nothing of its motion
        ratio = np.where(told, moved[joints] ** 2 / np.maximum(before - rest, 1e-12), 1.0)
        return np.clip(self.acceleration * np.sqrt(1 + HASTE * (np.minimum(ratio, 10.0) - 1)), *RESTLESS)


def _wide(columns: np.ndarray, size: int) -> np.ndarray:
    """(size,size): some first columns, the others zero."""
    out = np.zeros((size, size))
    out[:, : columns.shape[1]] = columns
    return out
