"""A tiny clip of a Panda with known truth, and quick stand-ins for the segmenter and the fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flow_cases import ARM_GREY, EMPTY, FPS, FRAMES, GRIPPER_GREY, Calls, Clip

from flows.actions import delta_actions, pose_vectors
from flows.cli import main
from flows.drawing import part_image
from flows.episode import Episode
from flows.files import write_json
from flows.job import robot_of
from flows.overlay import VideoWriter
from flows.sample import sample_camera, sample_motion
from pose import Trajectory
from urdf.reference import end_effector_poses


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """8 frames of 160x120; cam.json has K alone, truth.json everything."""
    from segmentation import write_mask

    folder = tmp_path_factory.mktemp("clip")
    robot, camera = robot_of("panda"), sample_camera().scaled(0.25)
    q, opening = sample_motion(FRAMES)
    ground = np.random.default_rng(0).integers(90, 150, (120, 160, 3), dtype=np.uint8)
    with VideoWriter(folder / "clip.mp4", FPS, crf=10) as writer:
        for t in range(FRAMES):
            parts = part_image(robot, q[t], camera) if t not in EMPTY else np.full((120, 160), -1)
            image = ground.copy()
            image[parts == 0], image[parts == 1] = ARM_GREY, GRIPPER_GREY
            writer.write(image)
            for part, shown in (("robot", parts >= 0), ("arm", parts == 0), ("gripper", parts == 1)):
                write_mask(folder / "masks", part, t, shown.astype(np.uint8) * 255)
    write_json(folder / "cam.json", replace(camera, T_cam_base=None).to_dict())
    write_json(
        folder / "truth.json",
        {
            "robot": "panda",
            "fps": FPS,
            "joint_names": robot.joint_names,
            "q": q,
            "gripper_opening_m": opening,
            "camera": camera.to_dict(),
        },
    )
    return Clip(folder, camera, q, opening)


@pytest.fixture
def quick_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report stage that writes its three files without drawing anything."""
    import flows.run

    def report(job: object, masks: Path, actions: Path, out: Path, seconds: object) -> None:
        for name in ("overlay.mp4", "report.html", "scene.rrd"):
            (out / name).write_text(name)

    monkeypatch.setattr(flows.run, "report_stage", report)


@pytest.fixture
def fakes(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """A segmenter by grey value and a fit that knows the truth, instead of the slow real ones."""
    import pose
    import segmentation

    calls = Calls()

    class ByGrey:
        parts = ("arm", "gripper", "robot")

        def track(
            self, frames: Iterable[np.ndarray], prompts: Sequence[object] = (), parts: Sequence[str] = ()
        ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
            calls.segment += 1
            calls.prompts = tuple(prompts)
            for index, image in enumerate(frames):
                arm, gripper = image.min(2) > 190, image.max(2) < 60
                masks = {"arm": arm, "gripper": gripper, "robot": arm | gripper}
                yield index, {part: masks[part].astype(np.float32) for part in parts or self.parts}

    def fit(robot: object, masks: object, **options: object) -> Trajectory:
        calls.fit += 1
        if calls.fail:
            raise calls.fail.pop(0)
        count, n = clip.q.shape
        return Trajectory(
            joint_names=robot_of("panda").joint_names,
            q=clip.q.copy(),
            sigma=np.full((count, n), 0.01 * (1 + int(str(options.get("seed", 0))))),
            observable=np.ones((count, n), bool),
            iou=np.full(count, 0.95),
            valid=np.ones(count, bool),
            camera=clip.camera,
            camera_sigma=np.full(6, 0.002),
            focal_sigma=1.0,
            mask_offset=0.5,
            solved=("camera", "joints", "gripper"),
        )

    monkeypatch.setattr(segmentation, "load_segmenter", lambda name="default", device=None: ByGrey())
    monkeypatch.setattr(pose, "fit_video", fit)
    return calls


@pytest.fixture
def make_episode(clip: Clip) -> Callable[..., Episode]:
    """Builds an episode of the clip in memory; keyword arguments replace its entries."""

    def build(**changes: object) -> Episode:
        robot = robot_of("panda")
        valid = ~np.isin(np.arange(FRAMES), EMPTY)
        q = np.where(valid[:, None], clip.q, np.nan)
        fraction = np.where(valid, robot.gripper.fraction(clip.q), np.nan)
        poses = end_effector_poses(robot, q)
        episode = Episode(
            robot="panda",
            joint_names=robot.joint_names,
            time_s=np.arange(FRAMES) / FPS,
            q=q,
            sigma=np.where(valid[:, None], np.full_like(q, 0.01), np.nan),
            observable=np.broadcast_to(valid[:, None], q.shape) & (np.arange(q.shape[1]) != 6),
            valid=valid,
            iou=np.where(valid, np.linspace(0.8, 0.9, FRAMES), np.nan),
            gripper_opening=np.where(valid, clip.opening, np.nan),
            gripper_open=fraction,
            gripper_sigma=np.full(FRAMES, 0.001),
            ee=pose_vectors(poses),
            actions=delta_actions(poses, fraction),
            camera=clip.camera,
            camera_sigma=np.full(6, 0.002),
            focal_sigma=2.0,
            mask_offset=0.25,
            edges=(0.5, 0.75),
            solved=("camera", "joints"),
            alternatives=({"iou": 0.87, "camera_turned_deg": 12.5, "q": [0.0] * 8, "T_cam_base": np.eye(4).tolist()},),
            warnings=("joint panda_joint7 is not determined by this view",),
            source={"path": str(clip.video), "sha256": "0" * 64, "fps": FPS, "width": 160, "height": 120},
            settings={"weights": "default"},
            versions={"urdfit": "0"},
            seconds={"fit": 1.5},
        )
        return replace(episode, **changes)  # type: ignore[arg-type]

    return build


@pytest.fixture
def clip_images(clip: Clip) -> list[np.ndarray]:
    """The clip's frames, RGB."""
    from segmentation import open_video

    return [frame.image for frame in open_video(clip.video)]


@pytest.fixture
def urdfit(capsys):
    """Runs the command line; returns exit code, stdout, stderr."""

    def run(*arguments):
        code = main([str(a) for a in arguments])
        output = capsys.readouterr()
        return code, output.out, output.err

    return run
