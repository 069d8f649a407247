"""Single pictures: a robot, a camera, surroundings, clutter and light, drawn with exact part masks.

What matters was measured (many failures come from it): sharp photographs behind the robot, textured objects rather
than smooth ones, held objects and cables labelled background, pictures without a robot, robots cut off by the border.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pose.camera import Camera
from pose.shading import ColorImage, Look, Prop, render_color
from segmentation.training.assets import Assets
from segmentation.training.backdrops import Backdrop, random_backdrop
from segmentation.training.cameras import clear, eye_of, random_camera, well_covered
from segmentation.training.clutter import random_clutter
from segmentation.training.lights import Lighting, random_lighting
from segmentation.training.looks import random_look
from segmentation.training.motion import random_pose
from segmentation.training.movers import Mover, attachments
from segmentation.training.sensor import random_sensor
from segmentation.training.shards import Sample, encode
from segmentation.training.surroundings import random_surroundings
from urdf import Robot

EMPTY = 0.1  # share of pictures without a robot
TRIES = 12  # for a camera that sees a fair piece of the robot


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything but joints, camera and time. `robot` None: an empty scene of the same kind."""

    robot: Robot | None
    look: Look
    props: list[Prop]
    movers: list[Mover]
    lighting: Lighting
    backdrop: Backdrop

    def draw(self, q: np.ndarray, poses: np.ndarray, camera: Camera, time: float = 0.0) -> ColorImage:
        """The scene at joint angles q (n,) with link poses (L,4,4)."""
        return render_color(
            self.robot, q, camera, scene=[*self.props, *(mover(time, poses) for mover in self.movers)],
            lights=self.lighting.lights, surroundings=self.lighting.sky, background=self.backdrop.seen_by(camera),
            look=self.look, mesh=None if self.robot is None else self.robot.mesh, exposure=self.lighting.exposure,
            supersample=1,
        )  # fmt: skip


def sample_picture(
    rng: np.random.Generator, assets: Assets, width: int, height: int, name: str = "picture",
    empty_share: float = EMPTY, own: float = 0.0,
) -> Sample:  # fmt: skip
    """One labelled picture. The same generator state gives the same bytes.

    empty_share: of pictures without a robot. own: see `random_look`.
    """
    empty = rng.random() < empty_share
    index = int(rng.choice(len(assets.robots), p=assets.weights))
    robot = assets.robots[index]
    for _ in range(TRIES):
        q = random_pose(rng, robot)
        poses = robot.link_poses(q)
        points = arm_points(robot, poses)
        camera, target = random_camera(rng, points[::11], poses, robot, width, height)
        if clear(points[::3], camera) and well_covered(points[::3], camera):
            break
    backdrop = random_backdrop(rng, assets, camera, moving=False)
    props = random_surroundings(rng, assets, target - eye_of(camera))
    props += random_clutter(rng, assets, target, camera, points, table=bool(props))
    scene = Scene(
        robot=None if empty else robot,
        look=random_look(rng, robot, own),
        props=props,
        movers=[] if empty else attachments(rng, assets, robot, poses),
        lighting=random_lighting(rng, assets, backdrop.image),
        backdrop=backdrop,
    )
    drawn = scene.draw(q, poses, camera)
    rgb = random_sensor(rng).develop(drawn.rgb, rng)
    facts = frame_facts(None if empty else robot, assets.specs[index], q, camera)
    return encode(rgb, drawn.part, drawn.depth, clip=name, **facts)


def arm_points(robot: Robot, poses: np.ndarray) -> np.ndarray:
    """(N,3) vertices of the robot's mesh in the base frame for link poses (L,4,4).

    Pedestals and mobile bases are left out: cameras look at arms.
    """
    mesh = robot.mesh
    carries = np.isin(robot.link_names, robot.base_links)[mesh.vertex_link]
    keep = np.flatnonzero(~carries) if not carries.all() else np.arange(len(carries))
    links = mesh.vertex_link[keep]
    return np.einsum("vij,vj->vi", poses[links, :3, :3], mesh.vertices[keep]) + poses[links, :3, 3]


def frame_facts(robot: Robot | None, spec: str, q: np.ndarray, camera: Camera, **more: Any) -> dict[str, Any]:
    """What the JSON of a frame says; `robot` is null in a picture without one."""
    return {
        "source": "rendered",
        "robot": None if robot is None else spec,
        "joint_names": [] if robot is None else list(robot.joint_names),
        "q": [] if robot is None else [round(float(v), 9) for v in q],
        "camera": camera.to_dict(),
        **more,
    }
