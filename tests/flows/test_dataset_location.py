import os

import numpy as np
import pytest
from test_dataset_readers import numbers_of, write_clip

from flows.datasets import open_dataset
from flows.datasets.location import inside, make_room, open_location
from flows.errors import FlowError


@pytest.fixture
def remote(tmp_path, cache):
    """A folder behind a URL: fsspec's file system in memory."""
    fsspec = pytest.importorskip("fsspec")
    fs = fsspec.filesystem("memory")
    fs.rm("/", recursive=True) if fs.ls("/") else None
    for name, count in (("a.mp4", 3), ("b.mp4", 5)):
        fs.pipe(f"/bucket/clips/{name}", write_clip(tmp_path / name, count).read_bytes())
    fs.pipe("/bucket/secret.mp4", b"x")
    fs.pipe("/bucket/clips/b.txt", b"push\n")
    return fs


def test_a_url_reads_like_a_folder_and_fetches_only_what_is_asked_for(remote, cache, monkeypatch):
    fetched = []
    real = type(remote).get_file
    monkeypatch.setattr(
        type(remote), "get_file", lambda self, a, b, **k: fetched.append(a.split("/")[-1]) or real(self, a, b, **k)
    )
    dataset = open_dataset("memory://bucket/clips")
    first, second = dataset
    assert [first.id, second.id, second.task] == ["a.mp4", "b.mp4", "push"] and fetched == ["b.txt"]
    for _ in range(2):
        assert numbers_of(second.view().open()) == [0, 1, 2, 3, 4]
    assert fetched == ["b.txt", "b.mp4"]
    remote.pipe("/bucket/clips/b.mp4", second.view().files()[0].read_bytes() + b"\0")  # another file, same name
    open_dataset("memory://bucket/clips").episode("b.mp4").view().files()
    assert fetched == ["b.txt", "b.mp4", "b.mp4"]


def test_the_cache_is_kept_small_but_for_what_is_in_use(remote, cache, monkeypatch):
    old, new = (open_location("memory://bucket/clips").local(name) for name in ("a.mp4", "b.mp4"))
    monkeypatch.setenv("URDFIT_CACHE_GB", "0")
    assert make_room() == 0  # both were used just now
    os.utime(old, (0, 0))
    open_location("memory://bucket/clips")
    assert not old.exists() and new.exists()
    assert open_location("memory://bucket/clips").local("a.mp4").exists()


def test_a_manifest_behind_a_url_stays_in_its_folder(remote):
    remote.pipe("/bucket/clips/episodes.csv", b"video\na.mp4\n../secret.mp4\n/bucket/secret.mp4\n")
    items = list(open_dataset("memory://bucket/clips/episodes.csv"))
    assert numbers_of(items[0].view().open()) == [0, 1, 2]
    assert all("not inside" in problem.reason for problem in items[1:])


def test_what_cannot_be_reached_is_told_in_one_line(remote):
    with pytest.raises(FlowError, match="no such file"):
        open_location("memory://bucket").local("gone.mp4")
    with pytest.raises(FlowError, match=r"cannot be opened|needs the package"):
        open_location("nosuchprotocol://x/y")


def test_the_message_names_the_driver_to_install(monkeypatch):
    import fsspec

    def absent(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", absent)
    with pytest.raises(FlowError, match="pip install s3fs"):
        open_location("s3://some-bucket/x")


def test_names_stay_inside():
    assert inside("./a/b.png", "x") == "a/b.png"
    for name in ("../a", "a/../../b", "/etc/passwd", "..\\a", "", "a\0b"):
        with pytest.raises(FlowError, match="not inside"):
            inside(name, "x")


def test_natural_order_and_hidden_files(tmp_path):
    for name in ("f10.x", "f9.x", ".f1.x", "d/.h/f.x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert open_location(tmp_path).find("**/*.x") == ["f9.x", "f10.x"]
    assert not np.any([open_location(tmp_path).has(n) for n in ("gone", "d")])
