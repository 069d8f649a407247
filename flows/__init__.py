"""Flows, files and the command line: from a video to an episode folder.

`run_episode` is a Prefect flow where Prefect is installed, and the same function without it otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.run import run_episode

__all__ = ["run_episode"]


def __getattr__(name: str) -> Any:
    if name != "run_episode":
        raise AttributeError(f"module 'flows' has no attribute {name!r}")
    try:
        from flows.prefect_flow import run_episode
    except ImportError as error:  # Prefect is absent; any other missing module is a fault to be seen
        if not (error.name or "").startswith("prefect"):
            raise
        from flows.run import run_episode  # type: ignore[assignment]
    return run_episode
