"""More episodes out of one: its robot before other backdrops, or another robot in its place, with the same actions.

As RoVi-Aug (Chen et al., CoRL 2024, arXiv 2409.03403) and RoboEngine (Yuan et al., arXiv 2503.18738) do, but with the
fitted robot instead of learned generators: camera, joints and light are known.

    OUT/000/  episode.json, trajectory.parquet, masks/, cam.json, video.mp4
    OUT/001/  ...

Variant k depends on the episode, the settings, the seed and k alone. A finished variant is left as it is, so a stopped
run goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flows.augmentation.episode import retargeted
from flows.augmentation.paint import CutOut, Masks, Painter, Redraw
from flows.augmentation.retarget import Motion, retarget
from flows.augmentation.scene import list_pictures, make_backdrop
from flows.augmentation.source import VIDEO, Source, Survey, open_episode, survey
from flows.episode import load_episode, write_episode
from flows.errors import FlowError, UsageError
from flows.files import atomic_folder, sha256_file, sha256_json, sha256_path, write_json
from flows.job import robot_of, video_hash
from flows.overlay import VideoWriter
from flows.progress import report
from flows.run import check_writable
from flows.stages import robot_hash, versions
from flows.store import code_version
from segmentation.masks import write_mask
from urdf import Robot

MODULES = ("", "_episode", "_light", "_matte", "_paint", "_plate", "_retarget", "_scene", "_source", "_tool")
CODE = code_version("pose/shading.py", "pose/shading_kernel.py", *(f"flows/augment{name}.py" for name in MODULES))
CRF = 17  # of the video: hardly any loss on top of the source's


@dataclass(frozen=True)
class Augmentation:
    """What was asked for; see `make_augmentation`."""

    source: Source
    photos: tuple[Path, ...]
    textures: tuple[Path, ...]
    robot: str | None
    base: tuple[float, float, float] | None
    cut: str
    seed: int

    def key(self, index: int) -> str:
        """Hash of all that variant `index` depends on."""
        return sha256_json([self._inputs, index])

    @cached_property
    def _inputs(self) -> dict[str, Any]:
        source = self.source
        return {
            "code": CODE,
            "episode": source.sha256,
            "video": video_hash(str(source.video)),
            "masks": sha256_path(source.masks.path),
            "keep": None if source.keep is None else sha256_path(source.keep.path),
            "photos": [sha256_file(p) for p in self.photos],
            "textures": [sha256_file(p) for p in self.textures],
            "robot": None if self.robot is None else robot_hash(robot_of(self.robot)),
            "settings": [self.base, self.cut, self.seed],
        }

    @cached_property
    def look(self) -> Survey:
        """What one look through the video tells; shared by the variants."""
        return survey(self.source, light=self.robot is not None or bool(self.textures))

    @cached_property
    def motion(self) -> tuple[Robot, Motion]:
        """The other robot and its joints; shared by the variants.

        Raises:
            FlowError: it reaches no frame.
        """
        assert self.robot is not None
        new, source = robot_of(self.robot), self.source
        report("inverse kinematics", 0, 1)
        base = None if self.base is None else np.array(self.base)
        try:
            found = retarget(source.episode, source.robot, new, base, self.seed)
        except ValueError as error:
            raise FlowError(f"--robot {self.robot}: {error}") from None
        report("inverse kinematics", 1, 1)
        if not found.reached.any():
            where = "from any place tried" if base is None else f"from {self.base}"
            raise FlowError(f"--robot {self.robot}: reaches the tool's pose in no frame {where}; give --base X,Y,Z")
        return new, found


@dataclass(frozen=True)
class Variant:
    """One episode written, or found finished. reached: share of the source's valid frames; seconds 0 = was there."""

    folder: Path
    frames: int
    reached: float
    seconds: float


def make_augmentation(
    episode: str | Path,
    *,
    backgrounds: str | Path | None = None,
    textures: str | Path | None = None,
    robot: str | None = None,
    base: Sequence[float] | None = None,
    cut: str = "masks",
    keep: str | Path | None = None,
    video: str | Path | None = None,
    seed: int = 0,
) -> Augmentation:
    """Check all inputs.

    Args:
        episode: an episode folder.
        backgrounds, textures: folders of pictures to put behind the robot, and to lay on the table and walls.
        robot: name or path of another robot to draw in the old one's place.
        base: where its base stands in the old one's frame, metres; None = there, or where more can be reached from.
        cut: the robot is cut out along the "masks" or along the "fit"ted robot.
        keep: masks of things that stay, such as a held object. video: where the episode's video is now.

    Raises:
        UsageError: nothing to do, or settings that contradict each other.
        FlowError, RobotError, MaskError, VideoError: an input that cannot be used.
    """
    if backgrounds is None and textures is None and robot is None:
        raise UsageError("nothing to change: give --backgrounds, --texture or --robot")
    if base is not None and robot is None:
        raise UsageError("--base needs --robot: the old robot stays where it is")
    if cut not in ("masks", "fit"):
        raise UsageError(f"--cut {cut}: expected masks or fit")
    if robot is not None:
        robot_of(robot)
    return Augmentation(
        open_episode(episode, video, keep),
        tuple(list_pictures(backgrounds, "--backgrounds")) if backgrounds is not None else (),
        tuple(list_pictures(textures, "--texture")) if textures is not None else (),
        robot,
        None if base is None else (float(base[0]), float(base[1]), float(base[2])),
        cut,
        seed,
    )


