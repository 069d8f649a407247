"""Little helpers to write XML with numbers in it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from lxml import etree


def add(parent: etree._Element, tag: str, **attributes: Any) -> etree._Element:
    """A child element; numbers and arrays as text, None left out; a trailing "_" of a name is dropped (class_)."""
    values = {k.rstrip("_"): text(v) for k, v in attributes.items() if v is not None}
    return etree.SubElement(parent, tag, values)


def text(value: Any) -> str:
    """A value as an attribute: nine digits a number, spaces between."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, Iterable):
        return " ".join(text(v) for v in value)
    return f"{float(value) + 0.0:.9g}"


def quaternion(R: np.ndarray) -> np.ndarray:
    """(4,) w, x, y, z of a rotation matrix (3,3)."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(R).as_quat()
    return np.array([w, x, y, z])


def write_xml(path: Path, root: etree._Element) -> None:
    """Write a document, whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(etree.tostring(root, pretty_print=True, xml_declaration=True, encoding="utf-8"))
    temporary.replace(path)


def unique(name: str, taken: set[str]) -> str:
    """The name, with a number where it is taken; it is taken from now on."""
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found
