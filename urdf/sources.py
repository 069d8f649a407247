"""Where the files of robot descriptions lie. (Being replaced by the version that fetches.)"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from urdf.errors import RobotError


def folder(name: str) -> Path:
    """The folder of a source's files."""
    if name == "own":
        return Path(__file__).parent / "descriptions"
    spec = importlib.util.find_spec("rtbdata") if name == "rtb_data" else None
    if spec is None or not spec.submodule_search_locations:
        raise RobotError(f"source {name!r} is not available")
    return Path(next(iter(spec.submodule_search_locations)))
