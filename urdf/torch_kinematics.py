"""Forward kinematics in torch: batched, differentiable any number of times, on any device.

On the CPU the poses come from the compiled loop of `urdf.kinematics`; elsewhere the links of one depth are placed
together, the batch innermost, and links on fixed joints at the end. Neither records steps for autograd, as the
derivative is known: a joint moves all links below it by one screw (v, w), a point x by v + w x x (Lynch and Park,
Modern Robotics, 2017, section 5.1.1). A joint's gradient is its screw times the sum of the wrenches on those links.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from urdf.kinematics import check_columns, fill_poses
from urdf.robot import PRISMATIC, KinematicTree


@dataclass(frozen=True, eq=False)
class Constants:
    """A tree's numbers as tensors of one dtype on one device, for M links that q moves, nearest the base first.

    Attributes:
        moving: (M,) rows of those links.
        column, multiplier, offset: (M,) column of q, and how it moves the joint.
        axis: (M,3) unit axis in the link's frame.
        slides: (M,1) True for prismatic joints.
        below: (M,L) 1 where a link is the moving link or hangs below it.
        above: for every link which of M move it, and (the same in one go) above_all and their links' rows.
        basis: (M,4,3,4,1) `KinematicTree.basis`, but from the nearest moving link above.
        levels: for every depth the first and last of M, and (K,) each one's place in the level above.
        anchor: (L,) which of M carries the link; M for links that never move.
        rigid: (L,4,4,1) the link's pose in that one.
    """

    moving: torch.Tensor
    column: torch.Tensor
    multiplier: torch.Tensor
    offset: torch.Tensor
    axis: torch.Tensor
    slides: torch.Tensor
    below: torch.Tensor
    above: tuple[torch.Tensor, ...]
    above_all: torch.Tensor
    above_rows: torch.Tensor
    basis: torch.Tensor
    levels: tuple[tuple[int, int, torch.Tensor], ...]
    anchor: torch.Tensor
    rigid: torch.Tensor


_cache: WeakKeyDictionary[KinematicTree, dict[tuple[torch.dtype, torch.device], Constants]] = WeakKeyDictionary()


def constants(tree: KinematicTree, like: torch.Tensor) -> Constants:
    """The tree's constants in a tensor's dtype and on its device, built once for each."""
    known = _cache.setdefault(tree, {})
    key = like.dtype, like.device
    if key not in known:
        known[key] = _constants(tree, like)
    return known[key]


def _constants(tree: KinematicTree, like: torch.Tensor) -> Constants:
    count = len(tree.parent)
    carrier, depth = np.full(count, -1), np.zeros(count, int)  # nearest moving link, itself included
    rigid, basis = np.tile(np.eye(4), (count, 1, 1)), tree.basis.copy()
    below = np.eye(count, dtype=bool)
    for link, parent in enumerate(tree.parent):
        if parent >= 0:
            carrier[link], depth[link], rigid[link] = carrier[parent], depth[parent], rigid[parent]
            below[:, link] |= below[:, parent]
        if tree.q_index[link] >= 0:
            basis[link] = rigid[link] @ basis[link]
            carrier[link], depth[link], rigid[link] = link, depth[link] + 1, np.eye(4)
        else:
            value = tree.offset[link]
            terms = np.array([1, np.sin(value), 1 - np.cos(value), value])
            rigid[link] = rigid[link] @ np.tensordot(terms, tree.basis[link], 1)
    moving = np.nonzero(tree.q_index >= 0)[0]
    moving = moving[np.argsort(depth[moving], kind="stable")]
    entry = np.full(count + 1, len(moving))  # the last is for carrier -1
    entry[moving] = np.arange(len(moving))
    ends = np.cumsum([0, *np.bincount(depth[moving])[1:]])
    before = [carrier[tree.parent[link]] if tree.parent[link] >= 0 else -1 for link in moving]
    rows, movers = np.nonzero(below[moving].T)
    each = np.split(movers, np.searchsorted(rows, np.arange(1, count)))

    def numbers(a: Any) -> torch.Tensor:
        return torch.as_tensor(a, dtype=like.dtype, device=like.device)

    def index(a: Any) -> torch.Tensor:
        return torch.as_tensor(np.asarray(a, np.int64), device=like.device)

    levels = []
    for level, (start, end) in enumerate(pairwise(ends)):
        place = entry[before[start:end]] - ends[level - 1] if level else np.zeros(end - start)
        levels.append((int(start), int(end), index(place)))
    return Constants(
        moving=index(moving),
        column=index(tree.q_index[moving]),
        multiplier=numbers(tree.multiplier[moving]),
        offset=numbers(tree.offset[moving]),
        axis=numbers(tree.axis[moving]),
        slides=index(tree.kind[moving] == PRISMATIC).bool()[:, None],
        below=numbers(below[moving]),
        above=tuple(map(index, each)),
        above_all=index(movers),
        above_rows=index(rows),
        basis=numbers(basis[moving, :, :3, :, None]),
        levels=tuple(levels),
        anchor=index(entry[carrier]),
        rigid=numbers(rigid[..., None]),
    )


def forward_kinematics(tree: KinematicTree, q: torch.Tensor) -> torch.Tensor:
    """T_base_link (...,L,4,4) for q (...,n), differentiable in q; keeps dtype and device.

    Raises:
        ValueError: q has no column for a joint of the tree, or holds no floating-point numbers.
    """
    check_columns(tree, q.shape)
    if not q.is_floating_point():
        raise ValueError(f"q holds {q.dtype}; expected floating-point numbers")
    poses = _Poses.apply(q.reshape(int(np.prod(q.shape[:-1])), q.shape[-1]), tree)
    return poses.reshape(*q.shape[:-1], len(tree.parent), 4, 4)


def batch_last(poses: torch.Tensor) -> torch.Tensor:
    """(L,4,4,N) in memory for poses (N,L,4,4): long rows of equal work, several times as fast."""
    count = poses.shape[1]
    return poses.reshape(len(poses), 16 * count).mT.contiguous().reshape(count, 4, 4, len(poses))


def screws(c: Constants, T: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(v, w), each (3,M,N): a unit of joint m's motion moves a point x below it by v + w x x, in base axes.

    T (M,4,4,N) are the poses of the links `c.moving`.
    """
    axis = (T[:, :3, :3] * c.axis[:, None, :, None]).sum(2).transpose(0, 1)
    around = cross(T[:, :3, 3].transpose(0, 1), axis)
    return torch.where(c.slides, axis, around), axis.masked_fill(c.slides, 0.0)


