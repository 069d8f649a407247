"""Actions of episodes as tables for other programs: Parquet or CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from flows.episode import ACTION_COLUMNS, Episode, load_episode
from flows.errors import FlowError, UsageError
from flows.files import atomic_path

FORMATS, SPACES = ("parquet", "csv"), ("ee", "joint")


def action_table(episode: Episode, space: str) -> pa.Table:
    """A row a frame: frame_index, time_s, and the action that leads to the next frame.

    ee: action_{dx,dy,dz,droll,dpitch,dyaw,gripper} as in `flows.actions`.
    joint: action_<joint>, the next frame's joint values (absolute targets, rad or m), and action_gripper, its
    opening as a fraction. The last frame holds.
    """
    columns: dict[str, np.ndarray] = {"frame_index": np.arange(len(episode)), "time_s": episode.time_s}
    if space == "ee":
        columns |= {name: episode.actions[:, i] for i, name in enumerate(ACTION_COLUMNS)}
    else:
        following = np.minimum(np.arange(len(episode)) + 1, len(episode) - 1)
        columns |= {f"action_{n}": episode.q[following, i] for i, n in enumerate(episode.joint_names)}
        columns["action_gripper"] = episode.gripper_open[following]
    return pa.table(columns)


def write_actions(episodes: Sequence[Path], out: Path, format: str = "parquet", space: str = "ee") -> list[Path]:
    """Write one file for all episodes (an `episode` column tells them apart), or one each into a folder.

    `out` is a file when its name ends in .parquet or .csv, else a folder. Returns the files written.

    Raises:
        UsageError: unknown format or space, or a file name that contradicts the format.
        FlowError: no episode in a folder; episodes of different robots for one file.
    """
    if format not in FORMATS:
        raise UsageError(f"--format {format}: expected {' or '.join(FORMATS)}")
    if space not in SPACES:
        raise UsageError(f"--space {space}: expected {' or '.join(SPACES)}")
    if out.suffix in (".parquet", ".csv") and out.suffix != f".{format}":
        raise UsageError(f"--out {out}: the name says {out.suffix[1:]}, --format says {format}")
    tables = {Path(folder): action_table(load_episode(folder), space) for folder in episodes}
    if out.suffix not in (".parquet", ".csv"):
        names = [folder.resolve().name for folder in tables]
        if len(set(names)) < len(names):
            raise FlowError(f"{out}: two episodes have the same folder name; give one file as --out instead")
        return [_write(table, out / f"{name}.{format}", format) for name, table in zip(names, tables.values())]
    if len({tuple(t.column_names) for t in tables.values()}) > 1:
        raise FlowError(f"{out}: the episodes have different joints; give a folder as --out instead")
    labelled = [
        table.add_column(0, "episode", pa.array([str(folder)] * len(table))) for folder, table in tables.items()
    ]
    return [_write(pa.concat_tables(labelled) if len(labelled) > 1 else next(iter(tables.values())), out, format)]


def _write(table: pa.Table, path: Path, format: str) -> Path:
    with atomic_path(path) as temporary:
        if format == "csv":
            pyarrow.csv.write_csv(table, temporary)
        else:
            pyarrow.parquet.write_table(table, temporary)
    return path
