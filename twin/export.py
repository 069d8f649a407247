"""A scene as files: scene.json with meshes, scene.glb to look at, and scene.{urdf,xml,usda} to simulate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import trimesh

from twin.errors import TwinError
from twin.export_mjcf import write_mjcf
from twin.export_urdf import write_urdf
from twin.links import LinkBody
from twin.mesh import Mesh
from twin.model_files import write_model_files
from twin.scene import RobotMotion, Scene
from twin.scene_files import write_scene
from urdf import Robot

Y_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])  # glTF's axes from ours


def export_scene(folder: str | Path, scene: Scene, robot: Robot | None = None) -> tuple[str, ...]:
    """Write every format into a folder, which may exist; returns warnings.

    scene.json, background.ply, objects/, robot.parquet   see `twin.scene_files`
    scene.glb      everything as it looks, the robot at its fitted pose; Y up, as glTF demands
    scene.urdf     robot, background, objects on floating joints
    scene.xml      MJCF with a keyframe `fitted`
    scene.usda     metersPerUnit 1, Z up, physics with explicit approximations; needs the extra `usd`

    Args:
        robot: of `scene.robot`, loaded; its `mesh` is what is drawn.

    Raises:
        TwinError: a robot that is not the scene's, or names of bodies that cannot be.
    """
    folder = Path(folder)
    q = None if scene.robot is None else fitted_joints(scene.robot, robot)
    warnings = []
    folder.mkdir(parents=True, exist_ok=True)
    write_scene(folder, scene)
    files = write_model_files(folder, scene, robot if q is not None else None)
    shown = robot if q is not None else None
    write_glb(folder / "scene.glb", scene, shown, q, files.parts)
    write_urdf(folder / "scene.urdf", scene, shown, files)
    write_mjcf(folder / "scene.xml", scene, shown, q, files)
    try:
        from twin.usd import write_usd

        write_usd(folder / "scene.usda", scene, shown, q, files.parts)
    except ImportError as error:
        if (error.name or "").split(".")[0] != "pxr":
            raise
        warnings.append('scene.usda was not written: usd-core is not installed (pip install "urdfit[usd]")')
    if warnings:
        write_scene(folder, replace(scene, warnings=(*scene.warnings, *warnings)))
    return tuple(warnings)


def fitted_joints(motion: RobotMotion, robot: Robot | None) -> np.ndarray:
    """(n,) the joints of still exports in the order of the robot's; its rest where nothing is known.

    Raises:
        TwinError: no robot, or one with other joints.
    """
    if robot is None or set(motion.joint_names) != set(robot.joint_names):
        found = "none" if robot is None else ", ".join(robot.joint_names)
        raise TwinError(
            f"the scene's robot {motion.robot!r} has joints {', '.join(motion.joint_names)}; given: {found}"
        )
    if not len(motion.q):
        return np.array(robot.rest, float)
    q = motion.q[motion.pose_index, [motion.joint_names.index(n) for n in robot.joint_names]]
    return np.where(np.isfinite(q), q, robot.rest)


def write_glb(path: Path, scene: Scene, robot: Robot | None, q: np.ndarray | None, parts: tuple[LinkBody, ...]) -> None:
    """The whole scene in one GLB, a node a body and link."""
    whole = trimesh.Scene(base_frame="world")

    def add(name: str, mesh: Mesh, T_base_body: np.ndarray) -> None:
        whole.add_geometry(mesh.to_trimesh(), node_name=name, geom_name=name, transform=Y_UP @ T_base_body)

    if scene.background is not None:
        add("background", scene.background, np.eye(4))
    for body in scene.bodies:
        add(f"objects/{body.name}", body.visual, np.asarray(body.T_base_body, float))
    if robot is not None and q is not None:
        poses = robot.link_poses(q)
        for part in parts:
            if part.visual is not None:
                add(f"robot/{part.name}", part.visual, poses[part.row])
    if not whole.geometry:
        return
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    temporary.write_bytes(whole.export(file_type="glb"))
    temporary.replace(path)
