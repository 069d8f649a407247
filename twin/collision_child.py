"""The process in which bodies are decomposed: reads a mesh, writes convex pieces. Started by `twin.collision`."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def main(given: str, found: str, mode: str) -> None:
    """Read vertices, faces and settings from one .npz, write the pieces to another; `mode` is CoACD's preprocessing."""
    import coacd

    coacd.set_log_level("error")
    with np.load(given, allow_pickle=False) as data:
        mesh = coacd.Mesh(np.asarray(data["vertices"], float), np.asarray(data["faces"], np.int32))
        # the search is cut short; by default it takes several times as long
        pieces = coacd.run_coacd(
            mesh, threshold=float(data["threshold"]), max_convex_hull=int(data["most"]), preprocess_mode=mode,
            mcts_iterations=15, mcts_nodes=8, resolution=600,
        )  # fmt: skip
    arrays: dict[str, Any] = {"count": np.array(len(pieces))}
    for number, (vertices, faces) in enumerate(pieces):
        arrays |= {f"v{number}": np.asarray(vertices, float), f"f{number}": np.asarray(faces, np.int32)}
    np.savez(found, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:4])
