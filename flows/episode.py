"""The episode: what one video tells about one robot, as arrays, and its two files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.errors import FlowError
from flows.files import atomic_path, read_json, write_json
from pose.camera import Camera

SCHEMA_VERSION = "1.0"
EE_COLUMNS = ("ee_x", "ee_y", "ee_z", "ee_qx", "ee_qy", "ee_qz", "ee_qw")
ACTION_COLUMNS = tuple(f"action_{name}" for name in ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper"))


@dataclass(frozen=True)
class Episode:
    """One video's trajectory of T frames and n joints; invalid frames hold NaN.

    Attributes:
        robot: catalogue name or path, as given.
        joint_names: n names, URDF order.
        time_s: (T,) seconds from the first frame.
        q, sigma: (T,n) radians (metres for sliding joints) and their standard deviation.
        observable: (T,n) whether the view determines the joint.
        valid: (T,) False where no robot was found: q, pose and actions are NaN there.
        iou: (T,) overlap of the fitted silhouette with the mask, 0..1.
        gripper_opening, gripper_open, gripper_sigma: (T,) metres between the pads, fraction with 1 = open,
            and the opening's standard deviation in metres; NaN for a robot without a gripper.
        ee: (T,7) end-effector position in metres and quaternion x y z w in the base's frame.
        actions: (T,7), see `flows.actions`.
        camera: intrinsics and T_cam_base.
        camera_sigma: (6,) of T_cam_base: rotation xyz in radians, translation xyz in metres.
        focal_sigma: standard deviation of the focal length in pixels.
        mask_offset: pixels by which the masks' outline lies outside the fitted robot's.
        time_offset: seconds by which the clock of the joints that were given is ahead of the video's; time_sigma: its
            standard deviation; both 0 unless it was solved for.
        edges: how well edges in the pictures support the fitted outline before and after the fit used them, 0..1 each;
            None where it did not look.
        depth_gap: median distance in metres of the fitted surface from the depth pictures before and after the fit used
            them; None where there were none.
        solved: what the fit solved for: camera, joints, gripper, focal, time.
        alternatives: other solutions that explain the masks nearly as well, see `pose.Trajectory`.
        identification: the ranking of the robots where the robot was to be found out, see `flows.identification`.
        source: path, sha256, width, height, fps, frames of the video.
        settings, versions, seconds: what was asked for, with what software, and how long each stage took.
    """

    robot: str
    joint_names: tuple[str, ...]
    time_s: np.ndarray
    q: np.ndarray
    sigma: np.ndarray
    observable: np.ndarray
    valid: np.ndarray
    iou: np.ndarray
    gripper_opening: np.ndarray
    gripper_open: np.ndarray
    gripper_sigma: np.ndarray
    ee: np.ndarray
    actions: np.ndarray
    camera: Camera
    camera_sigma: np.ndarray = field(default_factory=lambda: np.full(6, np.nan))
    focal_sigma: float = float("nan")
    mask_offset: float = float("nan")
    time_offset: float = 0.0
    time_sigma: float = 0.0
    edges: tuple[float, float] | None = None
    depth_gap: tuple[float, float] | None = None
    solved: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    alternatives: tuple[dict[str, Any], ...] = ()
    identification: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.time_s)

    @property
    def quality(self) -> dict[str, Any]:
        """Figures that say at a glance whether the episode can be trusted."""
        valid = np.asarray(self.valid, bool)
        iou = self.iou[valid]
        share = (
            {n: float(self.observable[valid, i].mean()) for i, n in enumerate(self.joint_names)} if valid.any() else {}
        )
        return {
            "frames": len(self),
            "valid_fraction": float(valid.mean()) if len(self) else 0.0,
            "mean_iou": float(np.nanmean(iou)) if np.isfinite(iou).any() else float("nan"),
            "lowest_iou": float(np.nanmin(iou)) if np.isfinite(iou).any() else float("nan"),
            "mask_offset_px": self.mask_offset,
            "edge_support": None if self.edges is None else {"masks": self.edges[0], "sharpened": self.edges[1]},
            "depth_gap_m": None
            if self.depth_gap is None
            else {"before": self.depth_gap[0], "after": self.depth_gap[1]},
            "observable_fraction": share,
            "median_sigma": {
                n: float(np.median(s)) if (s := _finite(self.sigma[valid, i])).size else float("nan")
                for i, n in enumerate(self.joint_names)
            },
        }


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def trajectory_table(episode: Episode) -> pa.Table:
    """The rows of `trajectory.parquet`, one a frame."""
    names = episode.joint_names
    columns: dict[str, Any] = {
        "frame_index": np.arange(len(episode), dtype=np.int64),
        "time_s": np.asarray(episode.time_s, float),
        "valid": np.asarray(episode.valid, bool),
    }
    for i, name in enumerate(names):
        columns[f"q_{name}"] = episode.q[:, i]
    for i, name in enumerate(names):
        columns[f"sigma_{name}"] = episode.sigma[:, i]
    for i, name in enumerate(names):
        columns[f"observable_{name}"] = np.asarray(episode.observable[:, i], bool)
    columns["gripper_opening_m"] = episode.gripper_opening
    columns["gripper_open"] = episode.gripper_open
    columns["sigma_gripper"] = episode.gripper_sigma
    columns |= {name: episode.ee[:, i] for i, name in enumerate(EE_COLUMNS)}
    columns |= {name: episode.actions[:, i] for i, name in enumerate(ACTION_COLUMNS)}
    columns["iou"] = episode.iou
    meta = {"urdfit_schema": SCHEMA_VERSION, "joint_names": json.dumps(list(names))}
    # from_pandas=False keeps NaN as NaN: a missing value here is "not known", and numpy readers expect NaN
    return pa.table({k: pa.array(v) for k, v in columns.items()}).replace_schema_metadata(meta)


def episode_json(episode: Episode) -> dict[str, Any]:
    """The content of `episode.json`."""
    clock = {"ahead_s": episode.time_offset, "sigma_s": episode.time_sigma}
    return {
        "schema_version": SCHEMA_VERSION,
        "robot": episode.robot,
        "joint_names": list(episode.joint_names),
        "frames": len(episode),
        "source": episode.source,
        "camera": episode.camera.to_dict(),
        "focal": episode.camera.focal,
        "camera_sigma": {
            "rotation_rad": np.asarray(episode.camera_sigma)[:3],
            "translation_m": np.asarray(episode.camera_sigma)[3:],
            "focal_px": episode.focal_sigma,
        },
        "solved": list(episode.solved),
        **({"joint_clock": clock} if "time" in episode.solved else {}),
        "quality": episode.quality,
        "warnings": list(episode.warnings),
        "alternatives": list(episode.alternatives),
        "identification": episode.identification,
        "settings": episode.settings,
        "versions": episode.versions,
        "seconds": episode.seconds,
    }


def write_episode(episode: Episode, folder: str | Path) -> Path:
    """Write `trajectory.parquet`, then `episode.json`, each atomically; returns the folder."""
    folder = Path(folder)
    with atomic_path(folder / "trajectory.parquet") as temporary:
        pq.write_table(trajectory_table(episode), temporary)
    write_json(folder / "episode.json", episode_json(episode))
    return folder


def load_episode(folder: str | Path) -> Episode:
    """Read an episode folder back.

    Raises:
        FlowError: the folder holds no episode, one of a newer schema, or one that is damaged.
    """
    folder = Path(folder)
    if not (folder / "episode.json").is_file():
        raise FlowError(f"{folder}: no episode folder (no episode.json in it); make one with `urdfit run`")
    data = read_json(folder / "episode.json", "episode")
    version = str(data.get("schema_version", "?")) if isinstance(data, dict) else "?"
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise FlowError(f"{folder}/episode.json: schema {version}, this urdfit reads {SCHEMA_VERSION}; update urdfit")
    path = folder / "trajectory.parquet"
    if not path.is_file():
        raise FlowError(f"{path}: the episode's trajectory is missing; run `urdfit run` again")
    try:
        table = pq.read_table(path)
        names = tuple(data["joint_names"])
        column = {name: table[name].to_numpy() for name in table.column_names}

        def block(prefix: str) -> np.ndarray:
            return np.stack([column[f"{prefix}_{n}"] for n in names], 1) if names else np.zeros((len(table), 0))

        return Episode(
            robot=data["robot"],
            joint_names=names,
            time_s=column["time_s"],
            q=block("q"),
            sigma=block("sigma"),
            observable=block("observable"),
            valid=column["valid"],
            iou=column["iou"],
            gripper_opening=column["gripper_opening_m"],
            gripper_open=column["gripper_open"],
            gripper_sigma=column["sigma_gripper"],
            ee=np.stack([column[n] for n in EE_COLUMNS], 1),
            actions=np.stack([column[n] for n in ACTION_COLUMNS], 1),
            camera=Camera.from_dict(data["camera"], f"{folder}/episode.json"),
            camera_sigma=_numbers(data["camera_sigma"]["rotation_rad"] + data["camera_sigma"]["translation_m"]),
            focal_sigma=float(_numbers([data["camera_sigma"]["focal_px"]])[0]),
            time_offset=data.get("joint_clock", {}).get("ahead_s", 0.0),
            time_sigma=float(_numbers([data.get("joint_clock", {}).get("sigma_s", 0.0)])[0]),
            mask_offset=float(_numbers([data["quality"].get("mask_offset_px")])[0]),
            solved=tuple(data["solved"]),
            warnings=tuple(data["warnings"]),
            alternatives=tuple(data["alternatives"]),
            identification=data.get("identification", {}),
            source=data["source"],
            settings=data["settings"],
            versions=data["versions"],
            seconds=data["seconds"],
            edges=_pair(data["quality"].get("edge_support")),
            depth_gap=_pair(data["quality"].get("depth_gap_m")),
        )
    except (KeyError, TypeError, pa.ArrowException) as error:
        raise FlowError(f"{folder}: the episode is damaged ({type(error).__name__}: {error})") from None


def _pair(told: dict[str, float] | None) -> tuple[float, float] | None:
    """Two numbers, of before and after, in the order in which they were written."""
    if told is None:
        return None
    before, after = told.values()
    return before, after


def _numbers(values: list[Any]) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in values], float)
