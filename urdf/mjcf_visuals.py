"""Which geoms of a compiled MuJoCo model are its looks, and which sites its tool frames."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

PLANE, HFIELD, SPHERE, CAPSULE, ELLIPSOID, CYLINDER, BOX = range(7)  # mjtGeom
SHOWN = 3  # MuJoCo's viewer shows groups 0, 1, 2 unless told otherwise
PLAIN = np.array([0.5, 0.5, 0.5, 1.0], np.float32)  # a geom's colour when it gives none
TOOL = re.compile(
    r"^(.*[_/\-])?(attachment|attachment_site|grasp|grasp_site|grip_site|gripper|pinch|pinch_site|tcp|tool0?|tool_site"
    r"|tool_center_point|ee|ee_site|eef|eef_site|end_effector|end_effector_site)$",
    re.IGNORECASE,
)


def geometry(
    model: Any, mesh_of: dict[int, tuple[str, np.ndarray, tuple[float, ...]]], textures: dict, bodies: list[int]
) -> list[tuple[int, str, tuple[float, ...], tuple[float, float, float]]]:
    """(geom, shape, size, colour) of the geoms that show the bodies, as `urdf.description.Visual` means them.

    Models tell looks from collision shapes in two ways: looks collide with nothing (contype = conaffinity = 0) and
    lie in a shown group. Where a model has such geoms, the others are used only for bodies without any, and only
    from the groups that looks are in. Without such geoms: all in the shown groups, and failing that all there are.
    """
    drawn = [g for g in range(model.ngeom) if model.geom_type[g] not in (PLANE, HFIELD) and _opaque(model, g)]
    shown = [g for g in drawn if model.geom_group[g] < SHOWN] or drawn
    looks = [g for g in shown if model.geom_contype[g] == 0 and model.geom_conaffinity[g] == 0]
    if looks:
        groups = {int(model.geom_group[g]) for g in looks}
        served = {int(model.geom_bodyid[g]) for g in looks}
        shown = sorted(
            looks + [g for g in shown if model.geom_group[g] in groups and model.geom_bodyid[g] not in served]
        )
    result = []
    for g in shown:
        if int(model.geom_bodyid[g]) not in bodies:
            continue
        a, b, c = map(float, model.geom_size[g])
        kind = int(model.geom_type[g])
        if g in mesh_of:
            shape, size = "mesh", mesh_of[g][2]
        elif kind == BOX:
            shape, size = "box", (2 * a, 2 * b, 2 * c)
        elif kind in (CYLINDER, CAPSULE):
            shape, size = ("cylinder" if kind == CYLINDER else "capsule"), (a, 2 * b)
        elif kind == ELLIPSOID:
            shape, size = "ellipsoid", (a, b, c)
        else:
            shape, size = "sphere", (a,)
        result.append((g, shape, size, _color(model, g, textures)))
    return result


def _rgba(model: Any, g: int) -> np.ndarray:
    material = int(model.geom_matid[g])
    if material >= 0 and np.array_equal(model.geom_rgba[g], PLAIN):
        return model.mat_rgba[material]
    return model.geom_rgba[g]


def _opaque(model: Any, g: int) -> bool:
    return bool(_rgba(model, g)[3] > 0)


def _color(model: Any, g: int, textures: dict[str, np.ndarray]) -> tuple[float, float, float]:
    rgb = np.array(_rgba(model, g)[:3], float)
    material = int(model.geom_matid[g])
    if material >= 0:
        rgb = rgb * textures.get(model.material(material).name, np.ones(3))
    r, g_, b = np.clip(rgb, 0, 1)
    return float(r), float(g_), float(b)


def tool_sites(model: Any, bodies: list[int]) -> list[int]:
    """Sites with the name of a tool frame."""
    return [s for s in range(model.nsite) if int(model.site_bodyid[s]) in bodies and TOOL.match(model.site(s).name)]
