"""Arrays kept in the user's cache folder under a content hash."""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np


def folder() -> Path:
    """$URDFIT_CACHE, else $XDG_CACHE_HOME/urdfit, else ~/.cache/urdfit."""
    own, xdg = os.environ.get("URDFIT_CACHE"), os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(xdg) if xdg else Path.home() / ".cache") / "urdfit"


def load(key: str) -> dict[str, np.ndarray] | None:
    """The arrays stored under a key; None when there are none or they are damaged."""
    try:
        with np.load(folder() / f"{key}.npz", allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def store(key: str, arrays: dict[str, np.ndarray]) -> None:
    """Store arrays under a key; a cache that cannot be written is no error, the next run builds again."""
    path = folder() / f"{key}.npz"
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as stream:
                np.savez(stream, allow_pickle=False, **arrays)  # type: ignore[arg-type]
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
