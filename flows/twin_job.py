"""What a twin is built from: checked once at the start, plain values from then on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.errors import UsageError, user_errors
from flows.files import sha256_file, sha256_json, sha256_path
from flows.job import robot_of, robot_spec, weights_spec
from flows.joint_file import load_joints
from segmentation.weights_store import DEFAULT_WEIGHTS, find
from twin.scene_files import NAME

if TYPE_CHECKING:
    from twin.rig import Rig, RigCamera
    from twin.thin import Picked

PARTS = ("robot", "arm", "gripper", "masks")
MOST_FRAMES = 300  # a camera, where nobody says otherwise
INSTANTS = 50  # at which the robot is fitted: twice as many place cameras no better, and take far longer


@dataclass(frozen=True)
class TwinJob:
    """The settings of one twin.

    Attributes:
        rig: path that `twin.load_rig` takes, absolute.
        robot: catalogue name or path; None: the rig's own poses are taken as they are.
        masks: folder of DIR/<camera>/robot/*.png, and DIR/<camera>/<object>/*.png for objects.
        weights: of the segmenter, where there are no masks.
        joints: path of a q.json: a row a frame of the first camera, or rows with times on the rig's clock.
        voxel: metres. frames: most pictures a camera that tell what stands still. density: kg/m3 of objects.
        bounds: x0, y0, z0, x1, y1, z1 in metres: what is fused; None: everything.
        every: of how many frames one is used.
        sparse: whether of these only those get masks that placing and fusing look at.
        seed: of the random searches.
        edits: path of an objects.json, see `twin.object_edits`.
        lost: cameras that cannot be used, and why. view: the camera that a stage is about.
        clocks: seconds to add to every camera's stamps, by name, where the pictures were asked.
    """

    rig: str
    robot: str | None = None
    masks: str | None = None
    weights: str = "default"
    joints: str | None = None
    voxel: float = 0.004
    frames: int = INSTANTS
    density: float = 300.0
    bounds: tuple[float, ...] | None = None
    every: int = 1
    sparse: bool = False
    seed: int = 0
    edits: str | None = None
    lost: tuple[tuple[str, str], ...] = ()
    view: str | None = None
    clocks: tuple[tuple[str, float], ...] | None = None

    def open_rig(self) -> Rig:
        """The rig without the cameras that are lost, with the frames that are used."""
        from twin.rig_files import load_rig
        from twin.thin import thin_rig

        rig = load_rig(self.rig)
        kept = tuple(c for c in rig.cameras if c.name not in dict(self.lost))
        return thin_rig(replace(rig, cameras=kept), self.every)

    def camera(self) -> RigCamera:
        """The camera that the stage is about."""
        return next(c for c in self.open_rig().cameras if c.name == self.view)

    def robot_masks(self, folder: str, camera: RigCamera) -> Any:
        """Masks of the robot in the frames of a camera that are used, from its folder; None for ""."""
        from segmentation import MaskFolder
        from twin.chosen import MasksAt
        from twin.thin import Picked

        if not folder:
            return None
        masks: Any = MaskFolder(folder)
        if self.masks is not None and Path(folder).is_relative_to(self.masks):
            return Picked(masks, self.every)
        if not self.sparse:
            return masks
        frames = [int(file.stem) for file in next(iter(masks.files.values()))]  # as `segment_camera` numbered them
        return MasksAt(masks, frames, len(camera.times))

    def chosen(self) -> list[np.ndarray] | None:
        """By camera, the frames that get masks; None: all."""
        from twin.chosen import chosen_frames
        from twin.sync import shifted

        if not self.sparse:
            return None
        rig = self.open_rig()
        clocks = dict(self.clocks or ())
        return chosen_frames(shifted(rig, [clocks.get(name, 0.0) for name in rig.names]), max(self.frames, INSTANTS))

    def settings(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return {k: v for k, v in asdict(self).items() if k not in ("lost", "view", "clocks")}

    def object_masks(self, rig: Rig) -> dict[str, dict[int, Picked]]:
        """Masks of the objects that the user has named, by name and view."""
        from twin.thin import Picked

        found: dict[str, dict[int, Picked]] = {}
        for v, camera in enumerate(rig.cameras if self.masks is not None else ()):
            home = Path(str(self.masks)) / camera.name
            for folder in sorted(home.iterdir()) if home.is_dir() else ():
                if folder.is_dir() and folder.name not in PARTS and not folder.name.startswith("."):
                    found.setdefault(folder.name, {})[v] = Picked(ObjectMasks(folder), self.every)
        return found


class ObjectMasks(Sequence):
    """Masks (H,W) bool of one object in one camera, by frame."""

    def __init__(self, folder: Path) -> None:
        from segmentation import MaskFolder

        self._masks = MaskFolder(folder)

    def __len__(self) -> int:
        return len(self._masks)

    def __getitem__(self, frame: Any) -> Any:
        return self._masks[frame]["robot"] > 0  # PNGs directly in a folder go by that name


def make_twin_job(
    rig: str | Path,
    robot: str | Path | None = None,
    *,
    masks: str | Path | None = None,
    weights: str | Path = "default",
    joints: str | Path | None = None,
    voxel: float = 0.004,
    frames: int = INSTANTS,
    density: float = 300.0,
    bounds: Sequence[float] | None = None,
    every: int | None = None,
    seed: int = 0,
) -> TwinJob:
    """Check every input and put it in a TwinJob.

    Args:
        every: of how many frames one is used; None: of so many that no camera has more than 300, and, with the built-in
            segmenter, masks of those alone that placing and fusing look at. Trackers want a video without gaps.

    Raises:
        TwinError, RobotError, MaskError, WeightsError, FlowError: what is wrong with which input.
    """
    from twin.rig_files import load_rig

    if not 0.0005 <= voxel <= 0.1:
        raise UsageError(f"--voxel {voxel:g}: expected metres from 0.0005 to 0.1")
    if not 0 < density < 30_000:
        raise UsageError(f"--density {density:g}: expected kg/m3 above 0")
    if frames < 1:
        raise UsageError(f"--frames {frames}: expected 1 or more")
    if every is not None and every < 1:
        raise UsageError(f"--every {every}: expected 1 or more")
    if bounds is not None and (len(bounds) != 6 or not (np.array(bounds[:3]) < np.array(bounds[3:])).all()):
        raise UsageError("--bounds: expected x0,y0,z0,x1,y1,z1 in metres, the first corner below the second")
    if robot is None and joints is not None:
        raise UsageError("--joints needs --robot: joint values belong to one robot")
    if str(robot) == "auto":
        raise UsageError("--robot auto: a twin needs the robot by name; `urdfit run --robot auto` finds it")
    loaded = load_rig(rig)
    if masks is not None:
        _check_masks(Path(masks), loaded.names)
    if robot is not None:
        model = robot_of(robot_spec(robot))
        if joints is not None:
            load_joints(joints, model)
    segmenter = weights_spec(weights) if robot is not None else "default"
    return TwinJob(
        rig=os.path.abspath(rig),
        robot=None if robot is None else robot_spec(robot),
        masks=None if masks is None else os.path.abspath(masks),
        weights=segmenter,
        joints=None if joints is None else os.path.abspath(joints),
        voxel=voxel,
        frames=frames,
        density=density,
        bounds=None if bounds is None else tuple(float(v) for v in bounds),
        every=_stride(loaded) if every is None else every,
        sparse=every is None and robot is not None and find(segmenter) == DEFAULT_WEIGHTS,
        seed=seed,
    )


def _stride(rig: Rig) -> int:
    from twin.thin import stride_for

    counts = []
    for camera in rig.cameras:
        with suppress(*user_errors(), OSError):  # which camera cannot be read is told later, with the others built
            counts.append(len(camera.times))
    return stride_for(counts, MOST_FRAMES)


def _check_masks(folder: Path, cameras: Sequence[str]) -> None:
    if not folder.is_dir():
        raise UsageError(f"--masks {folder}: no such folder")
    if not any((folder / name).is_dir() for name in cameras):
        raise UsageError(f"--masks {folder}: has no folder of a camera; expected {', '.join(cameras)}")
    for name in cameras:
        for entry in (folder / name).iterdir() if (folder / name).is_dir() else ():
            if entry.is_dir() and not entry.name.startswith(".") and not NAME.fullmatch(entry.name):
                raise UsageError(f"{entry}: names of objects hold letters, digits and underscores only, at most 64")


def picture_hash(camera: RigCamera) -> str:
    """Hash of a camera's pictures alone."""
    files = getattr(camera.open(), "files", None)
    return sha256_path(camera.source) if files is None else sha256_json([sha256_file(file) for file in files])


def camera_hash(camera: RigCamera) -> str:
    """Hash of all that is given of a camera: pictures, lens, pose, clock and depth."""
    depth = camera.depth
    return sha256_json(
        {
            "pictures": picture_hash(camera),
            "camera": None if camera.camera is None else camera.camera.to_dict(),
            "poses": camera.Ts_cam_base,
            "times": camera.times,
            "depth": None if depth is None else [sha256_file(f) if f.is_file() else None for f in depth.files],
            "unit": None if depth is None else [depth.scale, depth.rotated],
        }
    )
