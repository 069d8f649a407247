"""The report of a twin: one HTML file with everything in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from flows.files import atomic_path
from flows.report import jpeg
from flows.twin_compare import Compared
from twin.export import fitted_joints
from twin.picture import draw, looking, scene_meshes
from twin.scene import Scene
from urdf import Robot
from urdf.robot import PRISMATIC

OVERVIEWS = ((1.6, -1.2, 1.1), (-0.6, 1.5, 1.4), (0.45, -0.02, 2.2))  # metres, base frame: where the twin is seen from
SIZE, FOCAL = (640, 480), 620.0


def write_twin_report(
    path: Path, scene: Scene, robot: Robot | None, compared: Sequence[Compared], seconds: Mapping[str, float]
) -> None:
    """Write `report.html`."""
    html = render_twin_report(scene, robot, compared, seconds)
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def render_twin_report(
    scene: Scene, robot: Robot | None, compared: Sequence[Compared], seconds: Mapping[str, float]
) -> str:
    """The report's HTML; every text that comes from outside is escaped."""
    environment = Environment(loader=PackageLoader("flows"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    q = None if scene.robot is None or robot is None else fitted_joints(scene.robot, robot)
    return environment.get_template("twin.html").render(
        scene=scene,
        title=Path(str(scene.metrics.get("settings", {}).get("rig", "twin"))).name,
        overviews=[Markup(jpeg(_overview(scene, robot, q, eye))) for eye in OVERVIEWS],
        cameras=[_pictures(one) for one in compared],
        statements=scene.metrics.get("cameras", []),
        posed=_posed(scene),
        bodies=[_body_row(body) for body in scene.bodies],
        joints=[] if robot is None or q is None else _joint_rows(scene, robot, q),
        objects=sum(not body.static for body in scene.bodies),
        seconds=dict(seconds),
        settings={k: v for k, v in scene.metrics.get("settings", {}).items() if v is not None},
    )


def _posed(scene: Scene) -> tuple[int, str]:
    """How many cameras have a pose, and where it is from; those that move have many, and none in scene.json."""
    given = sum(one.get("state") == "given" for one in scene.metrics.get("cameras", []))
    count = given or len(scene.cameras)
    return count, f"camera{'' if count == 1 else 's'}" + (", poses as given" if given else " placed")


def _overview(scene: Scene, robot: Robot | None, q: np.ndarray | None, eye: Sequence[float]) -> np.ndarray:
    """The twin from the side, one sample a pixel more than is shown: smoother edges."""
    target = _middle(scene)
    camera = looking(np.array(target) + np.array(eye) - (0.45, 0, 0.15), target, (2 * SIZE[0], 2 * SIZE[1]), 2 * FOCAL)
    drawn = draw(scene_meshes(scene, robot, q, np.array(eye)), camera)
    image = np.where((drawn.depth > 0)[..., None], drawn.image, 240).astype(np.uint8)
    return cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)


def _middle(scene: Scene) -> tuple[float, float, float]:
    """What overviews look at: the things, else the middle of what is there."""
    things = [np.asarray(b.T_base_body)[:3, 3] for b in scene.bodies if not b.static]
    if scene.robot is None and things:
        x, y, z = np.mean(things, axis=0)
        return float(x), float(y), float(z)
    if scene.robot is None and scene.background is not None:
        x, y, z = np.median(scene.background.vertices, axis=0)
        return float(x), float(y), float(z)
    return 0.45, 0.0, 0.15


def _pictures(one: Compared) -> dict[str, Any]:
    rows = [
        (("camera", one.picture), ("twin", one.twin), ("difference", one.map)),
        (("camera, without what moves", one.still), ("twin without the robot", one.still_twin),
         ("difference", one.still_map)),
    ]  # fmt: skip
    return {
        "name": one.name,
        "time": one.time_s,
        "difference": one.difference,
        "covered": one.covered,
        "rows": [[(text, Markup(jpeg(image))) for text, image in row] for row in rows],
    }


def _body_row(body: Any) -> dict[str, Any]:
    size = np.ptp(body.visual.vertices, axis=0) if len(body.visual.vertices) else np.zeros(3)
    return {
        "name": body.name,
        "material": body.material,
        "size": " x ".join(f"{1000 * side:.0f}" for side in size),
        "mass": "fixed" if body.static else f"{body.mass:.3g} kg",
        "density": body.density,
        "pieces": len(body.collision),
        "at": ", ".join(f"{v:.3f}" for v in np.asarray(body.T_base_body)[:3, 3]),
    }


def _joint_rows(scene: Scene, robot: Robot, q: np.ndarray) -> list[dict[str, Any]]:
    assert scene.robot is not None
    rows = []
    motion = scene.robot
    for i, name in enumerate(robot.joint_names):
        column = motion.q[:, motion.joint_names.index(name)]
        links = np.flatnonzero(robot.tree.q_index == i)
        sliding = bool((robot.tree.kind[links] == PRISMATIC).all())
        factor, unit = (1000.0, "mm") if sliding else (float(np.rad2deg(1.0)), "°")
        known = column[np.isfinite(column)] * factor
        low, high = (known.min(), known.max()) if len(known) else (np.nan, np.nan)
        rows.append({"name": name, "unit": unit, "fitted": q[i] * factor, "low": low, "high": high})
    return rows
