"""A fitted trajectory on disk: arrays in `fit.npz`, the rest in `fit.json`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.files import atomic_path, read_json, write_json
from pose.camera import Camera

if TYPE_CHECKING:
    from pose import Trajectory

ARRAYS = ("q", "sigma", "observable", "iou", "valid", "camera_sigma")


def save_trajectory(trajectory: Trajectory, folder: Path) -> None:
    """Write `fit.npz` and `fit.json`; the seconds are left out, as they differ from run to run."""
    with atomic_path(folder / "fit.npz") as temporary, open(temporary, "wb") as stream:
        arrays: Any = {name: np.asarray(getattr(trajectory, name)) for name in ARRAYS}
        np.savez(stream, **arrays)
    write_json(
        folder / "fit.json",
        {
            "joint_names": trajectory.joint_names,
            "camera": trajectory.camera.to_dict(),
            "focal_sigma": trajectory.focal_sigma,
            "mask_offset": trajectory.mask_offset,
            "time_offset": trajectory.time_offset,
            "time_sigma": trajectory.time_sigma,
            "edges": trajectory.edges,
            "depth_gap": trajectory.depth_gap,
            "solved": trajectory.solved,
            "warnings": trajectory.warnings,
            "alternatives": trajectory.alternatives,
        },
    )


def load_trajectory(folder: Path) -> Trajectory:
    """Read what `save_trajectory` wrote."""
    from pose import Trajectory

    data = read_json(folder / "fit.json", "fit")
    with np.load(folder / "fit.npz") as arrays:
        values = {name: arrays[name] for name in ARRAYS}
    focal_sigma = data["focal_sigma"]
    return Trajectory(
        joint_names=tuple(data["joint_names"]),
        camera=Camera.from_dict(data["camera"], f"{folder}/fit.json"),
        focal_sigma=float("nan") if focal_sigma is None else focal_sigma,
        mask_offset=data["mask_offset"],
        time_offset=data["time_offset"],
        time_sigma=float("inf") if data["time_sigma"] is None else data["time_sigma"],
        edges=None if data["edges"] is None else tuple(data["edges"]),
        depth_gap=None if data["depth_gap"] is None else tuple(data["depth_gap"]),
        solved=tuple(data["solved"]),
        warnings=tuple(data["warnings"]),
        seconds={},
        alternatives=tuple(data["alternatives"]),
        **values,
    )
