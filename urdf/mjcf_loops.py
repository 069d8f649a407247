"""Which joints of a MuJoCo model follow which: equality constraints and closed loops as lines between joints."""

from __future__ import annotations

from typing import Any

import numpy as np

CONNECT, JOINT, TENDON = 0, 2, 3  # mjtEq
JOINT_WRAP = 1  # mjtWrap
SITE = 6  # mjtObj
STEPS = 12  # in which a closed loop is followed over the range of its leader
CLOSED = 1e-4  # metres; a loop whose ends are this near is closed
BEND = (0.15, 0.003)  # radians and metres by which a follower may leave its line
Line = tuple[int, float, float]  # leader, multiplier, offset


def couplings(model: Any, driven: set[str]) -> dict[int, Line]:
    """Joint to (leader, multiplier, offset), value = multiplier * leader + offset; leaders follow nobody.

    Taken: active equality constraints between two joints (linear ones) or of fixed tendons over two joints, and loops
    closed by `connect` that leave one joint free, where straight lines describe its followers well enough. Other
    constraints say nothing here: their joints stay free.

    Args:
        model: compiled MjModel.
        driven: names of joints that have actuators; they are preferred as leaders of loops.
    """
    lines: dict[int, Line] = {}
    for e in range(model.neq):
        if not model.eq_active0[e]:
            continue
        for weights, constant in _equations(model, e):
            _add(lines, weights, constant)
    _follow_loops(model, lines, driven)
    return {j: _root(lines, j) for j in lines}


def _root(lines: dict[int, Line], joint: int) -> Line:
    multiplier, offset = 1.0, 0.0
    while joint in lines:
        joint, m, o = lines[joint]
        multiplier, offset = multiplier * m, offset + multiplier * o
    return joint, multiplier, offset


def _add(lines: dict[int, Line], weights: dict[int, float], constant: float) -> None:
    """Take in sum of weight * value = constant over two joints; the first becomes the follower."""
    if len(weights) != 2 or not all(map(np.isfinite, (*weights.values(), constant))):
        return
    (first, w1), (second, w2) = weights.items()
    (a, m1, o1), (b, m2, o2) = _root(lines, first), _root(lines, second)
    if a != b and abs(w1 * m1) > 1e-9 and abs(w2 * m2) > 1e-9:
        lines[a] = (b, -w2 * m2 / (w1 * m1), (constant - w1 * o1 - w2 * o2) / (w1 * m1))


def _equations(model: Any, e: int) -> list[tuple[dict[int, float], float]]:
    """A constraint as linear equations between joint values: (weights, constant)."""
    first, second, data = int(model.eq_obj1id[e]), int(model.eq_obj2id[e]), model.eq_data[e]
    kind = int(model.eq_type[e])
    if kind not in (JOINT, TENDON) or np.any(data[2:5] != 0):
        return []
    # deviations from qpos0: left - data[0] - data[1] * right = 0
    left = _deviation(model, first, kind)
    right = _deviation(model, second, kind) if second >= 0 else {}
    weights = dict(left)
    for joint, weight in right.items():
        weights[joint] = weights.get(joint, 0.0) - float(data[1]) * weight
    start = {j: float(model.qpos0[model.jnt_qposadr[j]]) for j in weights}
    return [(weights, float(data[0]) + sum(w * start[j] for j, w in weights.items()))]


def _deviation(model: Any, row: int, kind: int) -> dict[int, float]:
    if kind == JOINT:
        return {row: 1.0}
    wraps = range(model.tendon_adr[row], model.tendon_adr[row] + model.tendon_num[row])
    return {int(model.wrap_objid[w]): float(model.wrap_prm[w]) for w in wraps if model.wrap_type[w] == JOINT_WRAP}


