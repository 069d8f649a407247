"""Levenberg-Marquardt on the joints of one picture, the camera known: what following a clip does all the time.

`pose.bundle` does the same for any number of pictures and cameras; here nothing is shared and nothing assembled.
"""

from __future__ import annotations

import numpy as np

from pose.kernel import Model
from pose.solver import SHARED, Equations, Level, View, evaluate

FARTHEST = 0.5  # rad or m: a step
DAMPING = 1e-3  # of the diagonal, to begin with: joints that make up for each other are far apart in a flat valley
TRIES = 4  # steps in a row that may raise the cost
STANDING = np.array([0.0, 0.0, 1.0])  # the camera does not turn: where it would turn about does not matter


def descend(
    model: Model, q: np.ndarray, view: View, target: np.ndarray, channels: np.ndarray, level: Level, free: np.ndarray,
    limits: tuple[np.ndarray, np.ndarray], *, prior: tuple[np.ndarray, np.ndarray] | None = None,
    trust: np.ndarray | None = None, iterations: int = 15, tolerance: float = 5e-3,
) -> tuple[np.ndarray, Equations]:  # fmt: skip
    """Joints (n,) that explain a target (C,H,W) best, from q (n,), and what is seen there.

    Args:
        free: (n,) joints that may change; limits: lower and upper (n,).
        prior: mean (n,) and information (n,), inverse squared standard deviations: a pull on the joints.
        tolerance: relative gain of the cost below which the descent ends, be it expected or reached.
    """
    mean, weight = (q, np.zeros(len(q))) if prior is None else prior

    def look(at: np.ndarray) -> tuple[Equations, float]:
        seen = evaluate(model, at, view, target, channels, level, STANDING, trust)
        return seen, seen.cost + float(((at - mean) ** 2 * weight).sum())

    damping = DAMPING
    now, total = look(q)
    for _ in range(iterations):
        H, g = now.H[SHARED:, SHARED:], now.g[SHARED:] + weight * (q - mean)
        curvature = np.diag(H) + weight
        # a joint at its limit that is pushed further out stays there
        stuck = ((q <= limits[0]) & (g > 0)) | ((q >= limits[1]) & (g < 0))
        active = np.flatnonzero(free & ~stuck & (curvature > 1e-9))
        if not len(active):
            break
        A, ga = H[np.ix_(active, active)] + np.diag(weight[active]), g[active]
        for _ in range(TRIES):
            step = -np.linalg.solve(A + np.diag(damping * curvature[active] + 1e-9), ga)
            step *= min(1.0, FARTHEST / max(1e-12, float(np.abs(step).max())))
            if -float(2 * ga @ step + step @ A @ step) < tolerance * total:
                return q, now
            further = q.copy()
            further[active] = np.clip(q[active] + step, limits[0][active], limits[1][active])
            then, total_then = look(further)
            if total_then < total:
                break
            damping *= 10
        else:
            break
        gain = (total - total_then) / total
        q, now, total, damping = further, then, total_then, max(1e-5, damping / 5)
        if gain < tolerance:
            break
    return q, now
