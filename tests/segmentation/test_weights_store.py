"""The store of weights: what goes in comes out unchanged, and what is wrong or hostile stays out."""

import json
import os
import pickle
import zipfile

import pytest
import torch

from segmentation import WeightsError, load_segmenter, weights_store
from segmentation.network import RobotNet, save_weights


@pytest.fixture(autouse=True)
def _own_cache(cache):
    """Every test has its own store."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mine.pt"
    save_weights(RobotNet(), path)
    return path


@pytest.fixture
def pretend(monkeypatch, tmp_path):
    """Files that are taken for weights of the model that their only key names."""
    real = weights_store.recognised
    monkeypatch.setattr(
        weights_store,
        "recognised",
        lambda state, path: next(iter(state))[6:] if next(iter(state)).startswith("model:") else real(state, path),
    )

    def make(model, value=0.0, file="w.pt"):
        path = tmp_path / file
        torch.save({"model": {f"model:{model}": torch.full((3,), value)}}, path)
        return path

    return make


def test_a_file_goes_in_and_is_found_by_its_name(weights, cache):
    entry = weights_store.add(weights)
    assert (entry.name, entry.model, entry.kind, entry.bytes) == ("mine", "default", "default", weights.stat().st_size)
    assert entry.path == cache / "weights" / "mine" / "weights.pt" and entry.path.read_bytes() == weights.read_bytes()
    assert entry.sha256 == weights_store.content_hash(weights) and entry.parameters > 3e6
    assert weights_store.entries() == [entry] and weights_store.find("mine") == entry.path
    assert load_segmenter("mine").parts == ("robot", "arm", "gripper")
    assert weights_store.add(weights) == entry  # again: nothing to do
    assert weights_store.add(weights, "other").name == "other" and len(weights_store.entries()) == 2


def test_names_by_model_and_what_the_short_names_stand_for(pretend):
    with pytest.raises(
        WeightsError, match=r"none were added; get robotseg\.pt by the links in https://github.com/show"
    ):
        weights_store.find("robotseg")
    robotseg = weights_store.add(pretend("robotseg"))
    assert robotseg.name == "robotseg" and weights_store.find("robotseg") == robotseg.path
    tiny = weights_store.add(pretend("sam2.1_hiera_t"))
    assert tiny.name == "sam2.1_hiera_t" and tiny.kind == "sam2"
    assert weights_store.find("sam2") == tiny.path == weights_store.find("sam2.1_hiera_t")
    weights_store.add(pretend("sam2_hiera_b+"))
    with pytest.raises(WeightsError, match=r"several were added; name one of sam2\.1_hiera_t, sam2_hiera_b\+"):
        weights_store.find("sam2")
    with pytest.raises(WeightsError, match="expected default, several, robotseg, sam2, one that was added"):
        weights_store.find("sam3")


def test_an_other_file_of_a_name_does_not_replace_the_first(pretend):
    first = weights_store.add(pretend("robotseg"))
    before = first.path.read_bytes()
    with pytest.raises(WeightsError, match="another file of that name was added") as error:
        weights_store.add(pretend("robotseg", 1.0))
    assert str(first.path.parent) in str(error.value) and first.path.read_bytes() == before
    second = weights_store.add(pretend("robotseg", 1.0), "robotseg-mine")
    assert weights_store.find("robotseg") == first.path and weights_store.find("robotseg-mine") == second.path


@pytest.mark.parametrize("name", ["default", "auto", "sam2", "../x", "", ".x", "a/b", "a b", "x" * 65, "-x"])
def test_names_that_would_confuse_are_refused(pretend, cache, name):
    with pytest.raises(WeightsError, match="--name"):
        weights_store.add(pretend("robotseg"), name)
    assert not (cache / "weights").exists()


def test_a_damaged_entry_is_noticed_and_mended(weights):
    entry = weights_store.add(weights)
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    entry.path.write_bytes(data)
    with pytest.raises(WeightsError, match="was damaged since it was added"):
        load_segmenter("mine")
    assert weights_store.add(weights) == entry and load_segmenter("mine")
    (entry.path.parent / "weights.json").write_text("{")
    assert weights_store.entries() == []
    assert weights_store.add(weights) == entry
    assert sorted(p.name for p in entry.path.parent.parent.iterdir()) == ["mine"]


def test_the_hash_follows_the_content(tmp_path, pretend):
    a = pretend("robotseg", 0.0)
    first = weights_store.content_hash(a)
    pretend("robotseg", 1.0)
    assert weights_store.content_hash(a) != first


class Evil:
    def __reduce__(self):
        return (print, ("this ran",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_hostile_and_broken_files_stay_out(tmp_path, cache, capsys, monkeypatch):
    (tmp_path / "code.pt").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "text.pt").write_text("no weights")
    (tmp_path / "empty.pt").touch()
    torch.save({"model": Evil()}, tmp_path / "wrapped.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({}, tmp_path / "nothing.pt")
    torch.save({"model": {"a": 1}}, tmp_path / "numbers.pt")
    torch.save({"model": {"a": torch.tensor([float("nan")])}}, tmp_path / "nan.pt")
    torch.save({"a": torch.zeros(1).expand(1 << 17, 1 << 17)}, tmp_path / "huge.pt")
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(1 << 20))
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    monkeypatch.setattr(weights_store, "MAX_BYTES", 1 << 19)
    names = ("code", "text", "empty", "wrapped", "list", "nothing", "numbers", "nan", "huge", "bomb", "other", "gone")
    for name in names:
        with pytest.raises(WeightsError) as error:
            weights_store.add(tmp_path / f"{name}.pt")
        assert f"{name}.pt" in str(error.value) and "\n" not in str(error.value), name
    (tmp_path / "big.pt").write_bytes(bytes((1 << 19) + 1))
    with pytest.raises(WeightsError, match="expected at most"):
        weights_store.add(tmp_path / "big.pt")
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(WeightsError, match="no such weights file"):
        weights_store.add(tmp_path / "pipe.pt")
    assert "this ran" not in capsys.readouterr().out and not (cache / "weights").exists()


def test_a_store_that_cannot_be_written_is_told(weights, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("URDFIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="cannot be written"):
        weights_store.add(weights)
    assert weights_store.entries() == []


def test_where_the_store_is(monkeypatch, tmp_path):
    monkeypatch.setenv("URDFIT_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert str(weights_store.store_folder()) == "/a/weights"
    monkeypatch.delenv("URDFIT_CACHE")
    assert str(weights_store.store_folder()) == "/b/urdfit/weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights_store.store_folder() == tmp_path / ".cache" / "urdfit" / "weights"


def test_cards_of_others_are_passed_over(cache, pretend):
    entry = weights_store.add(pretend("robotseg"))
    for name, text in {"a": "{", "b": "[]", "c": json.dumps({"name": "c"}), "d": "null"}.items():
        (cache / "weights" / name).mkdir()
        (cache / "weights" / name / "weights.json").write_text(text)
    assert weights_store.entries() == [entry]
