"""A robot as one of its links sees it: the same links and joints, hung on that link instead of the base."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from urdf.errors import RobotError
from urdf.robot import FIXED, KinematicTree, Robot, RobotMesh


def rooted(robot: Robot, link: str) -> Robot:
    """The same robot with `link` as its root: `link_poses` are T_link_other for the same joints q (n,).

    Joints between the base and the link turn the other way round, each with one more link at its axis. `urdf_xml` stays
    that of the robot as it was.

    Raises:
        RobotError: the robot has no such link.
    """
    if link not in robot.link_names:
        raise RobotError(f"robot {robot.name} has no link {link!r}; choose from {', '.join(robot.link_names)}")
    tree = robot.tree
    path = [robot.link_names.index(link)]
    while tree.parent[path[-1]] >= 0:
        path.append(int(tree.parent[path[-1]]))
    rows: list[tuple[int, int, np.ndarray, int]] = [(path[0], -1, np.eye(4), -1)]  # old row, parent, origin, its joint
    row_of = {path[0]: 0}
    for child, parent in pairwise(path):
        back = np.linalg.inv(tree.origin[child])
        rows.append((-1, row_of[child], np.eye(4), child))
        row_of[parent] = len(rows)
        rows.append((parent, len(rows) - 1, back, -1))
    for old in range(len(tree.parent)):  # parents come before children here too
        if old not in row_of:
            row_of[old] = len(rows)
            rows.append((old, row_of[int(tree.parent[old])], tree.origin[old], old))
    joint = np.array([j for *_, j in rows])
    turned = np.array([old < 0 for old, *_ in rows])
    moving = np.flatnonzero(joint >= 0)
    new = KinematicTree(
        parent=np.array([parent for _, parent, _, _ in rows], np.int32),
        origin=np.stack([origin for _, _, origin, _ in rows]),
        axis=np.tile([1.0, 0.0, 0.0], (len(rows), 1)),
        kind=np.full(len(rows), FIXED, np.int8),
        q_index=np.full(len(rows), -1, np.int32),
        multiplier=np.ones(len(rows)),
        offset=np.zeros(len(rows)),
    )
    sign = np.where(turned, -1.0, 1.0)[moving]
    new.axis[moving], new.kind[moving] = tree.axis[joint[moving]], tree.kind[joint[moving]]
    new.q_index[moving] = tree.q_index[joint[moving]]
    new.multiplier[moving], new.offset[moving] = (
        sign * tree.multiplier[joint[moving]],
        sign * tree.offset[joint[moving]],
    )
    names = [robot.link_names[old] if old >= 0 else f"{robot.link_names[j]}/joint" for old, _, _, j in rows]
    parts = [robot.link_parts[old if old >= 0 else j] for old, _, _, j in rows]
    moved = _Moved(robot._build_mesh, np.array([row_of[old] for old in range(len(tree.parent))], np.int32))
    return replace(
        robot, link_names=tuple(names), link_parts=tuple(parts), tree=new, mesh=moved.of(robot.mesh), _build_mesh=moved
    )


def carried_with(robot: Robot, link: str) -> np.ndarray:
    """(L,) bool: links that stay where they are beside `link` when the arm moves: its own and the gripper's."""
    here = rooted(robot, link)
    arm = np.isin(here.tree.q_index, robot.arm_joints)
    still = np.zeros(len(arm), bool)
    for row, parent in enumerate(here.tree.parent):
        still[row] = not arm[row] and (parent < 0 or still[parent])
    return still[[here.link_names.index(name) for name in robot.link_names]]


def only_links(robot: Robot, shown: np.ndarray) -> Robot:
    """The robot with the surfaces of some of its links (L,) bool alone."""
    part = _Part(robot._build_mesh, shown)
    return replace(robot, mesh=part.of(robot.mesh), _build_mesh=part)


@dataclass(frozen=True)
class _Moved:
    """Builds meshes for links in another order; picklable."""

    build: Callable[[int], RobotMesh]
    row_of: np.ndarray

    def __call__(self, faces: int) -> RobotMesh:
        return self.of(self.build(faces))

    def of(self, mesh: RobotMesh) -> RobotMesh:
        return replace(mesh, vertex_link=self.row_of[mesh.vertex_link], face_link=self.row_of[mesh.face_link])


@dataclass(frozen=True)
class _Part:
    """Builds meshes and leaves out what is not shown; picklable."""

    build: Callable[[int], RobotMesh]
    shown: np.ndarray

    def __call__(self, faces: int) -> RobotMesh:
        whole = self.of(self.build(faces))
        share = len(whole.faces) / faces
        # few triangles of a whole robot are too few for its hand
        return whole if share > 0.7 else self.of(self.build(round(faces / max(share, 0.1))))

    def of(self, mesh: RobotMesh) -> RobotMesh:
        kept, vertices = self.shown[mesh.face_link], self.shown[mesh.vertex_link]
        number = np.cumsum(vertices) - 1
        return replace(
            mesh, vertices=mesh.vertices[vertices], vertex_link=mesh.vertex_link[vertices],
            faces=number[mesh.faces[kept]].astype(np.int32), face_link=mesh.face_link[kept],
            face_color=mesh.face_color[kept],
        )  # fmt: skip
