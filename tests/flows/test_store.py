import os
import time

import pytest

from flows.store import MANIFEST, code_version, keep, open_product, product_folder, prune

pytestmark = pytest.mark.usefixtures("cache")


def test_a_product_is_built_once():
    built = []

    def build(folder):
        built.append(folder)
        (folder / "deep").mkdir()
        (folder / "deep" / "a").write_text("a")

    first, second = keep("s", "k", build), keep("s", "k", build)
    assert len(built) == 1 and not first.reused and second.reused
    assert first.digest == second.digest and (second.folder / "deep" / "a").read_text() == "a"
    keep("s", "other", build)
    assert len(built) == 2


@pytest.mark.parametrize("harm", ["changed", "deleted", "added", "no manifest", "garbled manifest"])
def test_a_damaged_product_is_built_again(harm):
    def build(folder):
        (folder / "a").write_text("right")

    folder = keep("s", "k", build).folder
    if harm == "changed":
        (folder / "a").write_text("wrong")
    elif harm == "deleted":
        (folder / "a").unlink()
    elif harm == "added":
        (folder / "b").touch()
    elif harm == "no manifest":
        (folder / MANIFEST).unlink()
    else:
        (folder / MANIFEST).write_text("{")
    assert open_product(folder) is None
    again = keep("s", "k", build)
    assert not again.reused and (again.folder / "a").read_text() == "right"
    assert sorted(p.name for p in folder.iterdir()) == ["a", MANIFEST]


def test_a_failed_build_leaves_nothing(cache):
    def build(folder):
        (folder / "half").touch()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        keep("s", "k", build)
    assert not product_folder("s", "k").exists() and list((cache / "stages").iterdir()) == []


def test_prune_deletes_what_was_used_longest_ago():
    for i in range(4):
        folder = keep("s", str(i), lambda out: (out / "a").write_bytes(bytes(1000))).folder
        os.utime(folder / MANIFEST, (time.time() - 10000 + i,) * 2)
    assert prune(limit_gb=2.5e-6) == 2
    assert [product_folder("s", str(i)).exists() for i in range(4)] == [False, False, True, True]
    keep("s", "3", lambda out: None)  # used now: stays whatever the limit
    assert prune(limit_gb=0) == 1 and product_folder("s", "3").exists()


def test_the_code_version_follows_the_sources(tmp_path):
    assert code_version("flows") == code_version("flows")
    assert code_version("flows/store.py") != code_version("flows/files.py")
