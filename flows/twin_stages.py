"""The stages of a twin. Each reads files, fills a folder, and keeps a key of all it depends on; no Prefect here.

clocks    pictures of all cameras      -> clocks.json; only where masks of some frames alone are wanted
segment   pictures of one camera       -> masks/robot/00000.png, turned.json
place     masks of all cameras         -> place.json (cameras, joints, a statement a camera)
fuse      pictures, depth, placing     -> fused.ply, objects/<name>.ply, views/<camera>.npz
objects   the fused surface            -> a scene folder, see `twin.scene_files`
scene     all of it                    -> the scene folder in every format, report.html, scene.rrd
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from flows.errors import FlowError
from flows.files import read_json, sha256_json, sha256_path, write_json
from flows.job import robot_of
from flows.joint_file import load_joints
from flows.progress import report
from flows.stages import robot_hash
from flows.store import Product, code_version
from flows.twin_job import INSTANTS, TwinJob, camera_hash, picture_hash
from pose.camera import Camera
from twin.assemble import BuildSettings, Fused, assemble, fuse
from twin.build import check_given, known_motion
from twin.mesh import Mesh
from twin.observation import Observation
from twin.rig import Rig, Straightener
from twin.scene import RobotMotion
from twin.still import object_votes, still_pictures

_TWIN = ("twin", "pose", "urdf", "flows/twin_stages.py", "flows/twin_job.py")
CODE = {
    "clocks": code_version("twin", "segmentation/video.py"),
    "place": code_version(*_TWIN, "flows/joint_file.py"),
    "fuse": code_version(*_TWIN),
    "objects": code_version(*_TWIN),
    "scene": code_version(*_TWIN, "flows/twin_report.py", "flows/twin_recording.py", "flows/templates"),
}


def clocks_key(rig: Rig) -> str:
    """Pictures and stamps."""
    told = [[picture_hash(camera), camera.times] for camera in rig.cameras]
    return sha256_json({"code": CODE["clocks"], "cameras": told, "world": rig.world})


def clocks_stage(job: TwinJob, out: Path) -> None:
    """By how much the cameras' clocks differ: it must be known before frames that belong together can be chosen."""
    from twin.sync import picture_shifts

    rig = job.open_rig()
    found = picture_shifts(rig, lambda done: report("compare clocks", done, len(rig)))
    write_json(out / "clocks.json", dict(zip(rig.names, found, strict=True)))


def place_key(job: TwinJob, rig: Rig, masks: Sequence[str | None]) -> str:
    """The cameras as given, depth included (it is checked), the masks, the robot, known joints."""
    assert job.robot is not None
    return sha256_json(
        {
            "code": CODE["place"],
            "cameras": [camera_hash(camera) for camera in rig.cameras],
            "world": rig.world,
            "masks": masks,
            "robot": robot_hash(robot_of(job.robot)),
            "joints": None if job.joints is None else sha256_path(job.joints),
            "clocks": job.clocks,
            "seed": job.seed,
        }
    )


def place_stage(job: TwinJob, masks: Sequence[str], out: Path) -> None:
    """Cameras and joints; `masks` are folders by camera, "" for none.

    Raises:
        TwinError, FitError: no camera can be placed.
    """
    from twin.place import place_rig

    assert job.robot is not None
    rig, robot = job.open_rig(), robot_of(job.robot)
    joints = None
    if job.joints is not None:
        given = load_joints(job.joints, robot)
        joints = (given.q, given.times)
    shown = [job.robot_masks(folder, camera) for folder, camera in zip(masks, rig.cameras)]
    clocks = None if job.clocks is None else [dict(job.clocks)[name] for name in rig.names]
    placed = place_rig(
        rig, robot, shown, joints=joints, clocks=clocks, robot_name=job.robot, seed=job.seed, most=INSTANTS,
        progress=lambda stage, done, total: report(f"place: {stage}", done, total),
    )  # fmt: skip
    motion = known_motion(placed)
    cameras = [
        {
            "name": c.name,
            "camera": None if c.camera is None else c.camera.to_dict(),
            "offset": c.offset,
            "depth_scale": None if c.depth is None else c.depth.scale,
        }
        for c in placed.rig.cameras
    ]
    write_json(
        out / "place.json",
        {
            "cameras": cameras,
            "motion": {"joint_names": motion.joint_names, "q": motion.q, "times": motion.times,
                       "pose_index": motion.pose_index, "sigma": placed.sigma, "observable": placed.observable},
            "statements": [asdict(statement) for statement in placed.statements],
            "warnings": list(placed.warnings),
        },
    )  # fmt: skip


def load_placed(job: TwinJob, place: Path | None) -> tuple[Rig, RobotMotion | None, dict[str, Any]]:
    """The rig as placed, the robot's motion (NaN where unknown), and place.json; without a robot the rig as given."""
    rig = job.open_rig()
    if place is None:
        return rig, None, {"statements": [], "warnings": list(check_given(rig))}
    data = read_json(place / "place.json")
    cameras = []
    for camera, found in zip(rig.cameras, data["cameras"], strict=True):
        lens = None if found["camera"] is None else Camera.from_dict(found["camera"])
        depth = camera.depth if camera.depth is None else replace(camera.depth, scale=found["depth_scale"])
        cameras.append(replace(camera, camera=lens, offset=found["offset"], depth=depth, Ts_cam_base=None))
    told = data["motion"]
    q = np.array([[np.nan if v is None else v for v in row] for row in told["q"]], float)
    motion = RobotMotion(
        str(job.robot), tuple(told["joint_names"]), q, np.array(told["times"], float), told["pose_index"]
    )
    return replace(rig, cameras=tuple(cameras), world="base"), motion, data


