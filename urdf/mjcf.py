"""MJCF files (MuJoCo's format) as descriptions, through MuJoCo's own reader and compiler.

MuJoCo resolves defaults, orientations and frames; it is given a text that names no file (`urdf.mjcf_files`) and every
mesh geom as a box, so that neither its mesh readers nor its recentring of meshes come into play.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from urdf.description import REACH, TURNS, Description, Joint, Visual, show
from urdf.errors import RobotError
from urdf.mjcf_files import SafeModel, read_safely
from urdf.mjcf_loops import couplings
from urdf.mjcf_visuals import geometry, tool_sites

FREE, BALL, SLIDE, HINGE = range(4)  # mjtJoint


def read_mjcf(path: Path, source: str) -> Description:
    """A description from an MJCF file.

    Bodies become links of the same name, with the body's own frame; a body with several joints, or a joint beside
    the body's origin, gets links in between called `<joint>_link`. Free joints are left out: the base stands still.
    A world that holds one body and no geometry is left out too, else the root link is "world". Sites with the name
    of a tool frame (attachment_site, pinch, tcp, ...) become links on fixed joints; a single one is the end effector.
    The joint values are MuJoCo's, `ref` included. Couplings come from equality constraints and closed loops, as far
    as a line describes them.

    Raises:
        RobotError: MuJoCo is not installed or refuses the model; broken or hostile text; a mesh that is absent or
            outside the description's folders; a ball joint.
    """
    safe = read_safely(path, source)
    model, mesh_of = _compile(safe, source)
    return _Reader(model, safe, mesh_of, source).description()


def _compile(safe: SafeModel, source: str) -> tuple[Any, dict[int, tuple[str, np.ndarray, tuple[float, ...]]]]:
    """The compiled model, and for geoms that are meshes: (mesh name, T_geom_mesh (4,4), scale)."""
    try:
        import mujoco
    except ImportError:
        raise RobotError(f'{source}: MJCF files are read with MuJoCo; run: pip install "urdfit[mjcf]"') from None
    meshes = {}
    warn = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda text: None)  # else it writes MUJOCO_LOG.TXT into the working directory
    try:
        spec = mujoco.MjSpec.from_string(safe.xml)
        placed = {mesh.name: mesh for mesh in spec.meshes}
        for geom in spec.geoms:
            if geom.meshname:
                if geom.meshname not in placed:
                    raise RobotError(f"{source}: a geom names mesh {show(geom.meshname)}, which does not exist")
                meshes[geom.name] = geom.meshname
                geom.meshname, geom.type, geom.size = "", mujoco.mjtGeom.mjGEOM_BOX, [0.01, 0.01, 0.01]
        model = spec.compile()
    except RobotError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise RobotError(f"{source}: MuJoCo cannot read the model ({reason})") from None
    finally:
        mujoco.set_mju_user_warning(warn)
    found = {}
    for i in range(model.ngeom):
        name = meshes.get(model.geom(i).name)
        if name is not None:
            found[i] = (name, *_mesh_place(placed[name], f"{source}: mesh {show(name)}"))
    return model, found


def _mesh_place(mesh: Any, where: str) -> tuple[np.ndarray, tuple[float, ...]]:
    """T_geom_mesh and the scale: MuJoCo draws S R^T (v - p) for scale S, refquat R and refpos p."""
    scale, R = np.array(mesh.scale, float), pose(np.zeros(3), np.array(mesh.refquat, float))[:3, :3].T
    turned = R.T @ np.diag(scale) @ R  # S R^T = R^T turned
    if not np.allclose(turned, np.diag(np.diag(turned)), atol=1e-9 * np.abs(scale).max()):
        raise RobotError(f"{where} has a refquat across its axes of different scale; give one scale or no refquat")
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, -np.diag(scale) @ R @ np.array(mesh.refpos, float)
    return T, tuple(float(v) for v in np.diag(turned))


def pose(xyz: np.ndarray, quat: np.ndarray) -> np.ndarray:
    """(4,4) from a position and a quaternion w x y z of any length but 0."""
    w, x, y, z = quat / np.linalg.norm(quat)
    T = np.eye(4)
    T[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    T[:3, 3] = xyz
    return T


def roll_pitch_yaw(R: np.ndarray) -> tuple[float, float, float]:
    """Turns about the fixed axes x, y, z that make up R (3,3), as in a URDF's <origin>."""
    pitch = float(np.arctan2(-R[2, 0], np.hypot(R[0, 0], R[1, 0])))
    if np.hypot(R[0, 0], R[1, 0]) < 1e-9:  # gimbal lock: all turning about z
        return 0.0, pitch, float(np.arctan2(-R[0, 1], R[1, 1]))
    return float(np.arctan2(R[2, 1], R[2, 2])), pitch, float(np.arctan2(R[1, 0], R[0, 0]))


