"""Mesh files that are small but would grow without bound in memory or time: found before a reader opens them."""

from __future__ import annotations

import json
from typing import Any

from lxml import etree

MAX_TRIANGLES = 5_000_000
MAX_INSTANCES = 2_000  # uses of meshes in a scene
MAX_COUNT = 3 * MAX_TRIANGLES  # numbers of one kind that a glTF file may claim


def check(data: bytes, kind: str) -> None:
    """Refuse scenes whose parts use each other without end, and arrays larger than any mesh that is read.

    Args:
        data: the file; `kind` its type, lower case without a dot.

    Raises:
        ValueError: with the reason.
    """
    if kind == "dae" and b"instance_node" in data:  # without it, each node is used once
        _collada(data)
    elif kind in ("gltf", "glb"):
        _gltf(data)


def _uses(children: dict[Any, list[Any]], own: dict[Any, int], roots: list[Any]) -> int:
    """How many meshes a scene draws: the sum over all paths from the roots, at most MAX_INSTANCES + 1.

    Raises:
        ValueError: a node below itself.
    """
    total: dict[Any, int] = {}
    for root in roots:
        stack = [(root, False)]
        open_nodes: set[Any] = set()
        while stack:
            node, done = stack.pop()
            if done:
                open_nodes.discard(node)
                count = own.get(node, 0) + sum(total.get(c, 0) for c in children.get(node, ()))
                total[node] = min(count, MAX_INSTANCES + 1)
            elif node in open_nodes:
                raise ValueError("a node of its scene lies below itself")
            elif node not in total:
                open_nodes.add(node)
                stack.append((node, True))
                stack += [(c, False) for c in children.get(node, ()) if c not in total]
    return sum(total[root] for root in roots)


def _limit(uses: int) -> None:
    if uses > MAX_INSTANCES:
        raise ValueError(f"its scene draws meshes more than {MAX_INSTANCES} times")


def _collada(data: bytes) -> None:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True)
    root = etree.fromstring(data, parser)

    def tags(element: etree._Element, name: str) -> list[etree._Element]:
        return [e for e in element if isinstance(e.tag, str) and etree.QName(e).localname == name]

    nodes = {e: e.get("id") for e in root.iter("{*}node")}
    by_id = {name: e for e, name in nodes.items() if name}
    children = {
        e: tags(e, "node") + [by_id[u] for i in tags(e, "instance_node") if (u := i.get("url", "")[1:]) in by_id]
        for e in nodes
    }
    own = {e: len(tags(e, "instance_geometry")) + len(tags(e, "instance_controller")) for e in nodes}
    scenes = [e for scene in root.iter("{*}visual_scene") for e in tags(scene, "node")]
    _limit(_uses(children, own, scenes))


def _gltf(data: bytes) -> None:
    if data[:4] == b"glTF":
        length = int.from_bytes(data[12:16], "little")
        data = data[20 : 20 + length]
    tree = json.loads(data)
    for accessor in tree.get("accessors", ()):
        count = accessor.get("count", 0)
        if not isinstance(count, int) or not 0 <= count <= MAX_COUNT:
            raise ValueError(f"an array of {str(count)[:20]} elements")
    nodes = list(enumerate(tree.get("nodes", ())))
    children = {i: list(node.get("children", ())) for i, node in nodes}
    own = {i: int("mesh" in node) for i, node in nodes}
    for scene in tree.get("scenes", ()):
        _limit(_uses(children, own, list(scene.get("nodes", ()))))
