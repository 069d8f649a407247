"""The last stage of a twin: names and materials as edited, every format, pictures beside the cameras', the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.files import read_json, sha256_json, sha256_path, write_json
from flows.job import robot_of
from flows.progress import report
from flows.store import Product
from flows.twin_job import TwinJob
from flows.twin_stages import CODE, load_placed, load_views
from twin.scene import Scene

if TYPE_CHECKING:
    from flows.twin_compare import Compared

EDITS = "objects.json"


def scene_key(job: TwinJob, place: str | None, fused: Product, objects: Product) -> str:
    """The scene before, what people changed of its bodies, and the code that writes and draws."""
    return sha256_json(
        {
            "code": CODE["scene"],
            "place": place,
            "fused": fused.digest,
            "objects": objects.digest,
            "edits": None if job.edits is None else sha256_path(job.edits),
            "settings": job.settings(),
            "lost": job.lost,
        }
    )


def scene_stage(job: TwinJob, place: Path | None, fused: Path, objects: Path, out: Path, seconds: dict) -> None:
    """Write the scene folder.

    Raises:
        TwinError: the edits of people make no sense, with a line that says which.
    """
    from flows.twin_compare import compare_views
    from flows.twin_recording import write_twin_recording
    from flows.twin_report import write_twin_report
    from twin.export import export_scene
    from twin.scene_files import read_scene

    built = read_scene(objects)
    scene = _edited(job, built, out)
    rig, _, _ = load_placed(job, place)
    robot = None if job.robot is None else robot_of(job.robot)
    views = load_views(fused / "views")
    report("scene: pictures", 0, len(views))
    compared = compare_views(scene, rig, views, robot, lambda done: report("scene: pictures", done, len(views)))
    metrics = {**scene.metrics, "cameras": _statements(job, scene, compared), "settings": job.settings()}
    scene = replace(scene, metrics=metrics)
    report("scene: export", 0, 1)
    shown = None if robot is None else replace(robot, mesh=robot.display_mesh)
    warnings = export_scene(out, scene, shown)
    scene = replace(scene, warnings=(*scene.warnings, *warnings))
    report("scene: export", 1, 1)
    write_twin_recording(out / "scene.rrd", scene, robot, views, rig.names)
    write_twin_report(out / "report.html", scene, robot, compared, seconds)


def _statements(job: TwinJob, scene: Scene, compared: Sequence[Compared]) -> list[dict[str, Any]]:
    """What is to be said of every camera: of its pose, and how much the twin looks like its picture."""
    seen = {c.name: {"covered": c.covered, **({"difference": c.difference} if c.covered else {})} for c in compared}
    placed = scene.metrics.get("cameras") or [
        {"name": n, "state": "given", "text": "pose as given" if n in scene.cameras else "moves; poses as given"}
        for n in seen
    ]
    out = [{"name": name, "state": "left out", "text": f"left out: {why}"} for name, why in job.lost]
    return [{**entry, **seen.get(entry["name"], {})} for entry in placed] + out


def _edited(job: TwinJob, scene: Scene, out: Path) -> Scene:
    """The scene with the bodies as people want them; writes objects.json with an entry for each."""
    from twin.object_edits import apply_edits, read_edits, write_edits

    write_edits(out / EDITS, scene.bodies)
    if job.edits is None:
        return scene
    bodies, said = apply_edits(scene.bodies, read_edits(job.edits))
    entries, own = read_json(out / EDITS), read_json(job.edits)
    write_json(out / EDITS, {**entries, **{k: {**entries.get(k, {}), **v} for k, v in own.items()}})
    return replace(scene, bodies=bodies, warnings=(*scene.warnings, *(f"{EDITS}: {line}" for line in said)))
