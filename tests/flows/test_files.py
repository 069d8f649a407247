import os
import time
from pathlib import Path

import numpy as np
import pytest

from flows.errors import FlowError
from flows.files import atomic_folder, atomic_path, read_json, sha256_path, write_json


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_an_error_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_the_new_file_replaces_the_old_one(tmp_path):
    target = tmp_path / "deep" / "a.txt"
    for text in ("one", "two"):
        with atomic_path(target) as temporary:
            assert temporary.suffix == ".txt"
            temporary.write_text(text)
        assert target.read_text() == text and names(target.parent) == ["a.txt"]


@pytest.mark.parametrize("old", [True, False])
def test_a_folder_is_swapped_whole(tmp_path, old):
    target = tmp_path / "f"
    if old:
        target.mkdir()
        (target / "old").touch()
    with pytest.raises(RuntimeError), atomic_folder(target) as temporary:
        (temporary / "half").touch()
        raise RuntimeError
    assert target.exists() == old and (not old or names(target) == ["old"])
    with atomic_folder(target) as temporary:
        (temporary / "new").touch()
    assert names(target) == ["new"] and names(tmp_path) == ["f"]


def test_a_folder_is_swapped_where_the_system_has_no_exchange(tmp_path, monkeypatch):
    import ctypes

    def absent(*args, **kwargs):
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", absent)
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "old").touch()
    with atomic_folder(tmp_path / "f") as temporary:
        (temporary / "new").touch()
    assert names(tmp_path / "f") == ["new"] and names(tmp_path) == ["f"]


def test_json_has_no_nan(tmp_path):
    write_json(
        tmp_path / "a.json",
        {"a": np.array([1.0, np.nan]), "b": float("inf"), "c": (1, np.int64(2)), "d": Path("x")},
    )
    assert read_json(tmp_path / "a.json") == {"a": [1.0, None], "b": None, "c": [1, 2], "d": "x"}


def test_unreadable_json_and_folders_in_the_way(tmp_path):
    (tmp_path / "a.json").write_text("{'a'")
    for path in ("a.json", "none.json"):
        with pytest.raises(FlowError, match=path):
            read_json(tmp_path / path)
    with pytest.raises(FlowError), atomic_path(tmp_path / "a.json" / "b.txt"):
        pass


def test_the_hash_of_a_folder_is_of_names_and_contents(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(b"1")
    assert sha256_path(tmp_path / "a") == sha256_path(tmp_path / "b")
    (tmp_path / "a" / ".hidden").touch()
    assert sha256_path(tmp_path / "a") == sha256_path(tmp_path / "b")
    os.rename(tmp_path / "a" / "x.png", tmp_path / "a" / "y.png")
    assert sha256_path(tmp_path / "a") != sha256_path(tmp_path / "b")


def test_what_killed_runs_left_is_cleared_after_a_day(tmp_path):
    for name, age in ((".f.dead.tmp", 90000), (".f.live.tmp", 10), (".g.dead.tmp", 90000)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    with atomic_folder(tmp_path / "f"):
        pass
    assert names(tmp_path) == [".f.live.tmp", ".g.dead.tmp", "f"]


def test_a_folder_can_stay(tmp_path):
    (tmp_path / "f").mkdir()
    with atomic_folder(tmp_path / "f", leave=lambda: True) as temporary:
        (temporary / "new").touch()
    assert names(tmp_path) == ["f"] and names(tmp_path / "f") == []
