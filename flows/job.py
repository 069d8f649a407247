"""What a run was asked to do: checked once at the start, so that a wrong input is told before any work."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.errors import UsageError
from flows.files import sha256_path
from flows.joint_file import load_joints
from pose.camera import Camera
from pose.errors import CameraError

if TYPE_CHECKING:
    from flows.dataset_view import DatasetView
    from segmentation.video import VideoReader
    from twin.depth import DepthFolder
    from urdf import Robot

SOLVABLE = ("camera", "joints", "gripper", "focal", "time")


@dataclass(frozen=True)
class Job:
    """The settings of one run, as plain values.

    Attributes:
        video: a video file or a folder of images.
        robot: catalogue name or path to a URDF / xacro; "auto": to be found out; None for segmentation alone.
        camera: content of a cam.json, or None when nothing is known of the camera.
        weights: name or path for `load_segmenter`; not used when `masks` is given.
        prompts: (kind, text) pairs as on the command line, see `segmentation.prompts`; paths of masks absolute.
        parts: of the robot to segment; () = all that the segmenter gives.
        masks: folder of masks to use instead of the segmenter.
        joints: path of a q.json: one row a frame, or rows with times = known joints; a single row = where the first
            frame starts.
        solve: what to solve for; None = everything that is not given.
        fps: frames a second of an image folder; None = 30.
        seed: of the random searches.
        edges: whether the fit by masks is sharpened by edges in the pictures.
        depth: folder of 16-bit depth PNGs, one a frame, aligned with the pictures; depth_scale: metres a unit.
        identification: content of identify.json once "auto" is found out.
        source: where the frames come from when `video` is no file of its own but a video of a data set.
        task: what the robot is told to do, in words.
    """

    video: str
    robot: str | None = None
    camera: dict[str, Any] | None = None
    weights: str = "default"
    prompts: tuple[tuple[str, str], ...] = ()
    parts: tuple[str, ...] = ()
    masks: str | None = None
    joints: str | None = None
    solve: tuple[str, ...] | None = None
    fps: float | None = None
    seed: int = 0
    edges: bool = True
    depth: str | None = None
    depth_scale: float = 0.001
    identification: dict[str, Any] | None = None
    source: DatasetView | None = None
    task: str | None = None

    def open(self) -> VideoReader:
        """The frames; raises VideoError, and for a data set what its reader raises."""
        return self.source.open() if self.source is not None else open_source(self.video, self.fps)

    def video_hash(self) -> str:
        """SHA-256 of what the frames are read from."""
        return self.source.sha256 if self.source is not None else video_hash(self.video)

    def depth_folder(self) -> DepthFolder:
        """The depth pictures; raises TwinError where there are none."""
        from twin.depth import DepthFolder
        from twin.rig_files import depth_files

        assert self.depth is not None
        return DepthFolder(depth_files(Path(self.depth), "--depth"), self.depth_scale)

    def settings(self) -> dict[str, Any]:
        """The settings as JSON values; the camera is left out where the episode states it anyway."""
        values = asdict(self)
        if values.pop("identification") is not None:
            values["robot"] = "auto"
        values.pop("source")
        if self.task is None:
            values.pop("task")
        values["prompts"] = [f"--{kind} {text}" for kind, text in self.prompts]
        values["camera"] = None if self.camera is None else "given"
        values["T_cam_base"] = None if not self.camera or self.camera.get("T_cam_base") is None else "given"
        return values


def make_job(
    video: str | Path,
    robot: str | Path | None = None,
    *,
    camera: str | Path | Camera | dict[str, Any] | None = None,
    weights: str | Path = "default",
    prompts: Iterable[tuple[str, str]] = (),
    parts: Iterable[str] = (),
    masks: str | Path | None = None,
    joints: str | Path | None = None,
    solve: str | list[str] | tuple[str, ...] | None = None,
    fps: float | None = None,
    seed: int = 0,
    edges: bool = True,
    depth: str | Path | None = None,
    depth_scale: float = 0.001,
    source: DatasetView | None = None,
    task: str | None = None,
) -> Job:
    """Check every input of a run and put it in a Job.

    Args:
        source: where the frames come from when `video` is only what messages call it.

    Raises:
        VideoError, RobotError, CameraError, MaskError, PromptError, WeightsError, FlowError: what is wrong with which
            input.
    """
    from segmentation import MaskFolder
    from segmentation.prompts import absolute, check_prompts, parse_prompts

    reader = open_source(video, fps) if source is None else source.open()
    checked = None
    if camera is not None:
        if isinstance(camera, Camera):
            checked = camera
        else:
            checked = Camera.from_dict(camera) if isinstance(camera, dict) else Camera.load(camera)
        if (checked.width, checked.height) != (reader.width, reader.height):
            name = camera if isinstance(camera, str | Path) else "camera"
            raise CameraError(
                f"{name}: is for {checked.width}x{checked.height} pixels, but {video} has "
                f"{reader.width}x{reader.height}; give the camera of this video (K scales with the picture)"
            )
    prompts = tuple(absolute(kind, text) for kind, text in prompts)
    if prompts and masks is not None:
        raise UsageError("--masks and prompts exclude each other: masks that are given are taken as they are")
    check_prompts(parse_prompts(prompts), reader.width, reader.height, reader.frame_count)
    if masks is not None:
        folder = MaskFolder(masks, link_names(robot))
        folder.check(reader.width, reader.height, reader.frame_count)
        if robot is not None and set(folder.parts) & set(link_names(robot)) and "robot" not in folder.parts:
            _check_whole(masks, folder.parts, robot_of(robot_spec(robot)))
    job = Job(
        video=os.path.abspath(video) if source is None else str(video),
        robot=None if robot is None else robot_spec(robot),
        camera=None if checked is None else checked.to_dict(),
        weights=str(weights) if masks is not None else weights_spec(weights),
        prompts=prompts,
        parts=tuple(parts),
        masks=None if masks is None else os.path.abspath(masks),
        joints=None if joints is None else os.path.abspath(joints),
        solve=parse_solve(solve),
        fps=fps,
        seed=seed,
        edges=edges,
        depth=None if depth is None else os.path.abspath(depth),
        depth_scale=float(depth_scale),
        source=source,
        task=task,
    )
    if job.depth is not None:
        _check_depth(job, reader)
    if job.robot == "auto" and job.joints is not None:
        raise UsageError("--joints needs --robot by name: joint values belong to one robot")
    if job.robot is not None and job.robot != "auto":
        loaded = robot_of(job.robot)
        if job.joints is not None:
            load_joints(job.joints, loaded)
        elif "time" in (job.solve or ()):
            raise UsageError("--solve time needs --joints: it is their clock that is looked for")
    return job


def _check_whole(masks: str | Path, parts: tuple[str, ...], robot: Robot) -> None:
    """Raises UsageError where masks of links leave out a part of the robot."""
    drawn = {int(k) for k in robot.mesh.face_link}
    missing = [n for k, n in enumerate(robot.link_names) if k in drawn and not {n, robot.link_parts[k]} & set(parts)]
    if missing:
        raise UsageError(
            f"--masks {masks}: masks of links without one of {missing[0]}; give it, or masks of the whole in robot/"
        )


def _check_depth(job: Job, reader: VideoReader) -> None:
    """Raises UsageError where depth has another size or number of frames than the video."""
    if not 0 < job.depth_scale < 1000:
        raise UsageError(f"--depth-scale {job.depth_scale:g}: expected metres a unit, for example 0.001")
    folder = job.depth_folder()
    height, width = folder.read(0).shape
    if (width, height) != (reader.width, reader.height):
        raise UsageError(
            f"--depth {job.depth}: {width}x{height} pixels for a video of {reader.width}x{reader.height}; align depth "
            "with the colour camera"
        )
    if reader.frame_count is not None and len(folder) != reader.frame_count:
        raise UsageError(
            f"--depth {job.depth}: {len(folder)} pictures for a video of {reader.frame_count} frames; give one a frame"
        )


def open_source(video: str | Path, fps: float | None = None) -> Any:
    """`segmentation.open_video` with the frame rate only where it is wanted."""
    from segmentation import open_video

    return open_video(video) if fps is None else open_video(video, fps=fps)


def robot_spec(robot: str | Path) -> str:
    """Paths absolute, catalogue names and "auto" as they are."""
    text = str(robot)
    return os.path.abspath(text) if text != "auto" and os.path.exists(text) else text


def weights_spec(weights: str | Path) -> str:
    """Names as they are, paths absolute; raises WeightsError where there is no such file."""
    from segmentation import weights_store

    names = {*weights_store.BUILT_IN, *weights_store.ALIASES, *(entry.name for entry in weights_store.entries())}
    file = weights_store.find(weights)
    return str(weights) if str(weights) in names else os.path.abspath(file)


def link_names(robot: str | Path | None) -> tuple[str, ...]:
    """The links that masks may be given of; none of a robot that is not known yet."""
    return () if robot is None or str(robot) == "auto" else tuple(robot_of(robot_spec(robot)).link_names)


@lru_cache(maxsize=4)
def robot_of(spec: str) -> Robot:
    """`load_robot`, remembered: every stage of a run asks for the same robot."""
    from urdf import load_robot

    return load_robot(spec)


def parse_solve(solve: str | list[str] | tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The names to solve for, checked, in their usual order; None when nothing was said.

    Raises:
        UsageError: a name that is none of SOLVABLE.
    """
    if solve is None:
        return None
    names = [n.strip() for n in (solve.split(",") if isinstance(solve, str) else solve)]
    wrong = [n for n in names if n not in SOLVABLE]
    if wrong or not names:
        raise UsageError(f"--solve {','.join(names)}: expected some of {','.join(SOLVABLE)}, separated by commas")
    return tuple(n for n in SOLVABLE if n in names)


def video_hash(video: str) -> str:
    """SHA-256 of the video file, or of all files in the image folder."""
    path = Path(video)
    stat = path.stat()
    return _video_hash(video, stat.st_mtime_ns, stat.st_size) if path.is_file() else sha256_path(path)


@lru_cache(maxsize=16)
def _video_hash(video: str, mtime_ns: int, size: int) -> str:
    return sha256_path(video)