def fuse_key(job: TwinJob, rig: Rig, masks: Sequence[str | None], place: str | None) -> str:
    """The cameras, where they are, what is robot, and how fine it gets."""
    return sha256_json(
        {
            "code": CODE["fuse"],
            "cameras": [camera_hash(camera) for camera in rig.cameras],
            "place": place,
            "masks": masks,
            "objects": None if job.masks is None else sha256_path(job.masks),
            "settings": [job.voxel, job.frames, job.bounds],
        }
    )


def fuse_stage(job: TwinJob, place: Path | None, masks: Sequence[str], out: Path) -> None:
    """Still pictures and the surface.

    Raises:
        TwinError: nothing can be fused.
    """
    rig, motion, _ = load_placed(job, place)
    robot = None if job.robot is None else robot_of(job.robot)
    shown = [job.robot_masks(folder, camera) for folder, camera in zip(masks, rig.cameras)]
    views = still_pictures(rig, robot, motion, shown, job.frames, report)
    report("fuse: surface", 0, 1)
    fused = fuse(views, object_votes(rig, views, job.object_masks(rig)), build_settings(job))
    report("fuse: surface", 1, 1)
    if fused.surface is not None:
        fused.surface.save(out / "fused.ply")
    (out / "objects").mkdir()
    for name, mesh in fused.objects.items():
        mesh.save(out / "objects" / f"{name}.ply")
    _save_views(out / "views", views)
    write_json(
        out / "fuse.json", {"kind": fused.kind, "objects": list(fused.objects), "warnings": list(fused.warnings)}
    )


def _save_views(folder: Path, views: Sequence[Observation]) -> None:
    """Still pictures for the report: one a camera, of one that moves that from the middle of its way."""
    folder.mkdir()
    for number in {v.view for v in views}:
        mine = [v for v in views if v.view == number]
        view = mine[len(mine) // 2]
        hidden = np.zeros(view.image.shape[:2], bool) if view.ignore is None else view.ignore
        np.savez_compressed(folder / f"{view.view}.npz", image=view.image, ignore=hidden, time_s=view.time_s)


def load_views(folder: Path) -> dict[int, tuple[np.ndarray, np.ndarray, float]]:
    """Still picture (H,W,3), what is unknown in it (H,W), and the time of its first frame, by view."""
    found = {}
    for file in sorted(folder.glob("*.npz")):
        with np.load(file, allow_pickle=False) as data:
            found[int(file.stem)] = data["image"], data["ignore"], float(data["time_s"])
    return found


def _views_again(rig: Rig, folder: Path) -> list[Observation]:
    """The still pictures that were kept, from where they were taken."""
    views = []
    for v, (image, ignore, time_s) in load_views(folder).items():
        camera = rig.cameras[v]
        if camera.camera is None:
            continue
        lens = Straightener(camera.camera).camera
        if camera.Ts_cam_base is not None:
            lens = replace(lens, T_cam_base=camera.Ts_cam_base[int(np.abs(camera.times - time_s).argmin())])
        if lens.T_cam_base is not None:
            views.append(Observation(lens, image, ignore=ignore, view=v, time_s=time_s))
    return views


def build_settings(job: TwinJob) -> BuildSettings:
    """The settings as the core has them."""
    bounds = None if job.bounds is None else (job.bounds[:3], job.bounds[3:])
    return BuildSettings(job.voxel, job.frames, bounds, job.density, job.seed)  # type: ignore[arg-type]


def objects_key(job: TwinJob, place: str | None, fused: Product) -> str:
    """The surface, the robot's places, and the density."""
    return sha256_json({"code": CODE["objects"], "place": place, "fused": fused.digest, "density": job.density})


def objects_stage(job: TwinJob, place: Path | None, fused: Path, out: Path) -> None:
    """The scene: background, bodies, robot, cameras."""
    from twin.scene_files import write_scene

    rig, motion, told = load_placed(job, place)
    state = read_json(fused / "fuse.json")
    surface = Mesh.load(fused / "fused.ply") if (fused / "fused.ply").is_file() else None
    objects = {name: Mesh.load(fused / "objects" / f"{name}.ply") for name in state["objects"]}
    report("objects", 0, 1)
    robot = None if job.robot is None else robot_of(job.robot)
    scene = assemble(
        Fused(surface, objects, state["kind"], tuple(state["warnings"])), rig, robot, motion, build_settings(job),
        _views_again(rig, fused / "views"),
    )  # fmt: skip
    if scene.background is None and not scene.bodies and motion is None:
        raise FlowError("nothing was built: no surface, no object and no robot")
    report("objects", 1, 1)
    metrics = {**scene.metrics, "cameras": told["statements"]}
    write_scene(out, replace(scene, metrics=metrics, warnings=(*told["warnings"], *scene.warnings)))
