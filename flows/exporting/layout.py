"""Small parts of a LeRobotDataset v3.0: description, schema, tasks, file numbers; see `flows.exporting.lerobot`."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.errors import FlowError
from flows.files import read_json

VERSION = "v3.0"
CHUNK = 1000  # files a folder
DATA_MB, VIDEO_MB = 100, 200
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
REWRITTEN = {"meta/info.json", "meta/stats.json", "meta/tasks.parquet"}
TYPES = {"float32": pa.float32(), "int64": pa.int64(), "bool": pa.bool_()}


def read_info(folder: Path) -> dict[str, Any] | None:
    """`meta/info.json` of a data set to append to; None where there is none yet.

    Raises:
        FlowError: it is not a LeRobot data set of this version.
    """
    path = folder / "meta" / "info.json"
    if not path.exists():
        return None
    info = read_json(path, "data set")
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if version != VERSION:
        raise FlowError(f"{path}: codebase_version {version!r}; only {VERSION} can be appended to (lerobot converts)")
    missing = [k for k in ("features", "fps", "total_episodes", "total_frames") if k not in info]
    if missing:
        raise FlowError(f"{path}: no entry {', '.join(missing)}; the data set is damaged")
    return info


def check_features(folder: Path, info: dict[str, Any], wanted: dict[str, dict[str, Any]]) -> None:
    """Does a data set have exactly these features?

    Raises:
        FlowError: one is missing, one too many, or of another shape, type or other names.
    """
    have = info["features"]
    for name in (*wanted, *have):
        if name not in have or name not in wanted:
            where = "the data set lacks" if name not in have else "this export lacks"
            raise FlowError(f"{folder}: {where} the feature {name}; append with the settings it was made with")
        for key in ("dtype", "shape", "names"):
            a, b = (
                list(f[key]) if isinstance(f.get(key), list | tuple) else f.get(key) for f in (have[name], wanted[name])
            )
            if a != b:
                raise FlowError(f"{folder}: {name} has the {key} {a} there and {b} here; data sets hold one kind")


def new_info(robot: str, fps: int, features: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """`meta/info.json` of a data set without episodes."""
    has_video = any(f["dtype"] == "video" for f in features.values())
    return {
        "codebase_version": VERSION,
        "robot_type": robot,
        "fps": fps,
        "total_episodes": 0,
        "total_frames": 0,
        "total_tasks": 0,
        "chunks_size": CHUNK,
        "data_files_size_in_mb": DATA_MB,
        "video_files_size_in_mb": VIDEO_MB,
        "splits": {"train": "0:0"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if has_video else None,
        "features": features,
    }


def next_file(out: Path) -> tuple[int, int]:
    """Chunk and file number after the last ones used anywhere in a data set."""
    used = [
        (int(p.parent.name[6:]), int(p.stem[5:]))
        for pattern in (
            "data/chunk-*/file-*.parquet",
            "meta/episodes/chunk-*/file-*.parquet",
            "videos/*/chunk-*/file-*.mp4",
        )
        for p in out.glob(pattern)
        if p.parent.name[6:].isdigit() and p.stem[5:].isdigit()
    ]
    if not used:
        return 0, 0
    chunk, file = max(used)
    return (chunk, file + 1) if file + 1 < CHUNK else (chunk + 1, 0)


def data_schema(features: dict[str, dict[str, Any]]) -> pa.Schema:
    """Of a data file: vectors as lists of a fixed length, and what Hugging Face's `datasets` reads the types from."""
    fields, hf = [], {}
    for name, feature in features.items():
        if feature["dtype"] == "video":
            continue
        kind, (length, *_) = TYPES[feature["dtype"]], feature["shape"]
        value = {"dtype": feature["dtype"], "_type": "Value"}
        fields.append(pa.field(name, kind if length == 1 else pa.list_(kind, length)))
        hf[name] = value if length == 1 else {"feature": value, "length": length, "_type": "List"}
    return pa.schema(fields, {"huggingface": json.dumps({"info": {"features": hf}})})


def data_table(columns: dict[str, np.ndarray], schema: pa.Schema) -> pa.Table:
    """Columns (N,) or (N,k) as a table of the schema."""
    arrays = []
    for field in schema:
        values = np.asarray(columns[field.name])
        if pa.types.is_fixed_size_list(field.type):
            flat = pa.array(np.ascontiguousarray(values).ravel(), field.type.value_type)
            arrays.append(pa.FixedSizeListArray.from_arrays(flat, type=field.type))
        else:
            arrays.append(pa.array(values.ravel(), field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def read_tasks(out: Path) -> dict[str, int]:
    """Task texts and their numbers."""
    path = out / "meta" / "tasks.parquet"
    if not path.exists():
        return {}
    table = pq.read_table(path)
    texts = next(n for n in table.column_names if n != "task_index")  # "task", or pandas' name of an unnamed index
    return dict(zip(table[texts].to_pylist(), table["task_index"].to_pylist()))


def write_tasks(out: Path, tasks: dict[str, int]) -> None:
    """`tasks.parquet`: pandas reads the texts as the index, as lerobot expects."""
    column = {"field_name": None, "metadata": None, "numpy_type": "object", "pandas_type": "unicode"}
    index = {"field_name": "task", "metadata": None, "name": "task", "numpy_type": "object", "pandas_type": "unicode"}
    number = {
        "field_name": "task_index",
        "metadata": None,
        "name": "task_index",
        "numpy_type": "int64",
        "pandas_type": "int64",
    }
    pandas = {"index_columns": ["task"], "column_indexes": [column | {"name": None}], "columns": [number, index]}
    table = pa.table({"task_index": pa.array(list(tasks.values()), pa.int64()), "task": list(tasks)})
    path = out / "meta" / "tasks.parquet"
    path.unlink(missing_ok=True)
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), path)


def link_data_set(old: Path, staging: Path) -> None:
    """Fill a staging folder with the files of a data set: hard links, but copies of those that will be rewritten."""
    for path in sorted(old.rglob("*")):
        name = path.relative_to(old)
        if path.is_dir():
            (staging / name).mkdir(parents=True, exist_ok=True)
            continue
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        if name.as_posix() in REWRITTEN:
            shutil.copy2(path, staging / name)
            continue
        try:
            os.link(path, staging / name)
        except OSError:
            shutil.copy2(path, staging / name)
