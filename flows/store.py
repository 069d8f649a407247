"""A store of stage results in the user's cache folder, addressed by what they were made from.

A stage fills a folder; the folder's name is the stage's name and the hash of everything that went in
(contents, settings, code). It is filled under a temporary name and renamed, and lists its files' hashes.
So a killed run leaves nothing that could be taken for a result, and a damaged entry is made again.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from flows.errors import FlowError
from flows.files import atomic_folder, cache_folder, sha256_file, sha256_json, write_json

MANIFEST = "manifest.json"
DEFAULT_LIMIT_GB = 10.0
_root: ContextVar[Path | None] = ContextVar("urdfit_products", default=None)


@dataclass(frozen=True)
class Product:
    """What a stage left in the store.

    Attributes:
        folder: where its files are; read-only to everybody else.
        digest: SHA-256 over the names and contents of its files.
        seconds: how long the stage took when it ran.
        reused: whether this run found it there.
    """

    folder: Path
    digest: str
    seconds: float
    reused: bool = True


def keep(stage: str, key: str, build: Callable[[Path], None]) -> Product:
    """The stage's product for a key: from the store if it is there undamaged, else built now."""
    folder = product_folder(stage, key)
    found = open_product(folder)
    if found is not None:
        return found
    start = time.perf_counter()
    # another run may have built the same in the meantime and be reading it: then its product stays
    with atomic_folder(folder, leave=lambda: open_product(folder) is not None) as temporary:
        build(temporary)
        files = _hash_files(temporary)
        seconds = round(time.perf_counter() - start, 3)
        write_json(temporary / MANIFEST, {"files": files, "seconds": seconds})
    return Product(folder, sha256_json(files), seconds, reused=False)


@contextmanager
def stored_in(folder: Path) -> Iterator[None]:
    """Within the block, products are kept in this folder instead of the user's cache."""
    token = _root.set(folder)
    try:
        yield
    finally:
        _root.reset(token)


def _stages() -> Path:
    return _root.get() or cache_folder() / "stages"


def product_folder(stage: str, key: str) -> Path:
    """Where the product of a stage and key is or would be."""
    return _stages() / f"{stage}-{key[:40]}"


def open_product(folder: str | Path) -> Product | None:
    """The product in a folder, or None when it is absent, unfinished, or not as it was written."""
    folder = Path(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files: dict[str, str] = manifest["files"]
        if _hash_files(folder) != files:
            return None
        os.utime(folder / MANIFEST)  # the moment of last use, for `prune`
        return Product(folder, sha256_json(files), float(manifest["seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _hash_files(folder: Path) -> dict[str, str]:
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return {name: sha256_file(files[name]) for name in sorted(files) if name != MANIFEST}


def prune(limit_gb: float | None = None) -> int:
    """Delete the products used longest ago until the store holds at most `limit_gb`; returns how many went.

    The limit is $URDFIT_CACHE_GB, 10 by default. Products of the last hour stay: a run may be using them.
    """
    if limit_gb is None:
        limit_gb = cache_limit()
    root = _stages()
    entries = []
    for folder in root.iterdir() if root.is_dir() else ():
        marker = folder / MANIFEST
        used = (marker if marker.exists() else folder).stat().st_mtime
        entries.append((used, sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()), folder))
    total, gone = sum(size for _, size, _ in entries), 0
    for used, size, folder in sorted(entries, key=lambda entry: entry[0]):
        if total <= limit_gb * 1e9 or used > time.time() - 3600:
            break
        shutil.rmtree(folder, ignore_errors=True)
        total, gone = total - size, gone + 1
    return gone


def cache_limit() -> float:
    """$URDFIT_CACHE_GB, 10 where it is not set.

    Raises:
        FlowError: it is no number.
    """
    text = os.environ.get("URDFIT_CACHE_GB", "")
    try:
        return float(text) if text else DEFAULT_LIMIT_GB
    except ValueError:
        raise FlowError(f"URDFIT_CACHE_GB={text}: expected a number of gigabytes") from None


@cache
def code_version(*packages: str) -> str:
    """Version string for a cache key: urdfit's version and a hash of the named packages' own source files.

    So results of older code are never reused, without anybody having to remember to count a number up.
    """
    root = Path(__file__).parent.parent
    sources: dict[str, Any] = {}
    for package in packages:
        path = root / package
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and file.suffix not in (".pyc", ".nbi", ".nbc") and "__pycache__" not in file.parts:
                sources[file.relative_to(root).as_posix()] = sha256_file(file)
    return f"{version()}+{sha256_json(sources)[:16]}"


def version(package: str = "urdfit") -> str:
    """The installed version of a distribution, or "not installed"."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
