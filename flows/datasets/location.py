"""Files of a data set, wherever it lies: a local folder, or a URL that fsspec opens, fetched file by file when needed.

Fetched files are kept in the user's cache under the identity that the remote system states (fsspec's `ukey`: checksum,
or size and time), so a changed file is fetched again, an unchanged one never. The cache is kept below
$URDFIT_CACHE_GB (10 by default); what was used in the last hour stays.
"""

from __future__ import annotations

import hashlib
import os
import time
from abc import ABC, abstractmethod
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from flows.errors import FlowError
from flows.files import atomic_path, cache_folder
from flows.store import cache_limit
from segmentation.video import natural_key

MAX_JSON = 256 * 2**20  # bytes of a file that is read as a whole
DRIVERS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub", "az": "adlfs", "abfs": "adlfs"}


class Location(ABC):
    """A folder. Names are relative POSIX paths that stay inside it.

    Attributes:
        name: what messages call it.
    """

    name: str

    @abstractmethod
    def find(self, pattern: str) -> list[str]:
        """Names of files that match a glob pattern (`**` crosses folders), in natural order; hidden ones left out."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Is there such a file?"""

    @abstractmethod
    def local(self, name: str) -> Path:
        """A local path with the file's content; raises FlowError where there is no such file."""

    def stamp(self, name: str) -> str | None:
        """Size and time of a file or folder, to tell cheaply that it has changed; None where that is not cheap."""
        return None

    def read(self, name: str, limit: int = MAX_JSON) -> bytes:
        """The content of a file of at most `limit` bytes.

        Raises:
            FlowError: no such file, or a larger one.
        """
        path = self.local(name)
        size = path.stat().st_size
        if size > limit:
            raise FlowError(f"{self.name}/{name}: {size / 2**20:.0f} MiB; expected at most {limit / 2**20:.0f}")
        return path.read_bytes()


def inside(name: str, source: str) -> str:
    """The name, cleaned of `./`, once it is clear that it leads to a place inside its folder.

    Raises:
        FlowError: it is absolute or climbs out, as no honest data set's does.
    """
    path = PurePosixPath(str(name).replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in str(name):
        raise FlowError(f"{source}: names the file {name!r}, which is not inside the data set")
    return path.as_posix()


def open_location(path: str | Path) -> Location:
    """A local folder or a URL such as s3://bucket/folder.

    Raises:
        FlowError: no such folder, or fsspec or the driver of that kind of URL is not installed.
    """
    text = str(path)
    if "://" in text:
        return RemoteFolder(text)
    if not Path(path).is_dir():
        raise FlowError(f"{path}: no such folder")
    return LocalFolder(Path(path))


class LocalFolder(Location):
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)

    def find(self, pattern: str) -> list[str]:
        found = (p.relative_to(self.path) for p in self.path.glob(pattern) if p.is_file())
        return [p.as_posix() for p in sorted(_shown(found), key=_natural)]

    def has(self, name: str) -> bool:
        return (self.path / inside(name, self.name)).is_file()

    def local(self, name: str) -> Path:
        path = self.path / inside(name, self.name)
        if not path.is_file():
            raise FlowError(f"{path}: no such file")
        return path

    def stamp(self, name: str) -> str | None:
        try:
            stat = os.stat(f"{self.path}/{inside(name, self.name)}")
        except OSError:
            return "none"
        return f"{stat.st_size}:{stat.st_mtime_ns}"


class RemoteFolder(Location):
    """A folder behind a URL."""

    def __init__(self, url: str) -> None:
        self.name = url.rstrip("/")
        self._fs, self._root = _connect(self.name)
        make_room()

    def find(self, pattern: str) -> list[str]:
        with _explained(self.name):
            found = self._fs.glob(f"{self._root}/{pattern}", detail=True)
        names = [p[len(self._root) + 1 :] for p, info in found.items() if info.get("type") == "file"]
        return [p.as_posix() for p in sorted(_shown(PurePosixPath(n) for n in names), key=_natural)]

    def has(self, name: str) -> bool:
        with _explained(self.name):
            return bool(self._fs.isfile(f"{self._root}/{inside(name, self.name)}"))

    def local(self, name: str) -> Path:
        remote = f"{self._root}/{inside(name, self.name)}"
        with _explained(f"{self.name}/{name}"):
            identity = f"{self.name}/{name}\n{self._fs.ukey(remote)}"
        digest = hashlib.sha256(identity.encode()).hexdigest()
        path = cache_folder() / "fetched" / digest[:2] / digest / PurePosixPath(name).name
        if not path.exists():
            with atomic_path(path) as temporary, _explained(f"{self.name}/{name}"):
                self._fs.get_file(remote, str(temporary))
        os.utime(path)
        return path


def make_room() -> int:
    """Delete fetched files used longest ago until the cache of them is below its limit; returns how many went."""
    limit = cache_limit()
    files = [(p.stat(), p) for p in (cache_folder() / "fetched").glob("*/*/*") if p.is_file()]
    total, gone = sum(stat.st_size for stat, _ in files), 0
    for stat, path in sorted(files, key=lambda entry: entry[0].st_mtime):
        if total <= limit * 1e9 or stat.st_mtime > time.time() - 3600:
            break
        path.unlink(missing_ok=True)
        total, gone = total - stat.st_size, gone + 1
    return gone


class _explained:
    """Whatever a remote file system raises, as one line."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, FlowError) or not isinstance(error, Exception):
            return
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"{type(error).__name__}: {error}"
        # connections fail and come back: the cause tells, see flows.batch.worker
        cause = ConnectionError(reason) if _may_pass(error) else None
        raise FlowError(f"{self._name}: cannot be read ({' '.join(reason.split())[:300]})") from cause


def _may_pass(error: Exception) -> bool:
    return not isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError | IsADirectoryError)


@lru_cache(maxsize=16)
def _connect(url: str) -> tuple[Any, str]:
    """fsspec's file system and the path in it."""
    try:
        import fsspec
    except ImportError:
        raise FlowError(f"{url}: URLs need the package fsspec; pip install 'urdfit[remote]'") from None
    protocol = url.split("://")[0].split("::")[-1]
    try:
        fs, root = fsspec.core.url_to_fs(url)
    except ImportError:
        driver = DRIVERS.get(protocol, f"that fsspec names for {protocol}://")
        raise FlowError(f"{url}: {protocol}:// needs the package {driver}; pip install {driver}") from None
    except Exception as error:
        raise FlowError(f"{url}: cannot be opened ({type(error).__name__}: {' '.join(str(error).split())})") from None
    return fs, str(root).rstrip("/")


def _shown(paths: Any) -> Any:
    return (p for p in paths if not any(part.startswith(".") for part in p.parts))


def _natural(path: Any) -> list:
    return [natural_key(Path(part)) for part in path.parts]
