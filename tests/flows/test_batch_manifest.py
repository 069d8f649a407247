"""The manifest: whatever is appended is there, in order, each row once; also after kills, merges and damage."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flows.batch.manifest
from flows.batch.manifest import Manifest
from flows.errors import FlowError


@pytest.fixture
def small_merges(monkeypatch):
    monkeypatch.setattr(flows.batch.manifest, "FANOUT", 4)


def opened(folder: Path) -> Manifest:
    manifest = Manifest(folder)
    manifest.lock()
    return manifest


def test_rows_come_back_in_order_through_merges_and_restarts(tmp_path, small_merges):
    for number in range(70):
        if number % 7 == 0:
            manifest = opened(tmp_path)
        manifest.append({"id": f"e{number % 50}", "status": "done", "stages_s": {"fit": number}, "total_s": number})
        if number % 7 == 6:
            manifest.close()
    rows = Manifest(tmp_path).table().to_pylist()
    assert [row["total_s"] for row in rows] == list(range(70)) and len(Manifest(tmp_path)) == 70
    assert rows[69]["stages_s"] == [("fit", 69.0)]
    latest = {row["id"]: row["total_s"] for row in Manifest(tmp_path).latest(["total_s"])}
    assert len(latest) == 50 and latest["e0"] == 50 and latest["e49"] == 49
    assert len(list(tmp_path.glob("rows-*"))) < 12  # 70 = 64 + 4 + 1 + 1


@given(st.lists(st.tuples(st.text(min_size=1), st.text(), st.floats(width=32, allow_nan=False)), max_size=12))
@settings(max_examples=20, deadline=None)
def test_any_text_survives(tmp_path_factory, entries):
    manifest = opened(tmp_path_factory.mktemp("m"))
    entries = [(i.encode(errors="replace").decode(), e.encode(errors="replace").decode(), n) for i, e, n in entries]
    for id, error, number in entries:
        manifest.append({"id": id, "error": error, "total_s": number})
    manifest.close()
    assert [(r["id"], r["error"], r["total_s"]) for r in manifest.table().to_pylist()] == entries


def test_what_a_killed_merge_leaves_counts_once(tmp_path, small_merges):
    manifest = opened(tmp_path)
    for number in range(3):
        manifest.append({"id": str(number)})
    shutil.copytree(tmp_path, tmp_path.parent / "before")
    manifest.append({"id": "3"})  # merges
    for file in (tmp_path.parent / "before").glob("rows-*"):
        shutil.copy(file, tmp_path)  # the merged file is there, the old ones are not yet deleted
    (tmp_path / ".rows-0000000004-0000000004.abcd.parquet").write_bytes(b"half")
    assert [r["id"] for r in Manifest(tmp_path).table().to_pylist()] == list("0123")
    manifest.close()
    again = opened(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lock", "rows-0000000000-0000000003.parquet"]
    again.append({"id": "4"})
    assert [r["id"] for r in again.table().to_pylist()] == list("01234")


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "bits"])
def test_a_damaged_file_is_set_aside_and_the_others_count(tmp_path, damage):
    manifest = opened(tmp_path)
    for number in range(3):
        manifest.append({"id": str(number), "error": "x" * 500})
    manifest.close()
    file = tmp_path / "rows-0000000001-0000000001.parquet"
    data = bytearray(file.read_bytes())
    data[20:30] = b"\xff" * 10
    file.write_bytes({"cut": bytes(data[:200]), "noise": b"noise", "empty": b"", "bits": bytes(data)}[damage])
    with pytest.raises(FlowError, match="not a readable table"):
        Manifest(tmp_path).table()
    again = Manifest(tmp_path)
    assert again.lock() == ["rows-0000000001-0000000001.parquet"]
    again.append({"id": "3"})
    assert [r["id"] for r in again.table().to_pylist()] == ["0", "2", "3"]
    assert len(list(tmp_path.glob("damaged-*"))) == 1


def test_other_files_and_absent_folders_do_no_harm(tmp_path):
    assert Manifest(tmp_path / "none").table().num_rows == 0 and not Manifest(tmp_path / "none").busy()
    for name in ("rows-1-2.parquet", "rows-0000000005-0000000001.parquet", "notes.txt"):
        (tmp_path / name).touch()
    assert len(Manifest(tmp_path)) == 0
    assert opened(tmp_path).folder == tmp_path


KILLED = """
import sys
import flows.batch.manifest as m
m.FANOUT = 4
manifest = m.Manifest(sys.argv[1])
manifest.lock()
for number in range(len(manifest), 10**6):
    manifest.append({"id": str(number)})
    print(number, flush=True)
"""


def test_a_writer_killed_at_any_moment_loses_nothing_it_told(tmp_path):
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        told = -1
        for _ in range(15):
            told = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().split()
        process.wait()
        told = int(rest[-1]) if rest else told
        rows = [int(r["id"]) for r in Manifest(tmp_path).table().to_pylist()]
        assert rows == list(range(len(rows))) and len(rows) in (told + 1, told + 2)
