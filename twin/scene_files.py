"""A scene as a folder: `scene.json`, meshes of background and bodies, the robot's motion.

scene.json              metres, Z up, world = robot base; cameras, bodies with mass and pose, metrics, warnings
background.ply          what does not move, without the robot
objects/<name>/visual.{ply,glb}, collision/<number>.obj
robot.parquet           time_s and q_<joint>, a row an instant
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pose.camera import Camera
from pose.errors import CameraError
from twin.errors import TwinError
from twin.mesh import Mesh
from twin.scene import Body, RobotMotion, Scene

SCHEMA_VERSION = 1
NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
MAX_JSON_BYTES = 100_000_000
MAX_MESH_BYTES = 2_000_000_000
_NUMBERS = {"mass": (), "inertia": (3, 3), "center": (3,), "density": (), "friction": (), "T_base_body": (4, 4)}


def write_scene(folder: str | Path, scene: Scene) -> None:
    """Write a scene into a folder, `scene.json` last; files of the same names are replaced, each at once.

    Raises:
        TwinError: two bodies of one name, or a name that is no file name.
    """
    folder = Path(folder)
    names = [body.name for body in scene.bodies]
    for name in names:
        if not NAME.fullmatch(name) or names.count(name) > 1:
            raise TwinError(f"body {name!r}: names must differ and hold only letters, digits and underscores")
    folder.mkdir(parents=True, exist_ok=True)
    if scene.background is not None:
        scene.background.save(folder / "background.ply")
    bodies = [_write_body(folder, body) for body in scene.bodies]
    if scene.robot is not None:
        _write_motion(folder / "robot.parquet", scene.robot)
    data = {
        "schema_version": SCHEMA_VERSION, "unit": "metre", "up": "z", "world": "robot base",
        "gravity": list(scene.gravity),
        "background": None if scene.background is None else "background.ply",
        "robot": None if scene.robot is None else {
            "robot": scene.robot.robot, "motion": "robot.parquet", "pose_index": scene.robot.pose_index,
        },
        "cameras": {name: camera.to_dict() for name, camera in scene.cameras.items()},
        "bodies": bodies, "metrics": scene.metrics, "warnings": list(scene.warnings),
    }  # fmt: skip
    temporary = folder / ".scene.json.tmp"
    temporary.write_text(json.dumps(_plain(data), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    temporary.replace(folder / "scene.json")


def read_scene(folder: str | Path) -> Scene:
    """Read a scene folder.

    Raises:
        TwinError: no scene there, or one that is damaged; one line that says what and where.
    """
    folder = Path(folder)
    path = folder / "scene.json"
    if not path.is_file():
        raise TwinError(f"{folder}: no scene there (scene.json is missing)")
    if path.stat().st_size > MAX_JSON_BYTES:
        raise TwinError(f"{path}: larger than {MAX_JSON_BYTES // 1_000_000} MB")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or data.get("schema_version") != SCHEMA_VERSION:
            raise TwinError(f"{path}: not a scene of schema version {SCHEMA_VERSION}")
        background = data.get("background")
        robot = data.get("robot")
        return Scene(
            None if background is None else _load(folder, background),
            tuple(_read_body(folder, path, entry) for entry in data.get("bodies", [])),
            None if robot is None else _read_motion(folder, robot),
            {str(n): Camera.from_dict(c, f"{path}: camera {n}") for n, c in data.get("cameras", {}).items()},
            tuple(_array(data.get("gravity", (0, 0, -9.81)), (3,), "gravity").tolist()),  # type: ignore[arg-type]
            dict(data.get("metrics") or {}),
            tuple(str(w) for w in data.get("warnings", [])),
        )
    except (TwinError, CameraError):
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError, pa.ArrowException) as error:
        raise TwinError(f"{path}: damaged ({type(error).__name__}: {error})") from None


def _write_body(folder: Path, body: Body) -> dict[str, Any]:
    home = folder / "objects" / body.name
    (home / "collision").mkdir(parents=True, exist_ok=True)
    visual = home / ("visual.ply" if body.visual.texture is None else "visual.glb")
    body.visual.save(visual)
    pieces = []
    for number, piece in enumerate(body.collision):
        pieces.append(home / "collision" / f"{number}.obj")
        piece.save(pieces[-1])
    return {
        "name": body.name,
        "visual": visual.relative_to(folder).as_posix(),
        "collision": [p.relative_to(folder).as_posix() for p in pieces],
        **{key: getattr(body, key) for key in (*_NUMBERS, "material", "static")},
    }


def _read_body(folder: Path, path: Path, entry: Mapping[str, Any]) -> Body:
    name = str(entry["name"])
    if not NAME.fullmatch(name):
        raise TwinError(f"{path}: body name {name!r} holds other signs than letters, digits and underscores")
    numbers = {key: _array(entry[key], shape, f"{name}.{key}") for key, shape in _NUMBERS.items()}
    return Body(
        name,
        _load(folder, entry["visual"]),
        tuple(_load(folder, piece) for piece in entry.get("collision", [])),
        numbers["T_base_body"], float(numbers["mass"]), numbers["inertia"], numbers["center"],
        float(numbers["density"]), str(entry.get("material", "unknown")), bool(entry.get("static", False)),
        float(numbers["friction"]),
    )  # fmt: skip


def _load(folder: Path, name: Any) -> Mesh:
    path = _inside(folder, name)
    if path.is_file() and path.stat().st_size > MAX_MESH_BYTES:
        raise TwinError(f"{path}: larger than {MAX_MESH_BYTES // 1_000_000} MB")
    return Mesh.load(path)


def _inside(folder: Path, name: Any) -> Path:
    path = (folder / str(name)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise TwinError(f"{folder}: {name!r} lies outside the scene's folder")
    return path


def _write_motion(path: Path, motion: RobotMotion) -> None:
    columns = {"time_s": motion.times, **{f"q_{n}": motion.q[:, i] for i, n in enumerate(motion.joint_names)}}
    temporary = path.with_name(f".{path.name}.tmp")
    pq.write_table(pa.table({k: np.asarray(v, float) for k, v in columns.items()}), temporary)
    temporary.replace(path)


def _read_motion(folder: Path, data: Mapping[str, Any]) -> RobotMotion:
    path = _inside(folder, data["motion"])
    table = pq.read_table(path)
    joints = tuple(name[2:] for name in table.column_names if name.startswith("q_"))
    q = np.column_stack([table[f"q_{n}"].to_numpy() for n in joints]) if joints else np.zeros((len(table), 0))
    index = int(data.get("pose_index", 0))
    if not 0 <= index < max(len(q), 1):
        raise TwinError(f"{path}: pose_index {index} is not one of {len(q)} rows")
    return RobotMotion(str(data["robot"]), joints, q.astype(float), table["time_s"].to_numpy().astype(float), index)


def _array(value: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    array = np.asarray(value, float)
    if array.shape != shape or not np.isfinite(array).all():
        raise TwinError(f"{what}: expected finite numbers of shape {shape}, got shape {array.shape}")
    return array


def _plain(value: Any) -> Any:
    """numpy values and tuples as JSON has them; numbers that are not finite as null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
