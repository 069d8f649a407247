"""Files that are either the old or the new one: written to a temporary name, then renamed."""

from __future__ import annotations

import ctypes
import glob
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.errors import FlowError

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
STALE_SECONDS = 24 * 3600


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; renamed to `path` at the end, removed on an error.

    The suffix is kept, because writers (PyAV, matplotlib) choose the format by it.

    Raises:
        FlowError: the folder cannot be made or written to.
    """
    path = Path(path)
    make_folder(path.parent)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise FlowError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: str | Path, leave: Callable[[], bool] = lambda: False) -> Iterator[Path]:
    """A temporary sibling folder to fill; put in the place of `folder` at the end, removed on an error.

    What an earlier `folder` held is gone afterwards, unless `leave()` says at the end that it should stay.
    What was left by runs that were killed over a day ago is removed.
    """
    folder = Path(folder).absolute()
    make_folder(folder.parent)
    for stale in folder.parent.glob(f".{glob.escape(folder.name)}.*.tmp"):
        if stale.stat().st_mtime < time.time() - STALE_SECONDS:
            shutil.rmtree(stale, ignore_errors=True)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        make_folder(temporary)
        yield temporary
        if leave():
            return
        if folder.exists():
            _exchange(temporary, folder)
        else:
            os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_folder(folder: Path) -> Path:
    """Make the folder and its parents.

    Raises:
        FlowError: it cannot be made, or a file of that name is in the way.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FlowError(f"{folder}: the folder cannot be made ({error.strerror or error})") from None
    return folder


def _exchange(a: Path, b: Path) -> None:
    """Swap two folders, in one step where the system can (Linux renameat2), else in three renames."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        renameat2 = None
    if renameat2 is not None:
        if renameat2(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE) == 0:
            return
    aside = b.with_name(f"{a.name}.old")
    os.rename(b, aside)
    os.rename(a, b)
    os.rename(aside, a)


def write_json(path: str | Path, data: Any) -> None:
    """Write JSON atomically; numbers that are not finite become null, as strict JSON has none."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(_plain(data), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path, what: str = "file") -> Any:
    """Read JSON.

    Raises:
        FlowError: the file is absent or no JSON.
    """
    path = Path(path)
    if not path.is_file():
        raise FlowError(f"{path}: no such {what}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise FlowError(f"{path}: the {what} is not readable JSON ({error})") from None


def _plain(value: Any) -> Any:
    """numpy scalars and arrays, paths, tuples and NaN as plain JSON values."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not (value - value == 0):
        return None
    return value


def sha256_file(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_path(path: str | Path) -> str:
    """SHA-256 of a file, or of a folder's files with their relative names (hidden files left out)."""
    path = Path(path)
    if path.is_file():
        return sha256_file(path)
    digest = hashlib.sha256()
    for name, entry in sorted(_files_of(path).items()):
        digest.update(f"{name}\0{sha256_file(entry)}\n".encode())
    return digest.hexdigest()


def _files_of(folder: Path) -> dict[str, Path]:
    files = {}
    for entry in folder.rglob("*"):
        name = entry.relative_to(folder)
        if entry.is_file() and not any(part.startswith(".") for part in name.parts):
            files[name.as_posix()] = entry
    return files


def sha256_json(data: Any) -> str:
    """SHA-256 of a value's canonical JSON text."""
    text = json.dumps(_plain(data), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def cache_folder() -> Path:
    """The user's cache folder: $URDFIT_CACHE, else $XDG_CACHE_HOME/urdfit, else ~/.cache/urdfit."""
    from urdf import cache

    return cache.folder()
