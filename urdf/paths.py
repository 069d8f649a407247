"""Where a description's mesh files are: package://, file://, absolute and relative names to checked paths."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from urdf.description import show
from urdf.errors import RobotError

MESH_TYPES = (".dae", ".stl", ".obj", ".glb", ".gltf", ".ply", ".off")
MAX_MESH_BYTES = 200_000_000
LEVELS = 6  # parent folders searched


@dataclass(frozen=True)
class Finder:
    """Resolves the file names in one description.

    Attributes:
        folder: the folder of the description.
        packages: ROS package name to its folder.
    """

    folder: Path
    packages: Mapping[str, Path] = field(default_factory=dict)

    def ancestors(self) -> list[Path]:
        """The description's folder and those above it, nearest first; never the root of the file system."""
        chain = [self.folder, *self.folder.parents][:LEVELS]
        return [p for p in chain if p != p.parent]

    def boundary(self) -> Path:
        """The folder that names with `..` may not leave: the package, else the folder above the URDF's."""
        for folder in self.ancestors():
            if (folder / "package.xml").is_file():
                return folder
        return self.folder.parent if self.folder.parent.parent != self.folder.parent else self.folder

    def package(self, name: str) -> Path | None:
        """The folder of a ROS package: from the map, else an ancestor of that name or a folder beside one."""
        if name in self.packages:
            return Path(self.packages[name])
        if not name or os.sep in name or name in (".", ".."):
            return None
        for folder in self.ancestors():
            if folder.name == name:
                return folder
            if os.path.isdir(folder / name):  # unlike Path.is_dir, False for names that are too long
                return folder / name
        return None

    def find(self, filename: str, link: str) -> Path:
        """The mesh file a link names.

        An explicit package wins; else the parent folders are searched, for package and relative names alike.

        Raises:
            RobotError: no such file, a name that leaves the package, another file type, or a file too large.
        """
        what = f"mesh {show(filename)} of link {show(link)}"
        tried = []
        for base, path in self._candidates(filename, what):
            full = Path(os.path.normpath(path))
            if base is not None and not full.is_relative_to(os.path.normpath(base)):
                raise RobotError(f"{what} leaves the description's folder {base}; keep meshes inside it")
            if os.path.isfile(full):
                return _checked(full, what)
            tried.append(str(full.parent))
        where = ", ".join(dict.fromkeys(tried)) or "no folder"
        raise RobotError(f"{what} was not found; looked in {where[:600]}")

    def _candidates(self, filename: str, what: str) -> list[tuple[Path | None, Path]]:
        """(folder that the path may not leave, path), in the order to try."""
        if "\0" in filename:
            raise RobotError(f"{what}: the name holds a zero byte")
        name = filename.replace("\\", "/")
        if name.startswith("file://"):
            return [(None, Path("/" + name[7:].lstrip("/")))]
        if name.startswith(("package://", "model://")):
            package, _, rest = name.split("://", 1)[1].partition("/")
            known = self.package(package)
            found: list[tuple[Path | None, Path]] = []
            if known is not None:
                found.append((known, known / rest))
            # a package unpacked under another name: its inner paths still hold
            return found + [(folder, folder / rest) for folder in self.ancestors()]
        if "://" in name:
            raise RobotError(f"{what}: only package:// and file:// are known")
        if name.startswith("/"):
            return [(None, Path(name))]
        boundary = self.boundary()
        if ".." in Path(name).parts:
            return [(boundary, self.folder / name)]
        return [(folder, folder / name) for folder in self.ancestors()]


def _checked(path: Path, what: str) -> Path:
    if path.suffix.lower() not in MESH_TYPES:
        raise RobotError(f"{what}: file type {path.suffix or 'none'} is not read; known are {' '.join(MESH_TYPES)}")
    if not os.access(path, os.R_OK):
        raise RobotError(f"{what}: {path} may not be read; check its permissions")
    size = path.stat().st_size
    if size > MAX_MESH_BYTES:
        raise RobotError(f"{what}: {size / 1e6:.0f} MB; a mesh file may have {MAX_MESH_BYTES // 10**6} MB")
    return path
