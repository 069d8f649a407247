"""A twin from a rig, step by step: place the cameras, take the robot out, fuse what stays, tell the objects apart.

    scene = build_twin(load_rig("rig.json"), load_robot("panda"), masks)

`flows.build_twin` does the same from files, keeps what each step gave, and exports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from twin.assemble import BuildSettings, assemble, fuse
from twin.errors import TwinError
from twin.place import Placed, Statement, place_rig
from twin.rig import Rig
from twin.scene import RobotMotion, Scene
from twin.still import MaskSet, ObjectMasks, Progress, has_pose, object_votes, still_pictures
from urdf import Robot


def build_twin(
    rig: Rig,
    robot: Robot | None,
    masks: Sequence[MaskSet | None],
    *,
    joints: tuple[np.ndarray, np.ndarray | None] | None = None,
    objects: ObjectMasks | None = None,
    settings: BuildSettings | None = None,
    robot_name: str | None = None,
    progress: Progress | None = None,
) -> Scene:
    """From a rig and the robot's masks to a scene in the robot's base frame.

    Args:
        rig: see `twin.load_rig`. robot: None: the given poses of the cameras are taken as they are.
        masks: of the robot, by camera and frame, as for `place_rig`; None for a camera without.
        joints: known ones, as for `place_rig`.
        objects: masks of objects by name, view and frame, (H,W) each; None: objects are found by their shape.
        robot_name: what the scene calls the robot; what `urdf.load_robot` took.
        progress: called with (stage, done, total).

    Raises:
        TwinError, FitError: no camera can be placed, or nothing can be fused.
    """
    s = settings or BuildSettings()
    motion: RobotMotion | None = None
    statements: tuple[Statement, ...] = ()
    if robot is None:
        warnings = check_given(rig)
    else:
        placed = place_rig(
            rig, robot, masks, joints=joints, robot_name=robot_name, progress=progress, seed=s.seed
        )  # fmt: skip
        rig, motion, warnings = placed.rig, known_motion(placed), placed.warnings
        statements = placed.statements
    views = still_pictures(rig, robot, motion, masks, s.frames, progress)
    fused = fuse(views, object_votes(rig, views, objects or {}), s)
    scene = assemble(fused, rig, robot, motion, s, views)
    told = {"cameras": [vars(statement) for statement in statements]}
    return replace(scene, metrics={**scene.metrics, **told}, warnings=(*warnings, *scene.warnings))


def check_given(rig: Rig) -> tuple[str, ...]:
    """A rig without a robot is fused in its own world; says so.

    Raises:
        TwinError: no camera has a pose.
    """
    if not any(has_pose(camera) for camera in rig.cameras):
        raise TwinError("without a robot the cameras' poses must be given in the rig; none is")
    return ("no robot was given: the scene is in the rig's own world, and its scale and Z axis are those given",)


def known_motion(placed: Placed) -> RobotMotion:
    """The motion with NaN in instants that the fit does not explain."""
    return replace(placed.motion, q=np.where(placed.valid[:, None], placed.motion.q, np.nan))
