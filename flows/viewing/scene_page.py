"""A scene twin as a page: background, objects with their collision pieces, cameras, the robot's motion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from flows.job import robot_of
from flows.viewing.parts import RobotModel, Timeline, add_camera, columns_for, placed
from twin.scene import Body, RobotMotion
from twin.scene_files import read_scene

PIECES = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))


class ScenePage:
    """Fills a viser server with a scene folder."""

    def __init__(self, server: Any, folder: Path):
        """Raises TwinError, RobotError or FlowError where the scene or its robot cannot be read."""
        self.scene = read_scene(folder)
        self.timeline: Timeline | None = None
        groups: dict[str, list[Any]] = {"background": [], "objects": [], "collision pieces": [], "cameras": []}
        if self.scene.background is not None:
            mesh = self.scene.background.to_trimesh()
            groups["background"].append(server.scene.add_mesh_trimesh("/background", mesh))
        for body in self.scene.bodies:
            self._add_body(server, body, groups)
        for number, (name, camera) in enumerate(self.scene.cameras.items()):
            if camera.T_cam_base is not None:
                groups["cameras"].append(add_camera(server, f"/camera_{number}", camera))
                T_base_cam = np.linalg.inv(np.asarray(camera.T_cam_base, float))
                label = server.scene.add_label(f"/camera_{number}_name", name, position=T_base_cam[:3, 3])
                groups["cameras"].append(label)
        pieces = len(groups["collision pieces"])
        server.gui.add_markdown(
            f"**{len(self.scene.bodies)} bodies** with {pieces} collision pieces, {len(self.scene.cameras)} cameras"
        )
        for name, handles in groups.items():
            self._add_switch(server, name, handles, shown=name != "collision pieces")
        if self.scene.robot is not None and len(self.scene.robot.q):
            self._add_robot(server, self.scene.robot)

    def _add_body(self, server: Any, body: Body, groups: dict[str, list[Any]]) -> None:
        where, at = placed(body.T_base_body), f"/bodies/{body.name}"
        groups["objects"].append(server.scene.add_mesh_trimesh(f"{at}/visual", body.visual.to_trimesh(), **where))
        for number, piece in enumerate(body.collision):
            shape = server.scene.add_mesh_simple(
                f"{at}/collision/{number}", piece.vertices.astype(np.float32), piece.faces.astype(np.uint32),
                color=PIECES[number % len(PIECES)], opacity=0.6, side="double", flat_shading=True, **where,
            )  # fmt: skip
            groups["collision pieces"].append(shape)
        kind = "fixed" if body.static else f"{body.mass:.3g} kg"
        label = server.scene.add_label(f"{at}/name", f"{body.name} ({kind})", position=body.T_base_body[:3, 3])
        groups["objects"].append(label)

    def _add_switch(self, server: Any, name: str, handles: list[Any], shown: bool) -> None:
        box = server.gui.add_checkbox(name, shown and bool(handles), disabled=not handles)

        def switch(_: Any = None) -> None:
            for handle in handles:
                handle.visible = box.value

        box.on_update(switch)
        switch()

    def _add_robot(self, server: Any, motion: RobotMotion) -> None:
        robot = robot_of(motion.robot)
        q = motion.q[:, columns_for(robot, motion.joint_names, "the scene")]
        model = RobotModel(server, robot)
        model.pose(q[motion.pose_index])
        self.timeline = Timeline(server, motion.times, lambda index: model.pose(q[index]), motion.pose_index)