def cross(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a x b along the first axis, which torch's own does slowly."""
    (ax, ay, az), (bx, by, bz) = a, b
    return torch.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


class _Poses(torch.autograd.Function):
    """q (N,n) to poses (N,L,4,4)."""

    @staticmethod
    def forward(q: torch.Tensor, tree: KinematicTree) -> torch.Tensor:
        if q.device.type != "cpu" or q.dtype not in (torch.float32, torch.float64):
            return by_level(tree, q)
        poses = q.new_empty(len(q), len(tree.parent), 4, 4)
        fill_poses(tree, q.detach().double().numpy(), poses.numpy())
        return poses

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, KinematicTree], output: torch.Tensor) -> None:
        ctx.tree = inputs[1]
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        (poses,) = ctx.saved_tensors
        c, T, G = constants(ctx.tree, poses), batch_last(poses), batch_last(grad)
        v, w = screws(c, T[c.moving])
        # turning a frame by w changes its four columns x by w x x: the torque is the sum of x x g
        torque = cross(T[:, :3].transpose(0, 1), G[:, :3].transpose(0, 1)).sum(2)
        force = G[:, :3, 3].transpose(0, 1)
        value = (v * (c.below @ force) + w * (c.below @ torque)).sum(0) * c.multiplier[:, None]
        columns = int(ctx.tree.q_index.max(initial=-1)) + 1
        return value.new_zeros(columns, len(poses)).index_add(0, c.column, value).mT, None

    @staticmethod
    def jvp(ctx: Any, tangent: torch.Tensor, _: None) -> torch.Tensor:
        (poses,) = ctx.saved_tensors
        c, T = constants(ctx.tree, poses), batch_last(poses)
        rate = tangent[:, c.column].mT * c.multiplier[:, None]
        v, w = (c.below.mT @ (s * rate) for s in screws(c, T[c.moving]))  # (3,L,N)
        rows = cross(w[:, :, None], T[:, :3].transpose(0, 1))  # (3,L,4,N)
        rows = torch.cat([rows[:, :, :3], rows[:, :, 3:] + v[:, :, None]], 2).permute(3, 1, 0, 2)
        return torch.cat([rows, torch.zeros_like(rows[:, :, :1])], 2)

    @staticmethod
    def vmap(info: Any, dims: tuple[int, None], q: torch.Tensor, tree: KinematicTree) -> tuple[torch.Tensor, int]:
        q = q.movedim(dims[0], 0)
        return _Poses.apply(q.flatten(0, 1), tree).unflatten(0, q.shape[:2]), 0


def by_level(tree: KinematicTree, q: torch.Tensor) -> torch.Tensor:
    """(N,L,4,4) by elementwise products alone: matrix products may run in reduced precision (TF32, autocast)."""
    c = constants(tree, q)
    value = (q[:, c.column] * c.multiplier + c.offset).mT[:, None, None]  # (M,1,1,N)
    half = torch.sin(0.5 * value)  # 1 - cos(v) = 2 sin(v/2)^2 keeps its digits near 0
    B0, B1, B2, B3 = c.basis.unbind(1)
    local = B0 + torch.sin(value) * B1 + 2 * half * half * B2 + value * B3  # (M,3,4,N)
    levels: list[torch.Tensor] = []
    for start, end, place in c.levels:
        here = local[start:end]
        levels.append(_product(levels[-1][place], here) if levels else here)
    base = torch.eye(3, 4, dtype=q.dtype, device=q.device)[None, ..., None].expand(1, 3, 4, len(q))
    poses = _product(torch.cat([*levels, base])[c.anchor], c.rigid[:, :3])
    last = torch.eye(4, dtype=q.dtype, device=q.device)[3]
    return torch.cat([poses.permute(3, 0, 1, 2), last.expand(len(q), len(tree.parent), 1, 4)], -2)


def _product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(K,3,4,N) of rigid transforms given by their upper three rows."""
    turned = a[:, :, 0:1] * b[:, 0:1] + a[:, :, 1:2] * b[:, 1:2] + a[:, :, 2:3] * b[:, 2:3]
    return torch.cat([turned[:, :, :3], turned[:, :, 3:] + a[:, :, 3:]], 2)
