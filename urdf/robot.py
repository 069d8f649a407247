"""The nouns of this package: a robot, its kinematic tree, its mesh and its gripper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from urdf import kinematics

if TYPE_CHECKING:
    import torch

FIXED, REVOLUTE, PRISMATIC = 0, 1, 2
PARTS = ("arm", "gripper")
DISPLAY_FACES = 30_000


@dataclass(frozen=True, eq=False)
class KinematicTree:
    """One row a link, parents before children, row 0 the root.

    The transform of link l in its parent is origin[l] @ motion(axis[l], value) with
    value = multiplier[l] * q[q_index[l]] + offset[l]: a turn in radians or a shift in metres.

    Attributes:
        parent: (L,) int32 row of the parent link, -1 for the root.
        origin: (L,4,4) float64 T_parent_joint.
        axis: (L,3) float64 unit axis in the joint's frame.
        kind: (L,) int8 FIXED, REVOLUTE (continuous too) or PRISMATIC.
        q_index: (L,) int32 column of q that drives the link's joint, -1 if none.
        multiplier, offset: (L,) float64; 1 and 0 unless the joint mimics another.
    """

    parent: np.ndarray
    origin: np.ndarray
    axis: np.ndarray
    kind: np.ndarray
    q_index: np.ndarray
    multiplier: np.ndarray
    offset: np.ndarray

    @cached_property
    def basis(self) -> np.ndarray:
        """(L,4,4,4) float64: T_parent_link = B0 + sin(v) B1 + (1 - cos(v)) B2 + v B3 for a joint value v."""
        return kinematics.motion_basis(self.origin, self.axis, self.kind)


@dataclass(frozen=True, eq=False)
class RobotMesh:
    """The surfaces of all links in one mesh, each vertex in the frame of its link (metres).

    Attributes:
        vertices: (V,3) float32.
        faces: (F,3) int32.
        vertex_link, face_link: (V,), (F,) int32 row of the link.
        face_color: (F,3) float32 rgb in 0..1.
    """

    vertices: np.ndarray
    faces: np.ndarray
    vertex_link: np.ndarray
    face_link: np.ndarray
    face_color: np.ndarray


@dataclass(frozen=True, eq=False)
class Gripper:
    """How one joint opens the gripper, as a table with straight lines between its rows.

    Attributes:
        joint: column of q.
        values: (S,) joint values, increasing, over the joint's range.
        openings: (S,) metres between the finger pads at these values, rising or falling all along.
    """

    joint: int
    values: np.ndarray
    openings: np.ndarray

    @property
    def max_opening(self) -> float:
        """Metres at fraction 1."""
        return float(self.openings.max())

    def opening(self, q: np.ndarray) -> np.ndarray:
        """Metres between the finger pads, never negative, (...,) for q (...,n)."""
        return np.maximum(np.interp(np.asarray(q, float)[..., self.joint], self.values, self.openings), 0.0)

    def fraction(self, q: np.ndarray) -> np.ndarray:
        """Opening as a fraction in 0..1 with 1 = open, (...,) for q (...,n)."""
        return np.clip(self.opening(q) / self.max_opening, 0.0, 1.0)

    def from_opening(self, opening: np.ndarray | float) -> np.ndarray:
        """The joint's value for an opening in metres, inside the joint's range."""
        order = 1 if self.openings[-1] > self.openings[0] else -1
        return np.interp(np.asarray(opening, float), self.openings[::order], self.values[::order])

    def slope(self, q: np.ndarray) -> np.ndarray:
        """Metres of opening per unit of the joint at q (...,n), (...,); carries the joint's sigma over."""
        steps = np.diff(self.openings) / np.diff(self.values)
        cell = np.searchsorted(self.values, np.asarray(q, float)[..., self.joint]) - 1
        return steps[np.clip(cell, 0, len(steps) - 1)]


