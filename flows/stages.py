"""The stages of a run after `flows.segmenting` as plain functions: each reads files and fills a folder.

    fit       masks, robot             -> fit.npz, fit.json
    actions   fit, robot               -> trajectory.parquet, episode.json
    report    everything before        -> overlay.mp4, report.html, scene.rrd

`*_key` is the hash of all that a stage's result depends on: contents, settings that concern it, and its code.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.actions import delta_actions, pose_vectors
from flows.dataset_view import as_source
from flows.episode import Episode, load_episode, write_episode
from flows.errors import FlowError
from flows.files import read_json, sha256_json, sha256_path
from flows.fit_files import load_trajectory, save_trajectory
from flows.job import Job, robot_of
from flows.joint_file import load_joints
from flows.progress import report
from flows.segmenting import MIN_ROBOT_SHARE
from flows.store import Product, code_version, version
from pose.camera import Camera

if TYPE_CHECKING:
    from urdf import Robot

# Which sources a stage's result depends on; hashed when they are loaded, not after an edit during a long run.
CODE = {
    "fit": code_version("urdf", "pose", "twin/depth.py", "flows/stages.py", "flows/fit_files.py"),
    "actions": code_version("urdf", "flows/stages.py", "flows/actions.py", "flows/episode.py"),
    "report": code_version("flows"),
}


def fit_key(job: Job, masks: Product, robot: Robot) -> str:
    """Masks, robot, camera, joints and what to solve for."""
    return sha256_json(
        {
            "code": CODE["fit"],
            "masks": masks.digest,
            "robot": robot_hash(robot),
            "camera": job.camera,
            "joints": None if job.joints is None else sha256_path(job.joints),
            "solve": job.solve,
            "seed": job.seed,
            "edges": job.video_hash() if job.edges else None,
            "depth": None if job.depth is None else [sha256_path(job.depth), job.depth_scale],
        }
    )


def robot_hash(robot: Robot) -> str:
    """SHA-256 of a robot's kinematics, limits and render mesh."""
    digest = hashlib.sha256(robot.urdf_xml.encode())
    for array in (
        robot.mesh.vertices,
        robot.mesh.faces,
        robot.mesh.vertex_link,
        robot.rest,
        robot.lower,
        robot.upper,
    ):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(repr((robot.joint_names, robot.ee_link, robot.gripper, robot.link_parts)).encode())
    return digest.hexdigest()


def fit_stage(job: Job, masks: Path, out: Path) -> None:
    """Fit camera and joints to the masks; frames without a robot come out as NaN.

    Raises:
        FitError, CameraError, RobotError, FlowError: an input that cannot be used.
    """
    from pose import align_depth, fit_video, sharpen_video
    from segmentation import MaskFolder, VideoError

    assert job.robot is not None
    robot = robot_of(job.robot)
    frames = read_json(masks / "frames.json")
    count = len(frames["time_s"])
    options: dict[str, Any] = {}
    shapes: Any = MaskFolder(masks / "masks", robot.link_names)  # read one at a time
    if job.joints is not None:
        given = load_joints(job.joints, robot, count)
        if given.times is not None or len(given.q) == count:
            options |= {"q": given.q, "q_times": given.times}
        else:
            options["q0"] = np.where(np.isnan(given.q[0]), robot.rest, given.q[0])
    trajectory = fit_video(
        robot,
        shapes,
        camera=None if job.camera is None else Camera.from_dict(job.camera),
        solve=job.solve,
        times=np.array(frames["time_s"], float),
        seed=job.seed,
        progress=lambda stage, done, total: report(f"fit: {stage}", done, total),
        **options,
    )
    if job.edges:
        try:
            trajectory = sharpen_video(
                robot, trajectory, shapes, lambda: (frame.image for frame in job.open()),
                np.array(frames["time_s"], float),
                progress=lambda stage, done, total: report(f"fit: {stage}", done, total),
            )  # fmt: skip
        except VideoError as error:  # masks may be given for a video that can no longer be read to its end
            line = f"not sharpened by the pictures' edges: {error}"
            trajectory = replace(trajectory, warnings=(*trajectory.warnings, line))
    if job.depth is not None:
        folder = job.depth_folder()
        trajectory = align_depth(
            robot, trajectory, shapes, lambda: (folder.read(t) for t in range(count)),
            np.array(frames["time_s"], float),
            pictures=(lambda: (frame.image for frame in job.open())) if job.edges else None,
            progress=lambda stage, done, total: report(f"fit: {stage}", done, total),
        )  # fmt: skip
    seen = np.array(frames["robot_share"]) >= MIN_ROBOT_SHARE
    valid = np.asarray(trajectory.valid, bool) & seen
    if not valid.any():
        best = float(np.nanmax(trajectory.iou)) if np.isfinite(trajectory.iou).any() else 0.0
        raise FlowError(
            f"{job.video}: no robot found: no pose of {robot.name} explains the masks of any frame "
            f"(best overlap {best:.2f}); check the robot, the camera file and the masks"
        )
    missing = int((~seen).sum())
    warnings = list(trajectory.warnings)
    if missing and not any("no robot" in w for w in warnings):
        first = int(np.flatnonzero(~seen)[0])
        warnings.append(f"no robot found in {missing} of {count} frames (first: frame {first}); their joints are NaN")
    blank = ~valid[:, None]
    trajectory = replace(
        trajectory,
        q=np.where(blank, np.nan, trajectory.q),
        sigma=np.where(blank, np.nan, trajectory.sigma),
        observable=np.where(blank, False, trajectory.observable),
        iou=np.where(valid, trajectory.iou, np.nan),
        valid=valid,
        warnings=tuple(warnings),
    )
    save_trajectory(trajectory, out)