class _Reader:
    """Walks a compiled model's bodies."""

    def __init__(self, model: Any, safe: SafeModel, mesh_of: dict, source: str) -> None:
        self.model, self.safe, self.mesh_of, self.source = model, safe, mesh_of, source
        self.links: list[str] = []
        self.joints: list[Joint] = []
        self.names: set[str] = set()
        self.joint_name = self._joint_names()
        self.body_name: dict[int, str] = {}

    def description(self) -> Description:
        model = self.model
        bodies = self._robot_bodies()
        # bodies first: their names are not to be taken by links made here
        for body in bodies:
            self.body_name[body] = self._unique(model.body(body).name or f"body_{body}", self.names)
        self.links.append(self.body_name[bodies[0]])
        for body in bodies[1:]:
            self._body(body)
        visuals = []
        for g, shape, size, color in geometry(model, self.mesh_of, self.safe.textures, bodies):
            link = self.body_name[int(model.geom_bodyid[g])]
            T = pose(model.geom_pos[g], model.geom_quat[g])
            path = None
            if g in self.mesh_of:
                name, T_geom_mesh, _ = self.mesh_of[g]
                path, T = self.safe.mesh(name, link), T @ T_geom_mesh
            visuals.append(Visual(link, shape, size, path, self._finite(T, f"a geom of body {show(link)}"), color))
        tools = []
        for site in tool_sites(model, bodies):
            name = self._unique(model.site(site).name, self.names)
            tools.append(name)
            T = pose(model.site_pos[site], model.site_quat[site])
            self._fixed(self.body_name[int(model.site_bodyid[site])], name, T)
        joints = self._coupled()
        tool = tools[0] if len(tools) == 1 else ""
        result = Description(self.safe.name or "robot", tuple(self.links), joints, tuple(visuals))
        return replace(result, labels=replace(result.labels, rest=self._rest(joints), end_effector=tool))

    def _robot_bodies(self) -> list[int]:
        """Bodies of the robot, parents first, the root first; loose objects beside it are left out."""
        model = self.model
        jointed = {int(b) for b, kind in zip(model.jnt_bodyid, model.jnt_type) if kind != FREE}
        root = {b: int(model.body_rootid[b]) for b in range(1, model.nbody)}
        moving = {root[b] for b in jointed}
        loose = {int(b) for b, kind in zip(model.jnt_bodyid, model.jnt_type) if kind == FREE}
        loose |= {b for b in root if model.body_mocapid[b] >= 0}
        dropped = (loose - moving) if moving else set()
        kept = [b for b in root if root[b] not in dropped]
        tops = [b for b in kept if model.body_parentid[b] == 0]
        if not tops:
            raise RobotError(f"{self.source}: the world holds no body")
        bare = not len(geometry(model, self.mesh_of, {}, [0]))
        if len(tops) == 1 and bare and tops[0] not in jointed:
            return kept
        return [0, *kept]

    def _body(self, body: int) -> None:
        """The joints of a body and the links between them. MuJoCo's joints all act in the body's frame, in order."""
        model = self.model
        parent, name = self.body_name[int(model.body_parentid[body])], self.body_name[body]
        T = pose(model.body_pos[body], model.body_quat[body])
        count, first = int(model.body_jntnum[body]), int(model.body_jntadr[body])
        rows = [j for j in range(first, first + count) if model.jnt_type[j] != FREE]
        for k, j in enumerate(rows):
            what = f"joint {show(self.joint_name[j])}"
            if model.jnt_type[j] == BALL:
                raise RobotError(f"{self.source}: {what} is a ball joint; use three hinges")
            axis, anchor = np.array(model.jnt_axis[j], float), np.zeros(3)
            if model.jnt_type[j] == HINGE:  # where along its axis it sits does not matter
                anchor = np.array(model.jnt_pos[j], float)
                anchor = anchor - axis * (axis @ anchor)
                anchor = anchor if np.linalg.norm(anchor) > 1e-12 else np.zeros(3)
            T[:3, 3] += T[:3, :3] @ anchor
            # values count from ref: turn back by it
            ref = float(model.qpos0[model.jnt_qposadr[j]])
            if model.jnt_type[j] == SLIDE:
                T[:3, 3] -= T[:3, :3] @ axis * ref
            else:
                T[:3, :3] = T[:3, :3] @ pose(np.zeros(3), np.r_[np.cos(ref / 2), -np.sin(ref / 2) * axis])[:3, :3]
            last = k == len(rows) - 1 and not anchor.any()
            child = name if last else self._unique(f"{self.joint_name[j]}_link", self.names)
            self._moving(j, parent, child, self._finite(T, what), axis)
            parent, T = child, np.eye(4)
            T[:3, 3] = -anchor
            if last:
                return
        self._fixed(parent, name, self._finite(T, f"body {show(name)}"))

    def _moving(self, j: int, parent: str, child: str, T: np.ndarray, axis: np.ndarray) -> None:
        limited, (lower, upper) = bool(self.model.jnt_limited[j]), map(float, self.model.jnt_range[j])
        if self.model.jnt_type[j] == SLIDE:
            kind = "prismatic"
            lower, upper = np.clip((lower, upper), -REACH, REACH) if limited else (-REACH, REACH)
        elif not limited or upper - lower > TURNS:
            kind, lower, upper = "continuous", -np.pi, np.pi
        else:
            kind = "revolute"
        self.links.append(child)
        place = tuple(map(float, T[:3, 3])), roll_pitch_yaw(T[:3, :3])
        self.joints.append(
            Joint(self.joint_name[j], kind, parent, child, *place, tuple(map(float, axis)), float(lower), float(upper))
        )

    def _fixed(self, parent: str, child: str, T: np.ndarray) -> None:
        taken = set(self.joint_name.values()) | {j.name for j in self.joints}
        name = self._unique(f"{child}_fixed", taken)
        self.links.append(child)
        place = tuple(map(float, T[:3, 3])), roll_pitch_yaw(T[:3, :3])
        self.joints.append(Joint(name, "fixed", parent, child, *place, (1.0, 0.0, 0.0)))

    def _coupled(self) -> tuple[Joint, ...]:
        known = {j.name for j in self.joints if j.kind != "fixed"}
        name_of = {j: name for j, name in self.joint_name.items() if name in known}
        mimics = {
            name_of[j]: (name_of[leader], multiplier, offset)
            for j, (leader, multiplier, offset) in couplings(self.model, self.safe.driven).items()
            if j in name_of and leader in name_of
        }
        return tuple(replace(j, mimic=mimics.get(j.name)) for j in self.joints)

    def _rest(self, joints: tuple[Joint, ...]) -> dict[str, float]:
        """The key frame "home" of the independent joints."""
        home = self.safe.home
        if home is None or len(home) != self.model.nq or not np.isfinite(home).all():
            return {}
        column = {name: int(self.model.jnt_qposadr[j]) for j, name in self.joint_name.items()}
        return {j.name: home[column[j.name]] for j in joints if j.kind != "fixed" and j.mimic is None}

    def _joint_names(self) -> dict[int, str]:
        taken: set[str] = set()
        return {j: self._unique(self.model.joint(j).name or f"joint_{j}", taken) for j in range(self.model.njnt)}

    @staticmethod
    def _unique(name: str, taken: set[str]) -> str:
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    def _finite(self, T: np.ndarray, what: str) -> np.ndarray:
        if not np.isfinite(T).all() or np.abs(T).max() > 1e6:
            raise RobotError(f"{self.source}: {what} is not at a finite place")
        return T.copy()
