"""Names, materials and densities of a scene's bodies in one file that people edit: `objects.json`.

    {"object_0": {"name": "carton", "material": "cardboard", "density": 150, "friction": 0.6, "drop": false}, ...}

Every entry, and every value of one, may be left out. The key is the name that the twin gave the body.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from twin.errors import TwinError
from twin.scene import Body
from twin.scene_files import NAME

MAX_BYTES = 10_000_000
MATERIALS = {  # kg/m3 of a whole thing made of it, and sliding friction on wood; rough values of handbooks
    "cardboard": (150.0, 0.5), "ceramic": (1500.0, 0.5), "fabric": (200.0, 0.7), "foam": (40.0, 0.8),
    "glass": (1200.0, 0.4), "metal": (2500.0, 0.4), "paper": (600.0, 0.5), "plastic": (400.0, 0.4),
    "rubber": (1100.0, 0.9), "wood": (600.0, 0.5),
}  # fmt: skip
_FIELDS = ("name", "material", "density", "friction", "static", "drop")


@dataclass(frozen=True)
class Edit:
    """What a user changed of a body; None: nothing. density in kg/m3; drop leaves the body out of the scene."""

    name: str | None = None
    material: str | None = None
    density: float | None = None
    friction: float | None = None
    static: bool | None = None
    drop: bool = False


def write_edits(path: str | Path, bodies: Iterable[Body]) -> None:
    """Write the file as the bodies are, for people to change; at once or not at all."""
    data = {
        body.name: {
            "name": body.name, "material": body.material, "density": body.density, "friction": body.friction,
            "static": body.static, "drop": False,
        }
        for body in bodies
    }  # fmt: skip
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_edits(path: str | Path) -> dict[str, Edit]:
    """Read the file.

    Raises:
        TwinError: no such file, no JSON, or a value that is none; one line that names the entry.
    """
    path = Path(path)
    if not path.is_file():
        raise TwinError(f"{path}: no such file")
    if path.stat().st_size > MAX_BYTES:
        raise TwinError(f"{path}: larger than {MAX_BYTES // 1_000_000} MB")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise TwinError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(data, dict):
        raise TwinError(f"{path}: expected an object with an entry a body, got {type(data).__name__}")
    return {str(key): _edit(f"{path}: {key}", entry) for key, entry in data.items()}


def apply_edits(bodies: Iterable[Body], edits: dict[str, Edit]) -> tuple[tuple[Body, ...], tuple[str, ...]]:
    """The bodies as edited, and a line for every entry that names no body.

    A new density scales mass and inertia. A known material without a density of its own brings its density and
    friction (`MATERIALS`); an entry with the density the body already has counts as one without.

    Raises:
        TwinError: two bodies would have one name.
    """
    bodies = tuple(bodies)
    result = [_changed(body, edits.get(body.name, Edit())) for body in bodies if not edits.get(body.name, Edit()).drop]
    names = [body.name for body in result]
    for name in names:
        if names.count(name) > 1:
            raise TwinError(f"two bodies would be called {name!r}; give one of them another name")
    known = {body.name for body in bodies}
    return tuple(result), tuple(f"{key}: no body of this name" for key in edits if key not in known)


def _changed(body: Body, edit: Edit) -> Body:
    material = body.material if edit.material is None else edit.material
    density, friction = edit.density, edit.friction
    if material != body.material and material in MATERIALS:
        usual = MATERIALS[material]
        density = usual[0] if density in (None, body.density) else density
        friction = usual[1] if friction in (None, body.friction) else friction
    density = body.density if density is None else density
    factor = density / body.density
    return replace(
        body, name=body.name if edit.name is None else edit.name, material=material, density=density,
        mass=body.mass * factor, inertia=np.asarray(body.inertia) * factor,
        friction=body.friction if friction is None else friction,
        static=body.static if edit.static is None else edit.static,
    )  # fmt: skip


def _edit(where: str, entry: Any) -> Edit:
    if not isinstance(entry, dict):
        raise TwinError(f"{where}: expected an object, got {type(entry).__name__}")
    unknown = [key for key in entry if key not in _FIELDS]
    if unknown:
        raise TwinError(f"{where}: {unknown[0]!r} is not one of {', '.join(_FIELDS)}")
    for key in ("density", "friction"):
        value = entry.get(key)
        number = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
        if value is not None and not (number and (0 < value < 30_000 if key == "density" else 0 <= value <= 10)):
            raise TwinError(f"{where}: {key} {value!r}: expected {'kg/m3 above 0' if key == 'density' else '0 to 10'}")
    for key in ("static", "drop"):
        if not isinstance(entry.get(key), bool | None):
            raise TwinError(f"{where}: {key} {entry[key]!r}: expected true or false")
    name, material = entry.get("name"), entry.get("material")
    if name is not None and not (isinstance(name, str) and NAME.fullmatch(name)):
        raise TwinError(f"{where}: name {name!r}: expected letters, digits and underscores, at most 64")
    if material is not None and not (isinstance(material, str) and len(material) <= 100):
        raise TwinError(f"{where}: material {material!r}: expected a short text")
    return Edit(name, material, _number(entry.get("density")), _number(entry.get("friction")),
                entry.get("static"), bool(entry.get("drop", False)))  # fmt: skip


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
