import re

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from flows.actions import integrate_actions
from flows.episode import write_episode


@pytest.fixture
def slow_episode(make_episode, clip):
    """The clip at a tenth of its speed: an arm that could be real."""
    return lambda: make_episode(time_s=np.arange(len(clip.q)) / 1.0, alternatives=())


LOOSE = ("--max-gap", 5, "--smooth", 0)


def test_help_has_an_example(urdfit):
    code, out, _ = urdfit("export", "--help")
    assert code == 0 and "Example: urdfit export" in " ".join(out.split())


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_tables(slow_episode, tmp_path, urdfit, format):
    for name in ("a", "b"):
        write_episode(slow_episode(), tmp_path / "episodes" / name)
    out = tmp_path / f"actions.{format}"
    code, text, _ = urdfit("export", tmp_path / "episodes", "--format", format, "-o", out, "--space", "ee", *LOOSE)
    assert code == 0 and "exported 2 of 2 episodes, 16 rows" in text
    table = pq.read_table(out) if format == "parquet" else pyarrow.csv.read_csv(out)
    assert len(table) == 16 and len(set(table["episode"].to_pylist())) == 2
    actions = np.stack([table[n].to_numpy()[:8] for n in table.column_names if n.startswith("action_")], 1)
    place = np.stack([table[f"ee_{a}"].to_numpy()[:8] for a in "xyz"], 1)
    first = np.eye(4)
    first[:3, 3] = place[0]
    np.testing.assert_allclose(integrate_actions(first, actions)[:, :3, 3], place, atol=1e-9)
    assert table["valid"].to_pylist()[:8] == [True] * 3 + [False] * 2 + [True] * 3


def test_a_data_set(slow_episode, clip, tmp_path, urdfit):
    write_episode(slow_episode(), tmp_path / "a")
    out = tmp_path / "set"
    common = ("export", tmp_path / "a", "-o", out, *LOOSE)
    code, _, err = urdfit(*common)
    assert code == 1 and "SHA-256" in err and not out.exists()  # the fixture states another hash
    assert urdfit(*common, "--no-images")[0] == 0 and (out / "meta" / "info.json").is_file()
    code, _, err = urdfit(*common, "--no-images")
    assert code == 1 and "--append" in err
    code, text, _ = urdfit(*common, "--no-images", "--append")
    assert code == 0 and "already there" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("--format", "tfrecord"),
        ("--format", "csv", "--append"),
        ("--format", "csv", "-o", "x.parquet"),
        ("--size", "320"),
        ("--size", "0x10"),
        ("--max-sigma", "5"),
        ("--fps", "0"),
        ("--space", "outer"),
        ("--binary-gripper",),
        ("--cam", "a/b"),
    ],
)
def test_bad_usage_is_exit_code_2(urdfit, tmp_path, arguments):
    code, _, err = urdfit("export", tmp_path, "-o", tmp_path / "x.csv", *arguments)
    assert code == 2 and re.fullmatch(r"urdfit: error: [^\n]+\n", err)


def test_nothing_left_to_write(make_episode, tmp_path, urdfit):
    write_episode(make_episode(iou=np.full(8, 0.2)), tmp_path / "a")
    for format, out in (("csv", "x.csv"), ("lerobot", "x")):
        code, text, err = urdfit("export", tmp_path / "a", "--format", format, "-o", tmp_path / out, *LOOSE)
        assert code == 1 and "overlaps" in text + err and "error" in err and not (tmp_path / out).exists()


def test_dataset_lists_episodes_and_problems(urdfit, tmp_path):
    code, out, _ = urdfit("dataset", "--help")
    assert code == 0 and "Example: urdfit dataset" in " ".join(out.split())
    (tmp_path / "a.mp4").write_bytes(b"not opened here")
    (tmp_path / "a.txt").write_text("push")
    code, out, _ = urdfit("dataset", tmp_path)
    assert code == 0 and "videos: 1 episodes" in out and "push" in out
    (tmp_path / "cam.json").write_text("{}")
    code, _, err = urdfit("dataset", tmp_path)
    assert code == 1 and re.fullmatch(r"urdfit: error: a.mp4: [^\n]+\n", err)
    assert urdfit("dataset", tmp_path / "gone")[0] == 1 and urdfit("dataset", tmp_path, "--kind", "x")[0] == 2
