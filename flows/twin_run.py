"""A twin without Prefect: clocks, segment, place, fuse, objects, scene, each from the store where nothing changed."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from flows.errors import FlowError, user_errors
from flows.files import atomic_folder, read_json, sha256_path
from flows.run import check_writable, keep_entry
from flows.store import MANIFEST, Product, keep, prune
from flows.twin_job import TwinJob, make_twin_job
from flows.twin_scene import EDITS, scene_key, scene_stage
from flows.twin_segment import camera_key, segment_camera
from flows.twin_stages import (
    clocks_key,
    clocks_stage,
    fuse_key,
    fuse_stage,
    objects_key,
    objects_stage,
    place_key,
    place_stage,
)  # fmt: skip
from twin.errors import TwinError
from twin.rig import RigCamera

SCENE_FILES = (
    "background.ply", "background.obj", "background.mtl", "background.png", "objects", "robot", "robot.parquet",
    "scene.glb", "scene.urdf", "scene.xml", "scene.usda", "scene.rrd", "report.html", EDITS, "scene.json",
)  # fmt: skip


class TwinRunner(Protocol):
    """How a stage is carried out: here plainly, in `flows.twin_flow` as a task."""

    def __call__(
        self, stage: str, key: str, job: TwinJob, folders: tuple[str, ...], seconds: dict[str, float]
    ) -> Product: ...


def run_twin_stage(stage: str, key: str, job: TwinJob, folders: tuple[str, ...], seconds: dict[str, float]) -> Product:
    """Carry out one stage, or take its product from the store.

    Args:
        stage: clocks, segment, place, fuse, objects or scene. key: hash of all its result depends on.
        folders: of the stages before; "" where there is none. For place those of masks; for fuse placing, then masks.
        seconds: of the stages before it, for the report.
    """
    place = Path(folders[0]) if folders and folders[0] else None
    work: dict[str, Callable[[Path], None]] = {
        "clocks": lambda out: clocks_stage(job, out),
        "segment": lambda out: segment_camera(job, out),
        "place": lambda out: place_stage(job, folders, out),
        "fuse": lambda out: fuse_stage(job, place, folders[1:], out),
        "objects": lambda out: objects_stage(job, place, Path(folders[1]), out),
        "scene": lambda out: scene_stage(job, place, Path(folders[1]), Path(folders[2]), out, seconds),
    }
    return keep(f"twin-{stage}", key, work[stage])


def run_twin(job: TwinJob, out: str | Path, runner: TwinRunner = run_twin_stage) -> Path:
    """Run the stages and put the scene folder at `out`; returns `out`.

    A camera that cannot be read is left out with a statement; the rest is built. Bodies are named and made of what
    an objects.json that is there already says.

    Raises:
        FlowError: `out` cannot be used. TwinError: no camera can be used, and whatever the stages raise.
    """
    out = check_scene_out(out)
    if (out / EDITS).is_file():
        job = replace(job, edits=str(out / EDITS))
    seconds: dict[str, float] = {}

    def run(stage: str, key: str, job: TwinJob, *folders: str) -> Product:
        product = runner(stage, key, job, folders, dict(seconds))
        seconds[stage] = seconds.get(stage, 0.0) + product.seconds
        return product

    job, masks = _masks(job, run)
    rig = job.open_rig()
    folders, digests = [folder for folder, _ in masks], [digest for _, digest in masks]
    placed = None if job.robot is None else run("place", place_key(job, rig, digests), job, *folders)
    where, digest = ("", None) if placed is None else (str(placed.folder), placed.digest)
    fused = run("fuse", fuse_key(job, rig, digests, digest), job, where, *folders)
    objects = run("objects", objects_key(job, digest, fused), job, where, str(fused.folder))
    key = scene_key(job, digest, fused, objects)
    scene = run("scene", key, job, where, str(fused.folder), str(objects.folder))
    publish_scene(scene.folder, out)
    prune()
    return out


def _masks(job: TwinJob, run: Callable[..., Product]) -> tuple[TwinJob, list[tuple[str, str]]]:
    """The job without cameras that cannot be read; folder and digest of the others' masks."""
    found: list[tuple[str, str]] = []
    lost: dict[str, str] = {}
    for camera in job.open_rig().cameras:
        try:
            _readable(camera)
        except user_errors() as error:
            lost[camera.name] = _one_line(error)
    job = replace(job, lost=tuple(lost.items()))
    cameras = job.open_rig().cameras
    if cameras and job.sparse and not all(_own_masks(job, camera) for camera in cameras):
        clocks = run("clocks", clocks_key(job.open_rig()), job)
        job = replace(job, clocks=tuple(read_json(clocks.folder / "clocks.json").items()))
    for camera in cameras:
        try:
            found.append(("", "") if job.robot is None else _camera_masks(job, camera, run))
        except user_errors() as error:
            lost[camera.name] = _one_line(error)
    if not found:
        raise TwinError("no camera of the rig can be used: " + "; ".join(f"{k}: {v}" for k, v in lost.items()))
    return replace(job, lost=tuple(lost.items())), found


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _own_masks(job: TwinJob, camera: RigCamera) -> Path | None:
    """The folder of masks of the robot in a camera that were given."""
    home = None if job.masks is None else Path(job.masks) / camera.name
    return home if home and any((home / part).is_dir() for part in ("robot", "arm", "gripper")) else None


