"""Tiny wheels and git repositories that stand in for the real sources."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

FILES = {
    "toy/robot.urdf": b"<robot/>",
    "toy/meshes/arm.stl": b"solid" * 100,
    "toy/big/unused.bin": b"x" * 1000,
    "toy-1.0.dist-info/LICENSE": b"MIT",
}
PATHS = ["toy/robot.urdf", "toy/meshes/*", "toy-1.0.dist-info/LICENSE"]


def wheel(folder: Path, tags: str = "py3-none-any", extra: dict[str, bytes] | None = None) -> Path:
    """A wheel that pip accepts."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"toy-1.0-{tags}.whl"
    info = {"METADATA": b"Metadata-Version: 2.1\nName: toy\nVersion: 1.0\nRequires-Dist: does-not-exist\n"}
    info["WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tags}\n".encode()
    info["RECORD"] = b""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**FILES, **{f"toy-1.0.dist-info/{k}": v for k, v in info.items()}, **(extra or {})}.items():
            archive.writestr(name, data)
    return path


def wheel_table(path: Path) -> dict[str, Any]:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {**_common(), "wheel": path.name, "sha256": sha256, "paths": PATHS}


def repository(folder: Path, link: bool = True) -> dict[str, Any]:
    """The table of a new git repository, which serves partial clones and asks for a filter when checked out."""
    folder.mkdir(parents=True)
    for name, data in {**FILES, ".gitattributes": b"* filter=evil\n", "toy/lines.txt": b"a\nb\n"}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "toy" / "robot.urdf").chmod(0o755)
    if link:
        (folder / "toy" / "link").symlink_to("/etc/hosts")
    git(folder, "init", "-q")
    git(folder, "config", "uploadpack.allowFilter", "true")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(folder, "-c", "core.autocrlf=false", "add", "--all")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "toy")
    commit = git(folder, "rev-parse", "HEAD")
    objects = {name: git(folder, "rev-parse", f"HEAD:{name}") for name in ("toy", "toy-1.0.dist-info")}
    paths = [*PATHS, "toy/lines.txt"]
    return {**_common(), "git": str(folder), "commit": commit, "objects": objects, "paths": paths}


def git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return result.stdout.strip()


def _common() -> dict[str, Any]:
    return {"version": "1.0", "megabytes": 0.1, "licence": "MIT", "licence_files": [], "homepage": ""}
