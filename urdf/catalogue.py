"""The robots known by name, read from catalogue.toml beside this file."""

from __future__ import annotations

import importlib.util
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from urdf.errors import RobotError


@cache
def entries() -> dict[str, dict[str, Any]]:
    """Name to entry; the keys of an entry are explained at the head of catalogue.toml."""
    return tomllib.loads((Path(__file__).parent / "catalogue.toml").read_text(encoding="utf-8"))


def list_robots() -> tuple[str, ...]:
    """The names that `load_robot` knows, in the catalogue's order."""
    return tuple(entries())


def folder(entry: dict[str, Any], name: str) -> Path:
    """Where the Python package of an entry lies.

    Raises:
        RobotError: the package is not installed.
    """
    spec = importlib.util.find_spec(entry["package"])
    if spec is None or not spec.submodule_search_locations:
        raise RobotError(f"robot {name!r} needs the Python package {entry['package']!r}, which is not installed")
    return Path(next(iter(spec.submodule_search_locations)))
