"""How much of what depth's and outline's normal equations promise is real: parameters are moved, and costs looked at.

Normal equations describe a cost near its minimum. Where a mesh's facets, not its shape, tell a turn - a round flange, a
round base - they promise too much (`pose.settle` does the same for masks alone).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pose.azimuth import base_axis, spread
from pose.depth import DEPTH_SHARED
from pose.depth_frames import DepthFrame
from pose.depth_solver import DepthSolver, DepthState, Kept, posed_by
from pose.evenly import evenly
from pose.settle import bears_out
from pose.solver import SHARED, parallel

LOOKED_AT = 6  # frames


def borne_out(
    solver: DepthSolver, state: DepthState, frames: Sequence[DepthFrame], reach: float, variance: float
) -> Kept:
    """The shares of each joint's stated information, and of the base's angle, that some frames' costs bear out."""
    some = evenly(len(frames), LOOKED_AT).tolist()
    clip, chosen = solver.clip, [frames[i] for i in some]
    pivot, q = clip.pivot(posed_by(clip, state), state.q), state.q[some]
    n, limits = q.shape[1], (clip.robot.lower, clip.robot.upper)
    start = replace(state, q=q)
    at = np.r_[:SHARED, DEPTH_SHARED : DEPTH_SHARED + n]

    def by_depth(i: int, row: np.ndarray, T: np.ndarray | None = None) -> float:
        there = replace(state, q=row[None], view=state.view if T is None else replace(state.view, T_cam_base=T))
        return solver.samples(there, chosen[i], 0, pivot).cost(reach, variance)

    def by_outline(i: int, row: np.ndarray, T: np.ndarray | None = None) -> float:
        there = replace(state, q=row[None], view=state.view if T is None else replace(state.view, T_cam_base=T))
        return solver.outline(there, chosen[i], 0, pivot)[2]

    def kept(cost: Callable[[int, np.ndarray], float], H: list[np.ndarray]) -> np.ndarray:
        base = parallel(lambda i: cost(i, q[i]), range(len(some)))
        out = np.ones(n)
        for k in np.flatnonzero(clip.free):
            out[k] = np.sqrt(bears_out(int(k), q, H, limits, cost, base))
        return out

    every = range(len(some))
    depth = [solver.samples(start, chosen[i], i, pivot).equations(reach, variance)[0][np.ix_(at, at)] for i in every]
    # edges are looked for anew wherever the outline is: their cost says little
    masks = chosen[0].edges is None
    outline = [solver.outline(start, chosen[i], i, pivot)[0] for i in every] if masks else []
    joints = Kept(kept(by_depth, depth), kept(by_outline, outline) if masks else np.ones(n), np.zeros(DEPTH_SHARED + n))
    axis = base_axis(clip.model, clip.free) if clip.camera_free and masks else None
    if axis is None:
        return joints
    stand = np.asarray(state.view.T_cam_base, float)
    u = np.zeros(DEPTH_SHARED + n)
    u[:6], u[DEPTH_SHARED + axis.column] = axis.direction(stand, pivot), -1.0
    blocks = [solver.equations(start, (i, chosen[i]), pivot, reach, variance, joints)[0] for i in every]
    stated = sum(float(u @ H @ u) for H in blocks)

    def turned(angle: float) -> float:
        T, rows = axis.turn(stand, q, angle)
        return sum(parallel(lambda i: by_depth(i, rows[i], T) + by_outline(i, rows[i], T), every))

    def allowed(angle: float) -> bool:
        row = q[:, axis.column] - angle
        return bool((row >= limits[0][axis.column]).all() and (row <= limits[1][axis.column]).all())

    real = 1 / spread(turned, allowed) ** 2
    return replace(joints, turn=u, lost=max(0.0, 1 - real / stated))
