"""JSON of foreign data sets: read with limits, and its numbers checked."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from flows.datasets.location import Location
from flows.errors import FlowError


def read_object(location: Location, name: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        FlowError: no such file, too large, no JSON, or no object.
    """
    try:
        data = json.loads(location.read(name))
    except (ValueError, RecursionError) as error:
        raise FlowError(f"{location.name}/{name}: not readable JSON ({error})") from None
    if not isinstance(data, dict):
        raise FlowError(f"{location.name}/{name}: expected a JSON object, got {type(data).__name__}")
    return data


def read_lines(location: Location, name: str) -> list[dict[str, Any]]:
    """JSON objects, one a line."""
    rows = []
    for number, line in enumerate(location.read(name).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise FlowError(f"{location.name}/{name}: line {number} is not JSON ({error})") from None
        if not isinstance(row, dict):
            raise FlowError(f"{location.name}/{name}: line {number} is no JSON object")
        rows.append(row)
    return rows


def numbers(value: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """A finite array of a shape.

    Raises:
        FlowError: anything else.
    """
    try:
        array = np.array(value, float)
    except (TypeError, ValueError):
        array = np.zeros(0)
    if array.shape != shape or not np.isfinite(array).all():
        raise FlowError(f"{what}: expected {'x'.join(map(str, shape)) or 'a number'} finite numbers, got {value!r:.80}")
    return array


def rigid(value: Any, what: str) -> np.ndarray:
    """A rigid motion (4,4) from a 4x4 or 3x4 matrix.

    Raises:
        FlowError: it is none.
    """
    rows = value if isinstance(value, list) else []
    T = np.vstack([numbers(rows, (3, 4), what), [0, 0, 0, 1]]) if len(rows) == 3 else numbers(value, (4, 4), what)
    if np.abs(T[:3, :3] @ T[:3, :3].T - np.eye(3)).max() > 1e-3 or np.linalg.det(T[:3, :3]) < 0:
        raise FlowError(f"{what}: not a rigid motion; expected a rotation with determinant +1")
    return T
