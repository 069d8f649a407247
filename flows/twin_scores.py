"""Errors of a twin against the truth, as a table and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from flows.files import write_json
from twin.errors import TwinError
from twin.measure import TwinErrors, measure_twin
from twin.scene_files import read_scene


def evaluate_twin(scene: str | Path, truth: str | Path, region: str | None = None) -> TwinErrors:
    """Compare two scene folders; see `twin.measure.measure_twin`.

    Args:
        region: "x0,y0,z0,x1,y1,z1" in metres, or None: the truth's own.

    Raises:
        TwinError: a folder is no scene, or the region is none.
    """
    try:
        box = None if region is None else [float(v) for v in region.split(",")]
    except ValueError:
        raise TwinError(f"region {region!r}: expected x0,y0,z0,x1,y1,z1 in metres") from None
    return measure_twin(read_scene(scene), read_scene(truth), box)


def twin_rows(errors: TwinErrors) -> list[tuple[str, str]]:
    """The errors as text, one quantity a row."""
    surface = errors.surface
    rows = [("Chamfer distance", _mm(surface.chamfer))]
    rows += [("  twin to truth (accuracy)", _mm(surface.accuracy))]
    rows += [("  truth to twin (completeness)", _mm(surface.completeness))]
    rates = zip(surface.thresholds, surface.f_score, surface.precision, surface.recall)
    for at, f_score, precision, recall in rates:
        text = f"{f_score:.3f} (precision {precision:.3f}, completeness {recall:.3f})"
        rows.append((f"F-score at {at * 1000:g} mm", text))
    for name, found in errors.objects.items():
        if found is None:
            rows.append((f"object {name}", "not found"))
            continue
        pose = f"{_mm(found.position)}, {np.rad2deg(found.angle):.1f}°; box's middle {_mm(found.center)}"
        rows.append((f"object {name}", f"{pose}; box x{found.volume:.2f} ({found.match})"))
    rows += [(f"body {name}", "is no true object") for name in errors.extra]
    for name, camera in errors.cameras.items():
        text = "not in the twin"
        if camera is not None:
            text = f"{_mm(camera.position)}, {np.rad2deg(camera.angle):.2f}°, focal length {camera.focal:+.1%}"
        rows.append((f"camera {name}", text))
    return rows


def write_twin_errors(path: str | Path, errors: TwinErrors) -> None:
    """Write the errors as JSON: metres, radians, fractions."""
    data: dict[str, Any] = asdict(errors)
    write_json(path, data)


def _mm(value: float) -> str:
    return f"{value * 1000:.1f} mm"
