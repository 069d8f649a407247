"""Files out of archives that may be hostile, into a folder they cannot leave."""

from __future__ import annotations

import hashlib
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from fnmatch import fnmatchcase
from pathlib import Path

from urdf.errors import RobotError

MAX_MEMBERS = 20_000
MAX_BYTES = 400_000_000


def matching(path: str, patterns: Iterable[str]) -> bool:
    """Whether a path fits one of the patterns; * also matches /."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def safe_name(name: str, source: str) -> str:
    """The name of an archive member, relative and without `..`.

    Raises:
        RobotError: any other name.
    """
    parts = name.split("/")
    odd = any(part in ("", ".", "..") or part.endswith((".", " ")) for part in parts)
    if odd or any(c in '\\:*?"<>|' or ord(c) < 32 for c in name):
        raise RobotError(f"{source}: refused, it holds a file named {name[:100]!r}, which could leave its folder")
    return name


def zip_files(path: Path, patterns: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """(path, content) of the files in a zip that fit one of the patterns.

    Raises:
        RobotError: no zip or a damaged one; unsafe names, links, encryption, a name twice; too many or too large files.
    """
    source = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise RobotError(f"{source}: refused, {len(members)} files; {MAX_MEMBERS} are the most")
            for member in members:
                safe_name(member.filename.removesuffix("/"), source)
            wanted = [m for m in members if not m.is_dir() and matching(m.filename, patterns)]
            if len({m.filename for m in wanted}) != len(wanted):
                raise RobotError(f"{source}: refused, it holds a file twice")
            total = sum(m.file_size for m in wanted)
            if total > MAX_BYTES:
                raise RobotError(f"{source}: refused, {total / 1e6:.0f} MB unpacked; {MAX_BYTES // 10**6} are the most")
            for member in wanted:
                kind = stat.S_IFMT(member.external_attr >> 16)
                if kind not in (0, stat.S_IFREG):
                    raise RobotError(f"{source}: refused, {member.filename} is a link or a device")
                with archive.open(member) as stream:  # never gives more than file_size
                    yield member.filename, stream.read(member.file_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise RobotError(f"{source}: no usable zip archive ({error}); get the file again") from None


def executables(path: Path) -> set[str]:
    """The files of a zip that are marked as programs, which git's ids include."""
    with zipfile.ZipFile(path) as archive:
        return {m.filename for m in archive.infolist() if m.external_attr >> 16 & stat.S_IXUSR}


def write_files(
    folder: Path, files: Iterable[tuple[str, bytes]], patterns: Sequence[str], source: str
) -> dict[str, int]:
    """Write files into a folder.

    Returns:
        Path to size in bytes.

    Raises:
        RobotError: an unsafe or contradictory name, too much data, or a pattern that no file fits.
    """
    sizes: dict[str, int] = {}
    total = 0
    for name, data in files:
        path = folder / safe_name(name, source)
        total += len(data)
        if total > MAX_BYTES:
            raise RobotError(f"{source}: refused, over {MAX_BYTES // 10**6} MB")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise RobotError(f"{source}: refused, {name} is both a file and a folder") from None
        sizes[name] = len(data)
    empty = [pattern for pattern in patterns if not any(matching(name, [pattern]) for name in sizes)]
    if empty:
        raise RobotError(f"{source}: it holds nothing named {empty[0]}")
    return sizes


def object_id(files: Mapping[str, bytes], programs: Set[str], path: str) -> str:
    """The id git gives to a file, or to a folder of files (Git's object format: blob and tree, SHA-1).

    Args:
        files: path to content.
        programs: the paths with execute permission.
        path: the file or folder.

    Raises:
        RobotError: there is nothing at the path.
    """
    if path in files:
        return _hash("blob", files[path])
    names = {name[len(path) + 1 :].partition("/")[0] for name in files if name.startswith(f"{path}/")}
    if not names:
        raise RobotError(f"the archive holds no {path}")
    entries = []
    for name in names:
        inner = f"{path}/{name}"
        mode = "40000" if inner not in files else "100755" if inner in programs else "100644"
        order = name if inner in files else f"{name}/"
        content = f"{mode} {name}\0".encode() + bytes.fromhex(object_id(files, programs, inner))
        entries.append((order.encode(), content))
    return _hash("tree", b"".join(content for _, content in sorted(entries)))


def _hash(kind: str, data: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()
