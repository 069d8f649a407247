"""Damaged and hostile files: whatever bytes they hold, a reader answers with a user's error or an episode."""

import shutil

import numpy as np
import pytest
from test_dataset_lerobot import old_style
from test_dataset_readers import camera_json, droid, nerfstudio, write_clip

from flows.datasets import open_dataset
from flows.errors import user_errors
from flows.files import write_json

ROUNDS = 16
JUNK = [b"", b"{}", b"[]", b"null", b'{"frames": 3}', b"\x00" * 64, b"1e999", b"[" * 5000, b'"' * 9, b"PAR1" * 9]


def table(folder):
    write_clip(folder / "x.mp4", 2)
    write_json(folder / "c.json", camera_json())
    write_json(folder / "q.json", {"joint_names": ["a"], "q": [[0.0], [1.0]]})
    (folder / "episodes.csv").write_text("video,camera,joints,fps\nx.mp4,c.json,q.json,5\n")


def raw_droid(folder):
    droid(folder / "a")


CASES = {
    "manifest": (table, ["episodes.csv", "c.json", "q.json"], "episodes.csv"),
    "nerfstudio": (nerfstudio, ["transforms.json"], ""),
    "lerobot": (
        old_style,
        ["meta/info.json", "meta/episodes.jsonl", "data/chunk-000/episode_000000.parquet"],
        "",
    ),
    "droid": (raw_droid, ["a/metadata_a.json", "a/trajectory.h5"], ""),
}


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Junk, a cut, or a few changed, doubled or deleted bytes."""
    how = rng.integers(4)
    if how == 0:
        return JUNK[rng.integers(len(JUNK))]
    if how == 1:
        return data[: rng.integers(len(data))]
    out = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(len(out)))
        if how == 2:
            out[at] = int(rng.integers(256))
        else:
            stop = at + int(rng.integers(1, 12))
            out[at:stop] = out[at:stop] * int(rng.integers(0, 3))
    return bytes(out)


@pytest.mark.parametrize("kind", CASES)
def test_mutated_files_never_crash_a_reader(kind, tmp_path):
    build, names, entry = CASES[kind]
    clean = tmp_path / "clean"
    clean.mkdir()
    build(clean)
    rng = np.random.default_rng(0)
    read = problems = 0
    for i in range(ROUNDS):
        folder = shutil.copytree(clean, tmp_path / "mutated")
        name = names[i % len(names)]
        (folder / name).write_bytes(mutated((clean / name).read_bytes(), rng))
        try:
            for item in open_dataset(folder / entry, kind):
                read += 1
                problems += hasattr(item, "reason")
        except user_errors() as error:
            assert "\n" not in str(error)
            problems += 1
        shutil.rmtree(folder)
    assert read > 0 and problems > ROUNDS // 4  # neither everything nor nothing was refused
