"""Extracted actions of many episodes as one CSV or Parquet file, a row a frame, written as they come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from flows.actions import pose_vectors
from flows.errors import FlowError, user_errors
from flows.exporting.clips import Prepared, find_episodes, prepare
from flows.exporting.features import DELTA, POSE, state_joints
from flows.exporting.settings import DROPPED, FAILED, KEPT, ExportSettings, Outcome
from flows.files import atomic_path
from flows.progress import report


def export_table(paths: Sequence[Path], out: Path, settings: ExportSettings) -> list[Outcome]:
    """Write episodes into one file whose name ends in .csv or .parquet; returns what became of each, in order.

    Columns: episode, segment, time_s, frame, valid, task, q_<joint>, ee_x .. ee_qw, gripper (fraction), gripper_open,
    sigma_<joint>, sigma_ee_position (m), sigma_ee_rotation (rad), and the action: action_dx .. action_gripper, or
    action_<joint> .. action_gripper.

    Raises:
        FlowError: no episodes, or `out` cannot be written.
    """
    folders = find_episodes(paths)
    outcomes: list[Outcome] = []
    writer: Any = None
    joints: tuple[str, ...] | None = None
    with atomic_path(out) as temporary:
        try:
            for folder in folders:
                try:
                    prepared = prepare(folder, settings.extraction, settings.limits, settings.task)
                    joints = joints or (prepared.robot.joint_names if prepared.clips else None)
                    if prepared.clips and prepared.robot.joint_names != joints:
                        raise FlowError(
                            f"{folder}: another robot's joints than the episodes before; write one file each"
                        )
                except user_errors() as error:
                    outcomes.append(Outcome(folder, FAILED, str(error)))
                    continue
                quality = prepared.quality
                if not prepared.clips or not (quality.keep or settings.keep_all):
                    outcomes.append(Outcome(folder, DROPPED, "; ".join(quality.reasons), quality.score))
                    continue
                table = clip_table(prepared, settings)
                if writer is None:
                    kind = pq.ParquetWriter if out.suffix == ".parquet" else pyarrow.csv.CSVWriter
                    writer = kind(temporary, table.schema)
                writer.write_table(table)
                notes = "; ".join((*quality.reasons, *quality.notes))
                outcomes.append(Outcome(folder, KEPT, notes, quality.score, len(table)))
                report("export", len(outcomes), len(folders))
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            worst = "; ".join(f"{o.folder.name}: {o.reason}" for o in outcomes[:3])
            raise FlowError(f"{out}: not written, as no episode is left to export ({worst})")
    return outcomes


def clip_table(prepared: Prepared, settings: ExportSettings) -> pa.Table:
    """The rows of an episode's segments, see `export_table`."""
    return pa.concat_tables([_table(prepared, i, settings) for i in range(len(prepared.clips))])


def _table(prepared: Prepared, index: int, settings: ExportSettings) -> pa.Table:
    clip, names = prepared.clips[index], prepared.robot.joint_names
    count = len(clip)
    columns: dict[str, Any] = {
        "episode": [str(prepared.folder)] * count,
        "segment": np.full(count, index),
        "time_s": clip.time_s,
        "frame": clip.frame,
        "valid": clip.valid,
        "task": [prepared.task] * count,
    }
    columns |= {f"q_{name}": clip.q[:, i] for i, name in enumerate(names)}
    columns |= {f"ee_{name}": values for name, values in zip(POSE, pose_vectors(clip.poses).T)}
    columns |= {"gripper": clip.gripper, "gripper_open": clip.gripper_open}
    columns |= {f"sigma_{name}": clip.sigma[:, i] for i, name in enumerate(names)}
    columns |= {"sigma_ee_position": clip.ee_sigma[:, 0], "sigma_ee_rotation": clip.ee_sigma[:, 1]}
    if settings.space == "ee":
        actions = clip.binary_actions() if settings.binary_gripper else clip.actions
        columns |= {f"action_{name}": values for name, values in zip(DELTA, actions.T)}
    else:
        following = np.minimum(np.arange(count) + 1, count - 1)
        columns |= {f"action_{names[i]}": clip.q[following, i] for i in state_joints(prepared.robot)}
        columns["action_gripper"] = clip.gripper[following]
    return pa.table(columns)
