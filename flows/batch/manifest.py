"""The manifest: a table of all attempts at the episodes of a batch; the last row of an id says how it stands.

    manifest/rows-FIRST-LAST.parquet     rows FIRST..LAST, counted from 0
    manifest/lock                        held by the one process that writes

Every row is a file of its own the moment it is known, written under a temporary name and renamed. 256 files of about
one size are merged into one, so there are never more than some hundred, and a row is rewritten once a level. A merge
writes the new file first and then deletes the old ones: a killed one leaves files that lie within another's range,
which readers pass over. So whatever happens, the rows are there, each once.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.errors import FlowError
from flows.files import atomic_path, make_folder

FANOUT = 256
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("status", pa.string()),
        ("attempt", pa.int32()),
        ("key", pa.string()),
        ("content", pa.string()),
        ("stamp", pa.string()),
        ("folder", pa.string()),
        ("error", pa.string()),
        ("cause", pa.string()),
        ("frames", pa.int32()),
        ("mean_iou", pa.float32()),
        ("lowest_iou", pa.float32()),
        ("valid_fraction", pa.float32()),
        ("total_s", pa.float32()),
        ("stages_s", pa.map_(pa.string(), pa.float32())),
        ("peak_mb", pa.float32()),
        ("rss_mb", pa.float32()),
        ("worker", pa.string()),
        ("digest", pa.string()),
        ("started", pa.float64()),
    ]
)
_NAME = re.compile(r"rows-(\d{10})-(\d{10})\.parquet")


class Manifest:
    """The rows in a folder; open for reading, or with `lock` for the one who writes."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._lock: int | None = None
        self._next = 0
        self._pieces: list[tuple[int, int]] = []

    def lock(self) -> list[str]:
        """Become the one process that writes; ends with `close` or the process, however it ends.

        Files that cannot be read are set aside as `damaged-...`; what they said of episodes is found again in the
        episodes' folders. Returns their names.

        Raises:
            FlowError: another process is writing, or the folder cannot be written.
        """
        make_folder(self.folder)
        try:
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._lock or 0, 32).decode(errors="replace").strip()
            self.close()
            raise FlowError(
                f"{self.folder.parent}: another batch is writing there (process {owner or '?'}); "
                "wait for it, or give another --out"
            ) from None
        except OSError as error:
            raise FlowError(f"{self.folder}: cannot be written ({error.strerror or error})") from None
        os.truncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)
        return self._tidy()

    def busy(self) -> bool:
        """Is another process writing?"""
        try:
            file = os.open(self.folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            return True
        finally:
            os.close(file)

    def close(self) -> None:
        """Let others write."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def append(self, row: dict[str, Any]) -> None:
        """Add a row; it is safe when this returns. Entries that are missing are null.

        Raises:
            FlowError: it cannot be written; its cause is the OSError.
        """
        assert self._lock is not None, "lock() comes before append()"
        table = pa.Table.from_pylist([row], SCHEMA)
        self._write(table, self._next, self._next)
        self._next += 1
        self._merge()

    def table(self, columns: list[str] | None = None) -> pa.Table:
        """All rows in the order they were written, or some columns of them; one column costs only itself.

        Raises:
            FlowError: a file is damaged or missing.
        """
        for _ in range(5):
            pieces = _pieces(self.folder)
            try:
                tables = [self._read(first, last, columns) for first, last in pieces]
            except FileNotFoundError:  # merged by the writer in the meantime
                continue
            return pa.concat_tables([_schema(columns).empty_table(), *tables])
        raise FlowError(f"{self.folder}: changes faster than it can be read; try again")

    def latest(self, columns: list[str]) -> Iterator[dict[str, Any]]:
        """The last row of every id, with the columns asked for, in the order in which ids first came."""
        table = self.table(["id", *[c for c in columns if c != "id"]])
        last: dict[str, int] = {}
        for number, id in enumerate(table["id"].to_pylist()):
            last[id] = number
        rows = table.take(pa.array(list(last.values()), pa.int64()))
        for batch in rows.to_batches(max_chunksize=4096):
            yield from batch.to_pylist()

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in _pieces(self.folder))

    def _read(self, first: int, last: int, columns: list[str] | None) -> pa.Table:
        path = self._path(first, last)
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                table = file.read(columns=columns, use_threads=False).cast(_schema(columns))
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            raise FlowError(f"{path}: not a readable table ({' '.join(str(error).split())[:200]})") from None
        if not 0 < len(table) <= last - first + 1:
            raise FlowError(f"{path}: {len(table)} rows, its name says {last - first + 1}; it is damaged")
        return table

    def _path(self, first: int, last: int) -> Path:
        return self.folder / f"rows-{first:010d}-{last:010d}.parquet"

    def _write(self, table: pa.Table, first: int, last: int) -> None:
        with atomic_path(self._path(first, last)) as temporary:
            pq.write_table(table, temporary, row_group_size=65536, write_page_checksum=True)
        self._pieces.append((first, last))

    def _merge(self) -> None:
        """Merge the last FANOUT files while they are of one level."""
        while len(self._pieces) >= FANOUT:
            pieces = self._pieces[-FANOUT:]
            sizes = {last - first for first, last in pieces}
            if len(sizes) > 1:
                return
            self._merge_pieces(pieces)

    def _merge_pieces(self, pieces: list[tuple[int, int]]) -> None:
        table = pa.concat_tables([self._read(*piece, None) for piece in pieces])
        del self._pieces[-len(pieces) :]
        self._write(table, pieces[0][0], pieces[-1][1])
        for piece in pieces:
            self._path(*piece).unlink(missing_ok=True)

    def _tidy(self) -> list[str]:
        """Remove what a killed writer left, set aside what cannot be read, and go on after the last row."""
        for stale in self.folder.glob(".rows-*"):
            stale.unlink(missing_ok=True)
        damaged = []
        for piece in _pieces(self.folder):
            try:
                self._read(*piece, None)
            except FlowError:
                path = self._path(*piece)
                path.rename(path.with_name(f"damaged-{time.time_ns()}-{path.name}"))
                damaged.append(path.name)
        self._pieces = _pieces(self.folder)
        whole = {self._path(*piece).name for piece in self._pieces}
        for path in self.folder.glob("rows-*.parquet"):
            if _NAME.fullmatch(path.name) and path.name not in whole:
                path.unlink(missing_ok=True)
        self._next = self._pieces[-1][1] + 1 if self._pieces else 0
        return damaged


def _schema(columns: list[str] | None) -> pa.Schema:
    return SCHEMA if columns is None else pa.schema([SCHEMA.field(c) for c in columns])


def _pieces(folder: Path) -> list[tuple[int, int]]:
    """(first, last) row of every file that counts, in order."""
    found = []
    for name in os.listdir(folder) if folder.is_dir() else ():
        match = _NAME.fullmatch(name)
        if match and int(match[1]) <= int(match[2]):
            found.append((int(match[1]), int(match[2])))
    found.sort(key=lambda piece: (piece[0], -piece[1]))
    pieces: list[tuple[int, int]] = []
    for first, last in found:
        if pieces and first <= pieces[-1][1]:
            continue  # within the one before: merged already
        pieces.append((first, last))
    return pieces
