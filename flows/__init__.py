"""Flows, files and the command line: from a video to an episode folder, from a data set to many, from a
rig of cameras to a scene.

`run_episode`, `run_batch` and `build_twin` are Prefect flows where Prefect is installed, and the same functions
without it otherwise.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.batch.batch import BatchReport
    from flows.batch.run import run_batch
    from flows.run import run_episode
    from flows.twin_run import build_twin

__all__ = ["BatchReport", "build_twin", "run_batch", "run_episode"]

_FLOWS = {
    "run_episode": ("flows.prefect_flow", "flows.run"),
    "run_batch": ("flows.batch.prefect_batch", "flows.batch.run"),
    "build_twin": ("flows.twin_flow", "flows.twin_run"),
}


def __getattr__(name: str) -> Any:
    if name == "BatchReport":
        return import_module("flows.batch.batch").BatchReport
    if name not in _FLOWS:
        raise AttributeError(f"module 'flows' has no attribute {name!r}")
    with_prefect, without = _FLOWS[name]
    try:
        module = import_module(with_prefect)
    except ImportError as error:  # Prefect is absent; any other missing module is a fault to be seen
        if not (error.name or "").startswith("prefect"):
            raise
        module = import_module(without)
    return getattr(module, name)
