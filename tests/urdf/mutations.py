"""Descriptions damaged at random: in their bytes, or as trees of elements."""

from __future__ import annotations

import copy

import numpy as np
from lxml import etree

VALUES = (
    "", " ", "nan", "inf", "-inf", "1e309", "-1e30", "1e-320", "0", "-1", "0 0 0", "1 2", "1 2 3 4", "1,5", "0x1p3",
    "a", "l0", "j0", "\u0661", "\u202e", "x" * 3000, "../../x.stl", "/dev/zero", "package://", "file:///", "${1}",
    "$(find x)", "revolute", "prismatic", "fixed", "continuous", "floating", "planar", "universe", "&", "<", "'", '"',
    "\n", "\t",
)  # fmt: skip
TAGS = ("robot", "link", "joint", "visual", "geometry", "origin", "mesh", "box", "sphere", "mimic", "limit", "axis",
        "parent", "child", "material", "color", "mujoco", "xacro:include", "{u}link", "x:y")  # fmt: skip


def mutated(text: bytes, seed: int) -> bytes:
    """`text` with one to four damages."""
    rng = np.random.default_rng(seed)
    for _ in range(rng.integers(1, 5)):
        text = _bytes(text, rng) if rng.random() < 0.4 else _elements(text, rng)
    return text


def _bytes(text: bytes, rng: np.random.Generator) -> bytes:
    a, b = np.sort(rng.integers(0, len(text) + 1, 2))
    short = int(min(b, a + rng.integers(1, 40)))
    way = rng.integers(6)
    if way == 0:  # bits
        damaged = bytearray(text)
        for place in rng.integers(0, max(len(text), 1), rng.integers(1, 8)) if text else ():
            damaged[place] ^= 1 << int(rng.integers(8))
        return bytes(damaged)
    if way == 1:
        return text[:a]
    if way == 2:
        return text[:a] + text[short:]
    if way == 3:
        return text[:short] + text[a:]  # doubled
    if way == 4:
        return text[:a] + rng.bytes(int(rng.integers(1, 20))) + text[a:]
    return text[:a] + str(rng.choice(VALUES)).encode() + text[short:]


def _elements(text: bytes, rng: np.random.Generator) -> bytes:
    try:
        root = etree.fromstring(text, etree.XMLParser(resolve_entities=False, recover=True, no_network=True))
    except (etree.XMLSyntaxError, ValueError):
        root = None
    if root is None:
        return _bytes(text, rng)
    elements = [e for e in root.iter() if isinstance(e.tag, str)]
    one, other = (elements[int(rng.integers(len(elements)))] for _ in range(2))
    keys = list(one.attrib)
    way = rng.integers(8)
    try:
        if way == 0 and keys:
            del one.attrib[str(rng.choice(keys))]
        elif way <= 2 and keys:
            one.set(str(rng.choice(keys)), str(rng.choice(VALUES)))
        elif way == 3 and keys:  # a value from elsewhere
            values = [v for e in elements for v in e.attrib.values()]
            one.set(str(rng.choice(keys)), str(rng.choice(values)))
        elif way == 4 and one is not root:
            one.getparent().remove(one)
        elif way == 5:
            other.append(copy.deepcopy(one))
        elif way == 6 and one is not root and one not in other.iterancestors() and one is not other:
            other.insert(int(rng.integers(len(other) + 1)), one)
        else:
            one.tag = str(rng.choice(TAGS))
    except (ValueError, TypeError):  # lxml refuses some names and values
        return _bytes(text, rng)
    return etree.tostring(root)