def augment_episode(job: Augmentation, out: str | Path, count: int = 1) -> list[Variant]:
    """Write `count` episodes into `out`; those that an earlier run finished are left.

    Raises:
        UsageError: several episodes that would be alike.
        FlowError: `out` holds something else, or variants of another episode or other settings.
    """
    if count > 1 and not job.photos and not job.textures:
        raise UsageError(f"--count {count}: without --backgrounds or --texture all episodes would be alike")
    out = Path(out).absolute()
    if out.exists() and not out.is_dir():
        raise FlowError(f"{out}: is a file; give a folder")
    check_writable(out)
    names = [f"{index:03d}" for index in range(count)]
    done = [_finished(out / name, job.key(index)) for index, name in enumerate(names)]
    variants = []
    for index, name in enumerate(names):
        start = time.perf_counter()
        reached = done[index]
        if reached is None:
            reached = _write_variant(job, index, out / name)
            variants.append(Variant(out / name, len(job.source.episode), reached, time.perf_counter() - start))
        else:
            variants.append(Variant(out / name, len(job.source.episode), reached, 0.0))
    return variants


def _finished(folder: Path, key: str) -> float | None:
    """The share of reached frames of a variant that is there already; None where there is none.

    Raises:
        FlowError: the folder holds something else.
    """
    if not folder.exists():
        return None
    made = load_episode(folder).settings.get("augmentation")
    if not isinstance(made, dict) or made.get("key") != key:
        raise FlowError(f"{folder}: holds an episode made of other inputs or by other code; give another --out")
    return float(made["reached"])


def _write_variant(job: Augmentation, index: int, folder: Path) -> float:
    source, look = job.source, job.look
    old = source.episode
    rng = np.random.default_rng((job.seed, index))
    backdrop = None
    if job.photos or job.textures:
        backdrop = make_backdrop(rng, job.photos, job.textures, old.camera, look.lighting, look.backdrop)
    painter: Painter
    if job.robot is None:
        assert backdrop is not None
        episode, reached = old, 1.0
        painter = CutOut(source, look, backdrop, job.cut)
    else:
        new, motion = job.motion
        episode = retargeted(old, source.robot, new, job.robot, motion)
        reached = float(motion.reached.sum() / max(int(old.valid.sum()), 1))
        painter = Redraw(source, look, backdrop, new, motion, episode.camera, (job.seed, index))
    iou = np.full(len(old), np.nan)
    with atomic_folder(folder) as temporary:
        with VideoWriter(temporary / VIDEO, source.fps, crf=CRF) as writer:
            for t, image in enumerate(source.frames()):
                picture, masks, iou[t] = painter.paint(t, image)
                picture, masks = even(picture, masks)
                writer.write(picture)
                for part, mask in masks.items():
                    write_mask(temporary / "masks", part, t, mask)
                report(f"augment {index:03d}", t + 1, len(old))
        camera = replace(episode.camera, width=picture.shape[1], height=picture.shape[0])
        write_json(temporary / "cam.json", camera.to_dict())
        made: dict[str, Any] = {
            "key": job.key(index), "variant": index, "seed": job.seed, "of": str(source.folder.absolute()),
            "of_sha256": source.sha256, "backdrop": list(backdrop.names) if backdrop else [], "robot": job.robot,
            "base_m": list(job.motion[1].base) if job.robot else None, "cut": job.cut, "reached": reached,
            "light_misfit_levels": look.lighting.misfit,
        }  # fmt: skip
        write_episode(
            replace(
                episode,
                camera=camera,
                iou=np.where(episode.valid, iou, np.nan),
                source={
                    "path": str(folder / VIDEO), "sha256": sha256_file(temporary / VIDEO), "frames": len(old),
                    "fps": source.fps, "width": camera.width, "height": camera.height,
                },
                settings={"robot": episode.robot, "fps": None, "augmentation": made},
                versions=versions(),
                seconds={},
            ),
            temporary,
        )  # fmt: skip
    return reached


def even(picture: np.ndarray, masks: Masks) -> tuple[np.ndarray, Masks]:
    """Picture and masks with even sides, as the video's codec wants them: the last row or column is repeated."""
    bottom, right = picture.shape[0] % 2, picture.shape[1] % 2
    if not bottom and not right:
        return picture, masks

    def grown(image: np.ndarray) -> np.ndarray:
        return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE)

    return grown(picture), {part: grown(mask.astype(np.uint8)) > 0 for part, mask in masks.items()}