def _readable(camera: RigCamera) -> None:
    """Raises VideoError where the pictures cannot be read, TwinError where depth or lens are not of their size."""
    reader = camera.open()
    size = reader.width, reader.height
    if camera.camera is not None and (camera.camera.width, camera.camera.height) != size:
        raise TwinError(
            f"its camera is for {camera.camera.width}x{camera.camera.height} pixels, its pictures have "
            f"{size[0]}x{size[1]}; K scales with the picture"
        )
    if not len(camera.times):
        raise TwinError("it has no pictures")
    if camera.depth is not None and camera.depth.read(0).shape != size[::-1]:
        height, width = camera.depth.read(0).shape
        raise TwinError(f"its depth has {width}x{height} pixels, its pictures {size[0]}x{size[1]}")


def _camera_masks(job: TwinJob, camera: RigCamera, run: Callable[..., Product]) -> tuple[str, str]:
    from segmentation import MaskFolder

    home = _own_masks(job, camera)
    if home is not None:
        reader = camera.open()
        masks = MaskFolder(home)
        masks.check(reader.width, reader.height, None)
        if -(-len(masks) // job.every) != len(camera.times):
            raise TwinError(
                f"{home}: {len(masks)} masks, the camera has {len(camera.times) * job.every} pictures or so"
            )
        return str(home), sha256_path(home)
    product = run("segment", camera_key(job, camera), replace(job, view=camera.name))
    return str(product.folder / "masks"), product.digest


def check_scene_out(out: str | Path) -> Path:
    """The absolute output folder, once it is clear that writing a scene there harms nothing.

    Raises:
        FlowError: it is a file, holds other files than a scene, or its parent cannot be written to.
    """
    out = Path(out).absolute()
    if out.exists():
        if not out.is_dir():
            raise FlowError(f"{out}: is a file; give a folder for the scene")
        if not (out / "scene.json").exists() and any(entry.name != EDITS for entry in out.iterdir()):
            raise FlowError(f"{out}: holds other files and no scene; give a new or an empty folder")
    check_writable(out)
    return out


def publish_scene(folder: Path, out: Path) -> None:
    """Put the scene folder at `out` in one step; other files of an older one stay."""
    try:
        with atomic_folder(out) as temporary:
            shutil.copytree(folder, temporary, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))
            for entry in out.iterdir() if out.is_dir() else ():
                if entry.name not in SCENE_FILES and not (temporary / entry.name).exists():
                    keep_entry(entry, temporary / entry.name)
    except OSError as error:
        if error.errno == errno.EXDEV or error.errno == errno.EBUSY:
            raise FlowError(f"{out}: cannot be replaced (is it a mount point?); give a folder below it") from None
        raise


def build_twin(rig: str | Path, robot: str | Path | None, out: str | Path, **options: Any) -> Path:
    """From a rig to a scene folder, which is returned; options as in `flows.twin_job.TwinJob`."""
    check_scene_out(out)
    return run_twin(make_twin_job(rig, robot, **options), out)