@dataclass(frozen=True, eq=False)
class Robot:
    """A robot ready to be posed, drawn and fitted; made by `load_robot`.

    Attributes:
        name, source: its name, and the catalogue name or path it was loaded from (its name if composed).
        joint_names: (n) the actuated joints in URDF order, mimic joints excluded.
        lower, upper: (n,) limits in radians or metres; -pi..pi for joints that turn without end.
        continuous: (n,) bool, True where a joint turns without end.
        velocity: (n,) limits in 1/s, inf where the description gives none.
        rest: (n,) a typical configuration inside the limits.
        link_names, link_parts: (L) names, and "arm" or "gripper" for each.
        ee_link: the link whose pose is the end effector's.
        tree: the kinematics.
        grippers: how each gripper opens; empty when there is none or its opening is unclear.
        urdf_xml: the kinematics as plain URDF text without geometry; pinocchio builds it as it is.
        arm_joints, gripper_joints: columns of q above and in the gripper.
        base_links: links that carry the arm, such as a stand; part of the arm in masks.
        symmetric: (joint, radians): turned by this, the joint leaves nearly the same picture.
        unobservable: joints whose motion hardly changes the picture.
        licence, notes: of the description, where the catalogue knows them.
        mesh: the render mesh, about 3000 faces.
    """

    name: str
    source: str
    joint_names: tuple[str, ...]
    lower: np.ndarray
    upper: np.ndarray
    continuous: np.ndarray
    velocity: np.ndarray
    rest: np.ndarray
    link_names: tuple[str, ...]
    link_parts: tuple[str, ...]
    ee_link: str
    tree: KinematicTree
    grippers: tuple[Gripper, ...]
    urdf_xml: str
    arm_joints: np.ndarray
    gripper_joints: np.ndarray
    base_links: tuple[str, ...]
    symmetric: tuple[tuple[str, float], ...]
    unobservable: tuple[str, ...]
    licence: str
    notes: str
    mesh: RobotMesh
    _build_mesh: Callable[[int], RobotMesh] = field(repr=False)

    @property
    def gripper(self) -> Gripper | None:
        """The gripper, the first where there are several, None where there is none."""
        return self.grippers[0] if self.grippers else None

    @property
    def base_link(self) -> str:
        """The root link: its frame is the robot's base."""
        return self.link_names[0]

    @property
    def ee_index(self) -> int:
        """Row of the end effector's link."""
        return self.link_names.index(self.ee_link)

    @cached_property
    def display_mesh(self) -> RobotMesh:
        """A finer mesh of about 30,000 faces for pictures; built when first asked for, cached on disk."""
        return self._build_mesh(DISPLAY_FACES)

    @cached_property
    def part_of_face(self) -> np.ndarray:
        """(F,) int8 for the faces of `mesh`: index into PARTS, 0 = arm, 1 = gripper."""
        return self.part_of_link[self.mesh.face_link]

    @cached_property
    def part_of_link(self) -> np.ndarray:
        """(L,) int8 index into PARTS, 0 = arm, 1 = gripper."""
        return np.array([PARTS.index(part) for part in self.link_parts], np.int8)

    def with_mesh_faces(self, faces: int) -> Robot:
        """The same robot with a render mesh of about `faces` triangles."""
        return replace(self, mesh=self._build_mesh(faces))

    def forward_kinematics(self, q: torch.Tensor) -> torch.Tensor:
        """T_base_link (...,L,4,4) of every link for q (...,n); differentiable, keeps dtype and device.

        Joint values outside the limits are taken as they are.
        """
        from urdf.torch_kinematics import forward_kinematics

        return forward_kinematics(self.tree, q)

    def jacobian(self, q: torch.Tensor, link: str | None = None) -> torch.Tensor:
        """(...,6,n) velocity of a link's frame per unit of joint velocity for q (...,n); keeps dtype and device.

        Rows 0-2 are the velocity of its origin (m), rows 3-5 its angular velocity (rad), both in base axes.

        Args:
            link: a name of `link_names`; the end effector if None.

        Raises:
            ValueError: no such link, or q has no column for a joint.
        """
        from urdf.jacobian import frame_jacobian

        name = self.ee_link if link is None else link
        if name not in self.link_names:
            raise ValueError(f"robot {self.name} has no link {name!r}; see link_names")
        return frame_jacobian(self.tree, self.forward_kinematics(q), self.link_names.index(name))

    def point_jacobian(
        self, q: torch.Tensor, links: torch.Tensor | np.ndarray, points: torch.Tensor | np.ndarray
    ) -> torch.Tensor:
        """(...,P,3,n) velocity of points on links (m, base axes) per unit of joint velocity for q (...,n).

        Args:
            links: (P,) row of each point's link, for example `mesh.vertex_link`.
            points: (P,3) in the frames of their links (m), for example `mesh.vertices`.

        Raises:
            ValueError: shapes that do not belong together, or a row that is no link's.
        """
        from urdf.jacobian import point_jacobian

        return point_jacobian(self.tree, self.forward_kinematics(q), links, points)

    def link_poses(self, q: np.ndarray) -> np.ndarray:
        """T_base_link (...,L,4,4) float64 of every link for q (...,n): `forward_kinematics` without torch."""
        return kinematics.link_poses(self.tree, q)

    def random_configuration(self, rng: np.random.Generator) -> np.ndarray:
        """(n,) uniform inside the limits."""
        return rng.uniform(self.lower, self.upper)

    def clip(self, q: np.ndarray) -> np.ndarray:
        """(...,n) inside the limits; endless joints are left as they are."""
        q = np.asarray(q, float)
        return np.where(self.continuous, q, np.clip(q, self.lower, self.upper))
