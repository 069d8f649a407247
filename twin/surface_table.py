"""Which edges of a cell belong to the same sheet of surface, for every pattern of its corners."""

from __future__ import annotations

import numpy as np


def _patch_table() -> np.ndarray:
    """(256,12) int8: to which patch of surface each edge of a cell belongs, -1 where it is not crossed.

    Bit 4 i + 2 j + k of the case is set where corner (i,j,k) is in the solid; edge 4 axis + 2 p + q runs along the axis
    at offsets p, q in the other two, in their order. On every face the crossed edges are joined in pairs; where all
    four are crossed, those that meet in a corner of the solid: neighbours see the same face and decide the same.
    """
    table = np.full((256, 12), -1, np.int8)
    corners = np.indices((2, 2, 2)).reshape(3, 8).T
    ends = {}
    for axis in range(3):
        for p in range(2):
            for q in range(2):
                near = np.insert([p, q], axis, 0)
                ends[4 * axis + 2 * p + q] = int(near @ [4, 2, 1]), int((near + np.eye(3, dtype=int)[axis]) @ [4, 2, 1])
    for case in range(256):
        group = {edge: edge for edge, (a, b) in ends.items() if (case >> a & 1) != (case >> b & 1)}

        for axis in range(3):
            for side in range(2):
                face = {int(c @ [4, 2, 1]) for c in corners if c[axis] == side}
                crossed = [edge for edge in group if set(ends[edge]) <= face]
                pairs = [crossed] if len(crossed) == 2 else []
                if len(crossed) == 4:
                    pairs = [[edge for edge in crossed if c in ends[edge]] for c in face if case >> c & 1]
                for a, b in pairs:
                    old, new = group[a], group[b]
                    group = {edge: new if name == old else name for edge, name in group.items()}
        names = sorted(set(group.values()))
        for edge, name in group.items():
            table[case, edge] = names.index(name)
    return table


PATCH = _patch_table()
PATCHES = (PATCH.max(1) + 1).astype(np.int8)