class _Loop:
    """Ends that `connect` constraints hold together, and the free joints between them."""

    def __init__(self, model: Any, lines: dict[int, Line], ends: list[int], joints: list[int]) -> None:
        import mujoco

        self.model, self.lines, self.ends, self.joints = model, lines, ends, joints
        self.data = mujoco.MjData(model)
        self.kinematics = mujoco.mj_kinematics

    def gap(self, values: np.ndarray) -> np.ndarray:
        """(3n,) metres between the ends for values of the free joints."""
        model, data = self.model, self.data
        data.qpos[:] = model.qpos0
        known = dict(zip(self.joints, values))
        for j in range(model.njnt):
            root, multiplier, offset = _root(self.lines, j)
            if root in known:
                data.qpos[model.jnt_qposadr[j]] = multiplier * known[root] + offset
        self.kinematics(model, data)
        gaps = []
        for e in self.ends:
            a, b, anchors = int(model.eq_obj1id[e]), int(model.eq_obj2id[e]), model.eq_data[e]
            if model.eq_objtype[e] == SITE:
                gaps.append(data.site_xpos[a] - data.site_xpos[b])
            else:
                near = data.xpos[a] + data.xmat[a].reshape(3, 3) @ anchors[:3]
                gaps.append(near - data.xpos[b] - data.xmat[b].reshape(3, 3) @ anchors[3:6])
        return np.concatenate(gaps)

    def jacobian(self, values: np.ndarray) -> np.ndarray:
        step = 1e-6 * np.eye(len(values))
        return np.column_stack([(self.gap(values + s) - self.gap(values - s)) / 2e-6 for s in step])

    def close(self, values: np.ndarray, fixed: int) -> np.ndarray | None:
        """Values that close the loop while one joint keeps its own; None where none are found."""
        values = values.copy()
        free = [i for i in range(len(values)) if i != fixed]
        for _ in range(30):
            gap = self.gap(values)
            if np.abs(gap).max() < CLOSED:
                return values
            change = np.linalg.lstsq(self.jacobian(values)[:, free], -gap, rcond=1e-4)[0]
            values[free] += change * min(1.0, 0.3 / (np.abs(change).max() + 1e-12))
        return None


def _follow_loops(model: Any, lines: dict[int, Line], driven: set[str]) -> None:
    loops = [(joints, [e]) for e in range(model.neq) if (joints := _between(model, lines, e))]
    merged: list[tuple[set[int], list[int]]] = []
    for joints, ends in loops:  # loops that share a joint move together
        for other in [m for m in merged if m[0] & joints]:
            merged.remove(other)
            joints, ends = joints | other[0], other[1] + ends
        merged.append((joints, ends))
    for joints, ends in merged:
        if len(joints) <= 20 and len(ends) <= 20:
            lines.update(_lines_of_loop(model, lines, sorted(joints), ends, driven))


def _between(model: Any, lines: dict[int, Line], e: int) -> set[int]:
    """The free joints that move one end of a `connect` against the other."""
    if model.eq_type[e] != CONNECT or not model.eq_active0[e]:
        return set()
    chains = []
    for end in (int(model.eq_obj1id[e]), int(model.eq_obj2id[e])):
        body, chain = (int(model.site_bodyid[end]) if model.eq_objtype[e] == SITE else end), set()
        while body > 0:
            chain |= set(range(model.body_jntadr[body], model.body_jntadr[body] + model.body_jntnum[body]))
            body = int(model.body_parentid[body])
        chains.append(chain)
    joints = chains[0] ^ chains[1]
    return {_root(lines, j)[0] for j in joints} if all(model.jnt_type[j] >= 2 for j in joints) else set()


def _lines_of_loop(
    model: Any, lines: dict[int, Line], joints: list[int], ends: list[int], driven: set[str]
) -> dict[int, Line]:
    loop = _Loop(model, lines, ends, joints)
    start = np.array([float(model.qpos0[model.jnt_qposadr[j]]) for j in joints])
    strength = np.linalg.svd(loop.jacobian(start), compute_uv=False)
    if len(joints) - int((strength > 1e-4).sum()) != 1:
        return {}  # rigid, or held by springs and limits
    leading = {line[0] for line in lines.values()}
    leader = min(
        range(len(joints)), key=lambda i: (model.joint(joints[i]).name not in driven, joints[i] not in leading)
    )
    j = joints[leader]
    lower, upper = map(float, model.jnt_range[j]) if model.jnt_limited[j] else (start[leader] - 1, start[leader] + 1)
    found = []
    for bound in (lower, upper):
        values: np.ndarray | None = start
        for value in np.linspace(start[leader], bound, STEPS):
            assert values is not None
            values = values.copy()
            values[leader] = value
            values = loop.close(values, leader)
            if values is None:
                break
            found.append(values)
    if len(found) < STEPS:
        return {}
    table = np.array(found)
    result: dict[int, Line] = {}
    for i, joint in enumerate(joints):
        if i != leader and np.ptp(table[:, leader]) > 0:
            multiplier, offset = np.polyfit(table[:, leader], table[:, i], 1)
            bend = np.abs(multiplier * table[:, leader] + offset - table[:, i]).max()
            if bend < BEND[0 if model.jnt_type[joint] == 3 else 1]:
                result[joint] = (j, float(multiplier), float(offset))
    return result
