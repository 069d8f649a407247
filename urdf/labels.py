"""What is known about a robot beyond its description: parts, tool frame, finger pads, symmetries, licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Pad:
    """A point of a finger that touches what is grasped: metres in the frame of its link."""

    link: str
    xyz: tuple[float, float, float]


@dataclass(frozen=True)
class GripperLabel:
    """Two finger pads and the joint that parts them."""

    joint: str
    pads: tuple[Pad, Pad]


@dataclass(frozen=True)
class Labels:
    """Facts of the catalogue, by the description's names; what is unknown here is guessed from names and meshes.

    Attributes:
        gripper_links: these links and all below them are the part "gripper"; None where unknown.
        base_links: links that carry the arm: a stand, a pedestal, a mobile base. Part of the arm in masks.
        end_effector: the tool frame's link; "" where unknown.
        grippers: the finger pads, one entry a gripper.
        rest: a typical configuration, joint to radians or metres.
        symmetric: (joint, angle): the robot looks nearly the same when this joint turns by that many radians.
        unobservable: joints whose motion hardly changes the picture, such as that of a round flange.
        mesh_faces: triangles of the fitting mesh.
        licence, notes: of the description.
    """

    gripper_links: tuple[str, ...] | None = None
    base_links: tuple[str, ...] = ()
    end_effector: str = ""
    grippers: tuple[GripperLabel, ...] = ()
    rest: Mapping[str, float] = field(default_factory=dict)
    symmetric: tuple[tuple[str, float], ...] = ()
    unobservable: tuple[str, ...] = ()
    mesh_faces: int = 3000
    licence: str = ""
    notes: str = ""

    def prefixed(self, prefix: str) -> Labels:
        """The same facts after all links and joints were renamed prefix + name."""
        return replace(
            self,
            gripper_links=None if self.gripper_links is None else tuple(prefix + n for n in self.gripper_links),
            base_links=tuple(prefix + n for n in self.base_links),
            end_effector=self.end_effector and prefix + self.end_effector,
            grippers=tuple(
                GripperLabel(prefix + g.joint, (Pad(prefix + a.link, a.xyz), Pad(prefix + b.link, b.xyz)))
                for g in self.grippers
                for a, b in [g.pads]
            ),
            rest={prefix + name: value for name, value in self.rest.items()},
            symmetric=tuple((prefix + joint, angle) for joint, angle in self.symmetric),
            unobservable=tuple(prefix + joint for joint in self.unobservable),
        )