def actions_key(job: Job, masks: Product, fit: Product, robot: Robot) -> str:
    """Fit, robot, frame times, and the settings the episode states."""
    return sha256_json(
        {
            "code": CODE["actions"],
            "masks": masks.digest,
            "fit": fit.digest,
            "robot": robot_hash(robot),
            "settings": job.settings(),
            "source": None if job.source is None else as_source(job.source),
            "identification": job.identification,
        }
    )


def actions_stage(job: Job, masks: Path, fit: Path, out: Path) -> None:
    """End-effector poses, gripper and actions from the fitted joints: the episode's table."""
    from urdf.reference import end_effector_poses

    assert job.robot is not None
    robot = robot_of(job.robot)
    trajectory = load_trajectory(fit)
    frames = read_json(masks / "frames.json")
    q = trajectory.q
    count = len(q)
    report("actions", 0, count)
    known = np.flatnonzero(np.isfinite(q).all(1))
    poses = end_effector_poses(robot, q)
    opening, fraction, sigma = (np.full(count, np.nan) for _ in range(3))
    if robot.gripper is not None:
        opening[known] = robot.gripper.opening(q[known])
        fraction[known] = robot.gripper.fraction(q[known])
        sigma = np.abs(robot.gripper.slope(q)) * trajectory.sigma[:, robot.gripper.joint]
    episode = Episode(
        robot=job.robot,
        joint_names=trajectory.joint_names,
        time_s=np.array(frames["time_s"], float),
        q=q,
        sigma=trajectory.sigma,
        observable=trajectory.observable,
        valid=trajectory.valid,
        iou=trajectory.iou,
        gripper_opening=opening,
        gripper_open=fraction,
        gripper_sigma=sigma,
        ee=pose_vectors(poses),
        actions=delta_actions(poses, fraction),
        camera=trajectory.camera,
        camera_sigma=trajectory.camera_sigma,
        focal_sigma=trajectory.focal_sigma,
        mask_offset=trajectory.mask_offset,
        time_offset=trajectory.time_offset,
        time_sigma=trajectory.time_sigma,
        edges=trajectory.edges,
        depth_gap=trajectory.depth_gap,
        solved=trajectory.solved,
        warnings=(*(job.identification or {}).get("warnings", ()), *trajectory.warnings),
        alternatives=trajectory.alternatives,
        identification=job.identification or {},
        source={
            "path": job.video,
            "sha256": job.video_hash(),
            **({} if job.source is None else as_source(job.source)),
            "frames": count,
            **{name: frames[name] for name in ("fps", "width", "height")},
        },
        settings=job.settings(),
        versions=versions(),
    )
    write_episode(episode, out)
    report("actions", count, count)


def versions() -> dict[str, str]:
    """What the numbers were made with."""
    names = ("urdfit", "torch", "numpy", "pin", "opencv-python-headless", "av")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def report_key(job: Job, masks: Product, episode: Product) -> str:
    """Everything before, and the code that draws."""
    return sha256_json({"code": CODE["report"], "masks": masks.digest, "episode": episode.digest})


def report_stage(job: Job, masks: Path, actions: Path, out: Path, seconds: dict[str, float]) -> None:
    """Overlay video, HTML report and Rerun recording."""
    from flows.overlay import write_overlay
    from flows.recording import write_recording
    from flows.report import pick_frames, write_report
    from segmentation import MaskFolder

    assert job.robot is not None
    robot = robot_of(job.robot)
    episode = replace(load_episode(actions), seconds=seconds)
    folder: Any = MaskFolder(masks / "masks")

    def images() -> Iterator[np.ndarray]:
        for frame in job.open():
            yield frame.image

    kept = write_overlay(
        out / "overlay.mp4",
        episode,
        robot,
        images(),
        folder,
        keep=pick_frames(episode),
        progress=lambda done: report("report: overlay", done, len(episode)),
    )
    write_recording(
        out / "scene.rrd",
        episode,
        robot,
        images(),
        folder,
        progress=lambda done: report("report: rerun", done, len(episode)),
    )
    write_report(out / "report.html", episode, robot, kept)


def copy_products(folders: list[Path], out: Path) -> None:
    """Copy what users want of stage folders into an episode folder; `episode.json` last, as the seal."""
    names = ("masks", "trajectory.parquet", "overlay.mp4", "report.html", "scene.rrd", "episode.json")
    for name in names:
        for folder in folders:
            if (folder / name).is_dir():
                shutil.copytree(folder / name, out / name)
            elif (folder / name).is_file():
                shutil.copyfile(folder / name, out / name)
