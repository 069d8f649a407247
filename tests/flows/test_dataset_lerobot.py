"""LeRobot data sets: our own export comes back as it went in, v2.1 reads the same, damaged ones are refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flow_cases import FPS
from test_dataset_readers import numbers_of, write_clip

from flows.datasets import Problem, open_dataset
from flows.episode import write_episode
from flows.errors import FlowError
from flows.exporting.action_extraction import ExtractionSettings
from flows.exporting.action_quality import QualityLimits
from flows.exporting.job import export_lerobot
from flows.exporting.settings import ExportSettings
from flows.files import read_json, sha256_file, write_json

SETTINGS = ExportSettings(
    cam="front",
    extraction=ExtractionSettings(half_window=0.0, least_seconds=0.1, max_gap=0.1),
    limits=QualityLimits(max_speed=50.0, max_turn=50.0),
)


@pytest.fixture
def exported(make_episode, clip, tmp_path) -> Path:
    """The clip twice, each cut in two by its lost frames: four episodes of three frames, two blocks."""
    out = tmp_path / "set"
    for i in range(2):
        source = {"path": str(clip.video), "sha256": sha256_file(clip.video)}
        folder = write_episode(
            make_episode(source=source, alternatives=(), q=make_episode().q + 0.01 * i), tmp_path / f"e{i}"
        )
        settings = ExportSettings(**{**vars(SETTINGS), "append": i > 0, "task": f"task {i}"})
        export_lerobot([folder], out, settings)
    return out


def test_what_was_exported_is_read_back(exported, clip, clip_images):
    episodes = list(open_dataset(exported))
    assert [e.id for e in episodes] == [f"episode_{i:06d}" for i in range(4)]
    assert [e.task for e in episodes] == ["task 0", "task 0", "task 1", "task 1"]
    for episode, frames in zip(episodes, ([0, 1, 2], [5, 6, 7]) * 2):
        view = episode.view("front")
        shown = [f.image for f in view.open()]
        nearest = [int(np.argmin([np.abs(s.astype(int) - c).mean() for c in clip_images])) for s in shown]
        assert nearest == frames and view.open().frame_count == 3
        np.testing.assert_allclose([f.time_s for f in view.open()], np.arange(3) / FPS, atol=1e-6)
        np.testing.assert_allclose(view.camera.T_cam_base, clip.camera.T_cam_base, atol=1e-5)
        np.testing.assert_allclose(view.camera.K, clip.camera.K, rtol=1e-6)
        np.testing.assert_allclose(episode.joints.times, np.arange(3) / FPS)
        assert episode.joints.names == tuple(f"panda_joint{i}" for i in range(1, 8))
        assert episode.robot == "panda" and episode.notes == ()
    np.testing.assert_allclose(episodes[1].joints.q, clip.q[5:, :7], atol=1e-6)
    assert episodes[0].joints.gripper is not None
    assert len({e.content_hash() for e in episodes}) == 4


def old_style(folder: Path) -> Path:
    """A v2.1 data set of two episodes in two chunks, with states in degrees and no cameras."""
    names = ["shoulder.pos", "elbow.pos", "gripper.pos"]
    write_json(
        folder / "meta" / "info.json",
        {
            "codebase_version": "v2.1", "fps": 10, "total_episodes": 2, "chunks_size": 1,
            "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
            "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
            "features": {
                "observation.state": {"dtype": "float32", "shape": [3], "names": names},
                "observation.images.top": {"dtype": "video", "shape": [48, 64, 3], "names": None},
            },
        },
    )  # fmt: skip
    for i in range(2):
        write_clip(folder / f"videos/chunk-{i:03d}/observation.images.top/episode_{i:06d}.mp4", 3 + i)
        path = folder / f"data/chunk-{i:03d}/episode_{i:06d}.parquet"
        path.parent.mkdir(parents=True)
        states = [[10.0 * i, 20.0, 35.0]] * (3 + i)
        pq.write_table(pa.table({"observation.state": states, "episode_index": [i] * (3 + i)}), path)
    lines = [{"episode_index": i, "tasks": [f"task {i}"], "length": 3 + i} for i in range(2)]
    (folder / "meta" / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_version_2(tmp_path):
    first, second = open_dataset(old_style(tmp_path))
    assert second.task == "task 1" and numbers_of(second.view("top").open()) == [0, 1, 2, 3]
    assert first.joints.names == ("shoulder.pos", "elbow.pos", "gripper.pos") and first.joints.gripper is None
    assert second.joints.q[0].tolist() == [10.0, 20.0, 35.0] and "units" in second.notes[0]
    assert first.view().camera is None and first.robot is None


def change_info(folder: Path, **changes) -> None:
    path = folder / "meta" / "info.json"
    write_json(path, read_json(path) | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"data_path": "../{episode_index}.parquet"},
        {"data_path": "/etc/{episode_index}"},
        {"video_path": "{video_key.__class__}"},
        {"video_path": "{other}"},
        {"video_path": "{video_key:99999d}"},
        {"data_path": 7},
        {"data_path": "data/none.parquet"},
        {"chunks_size": 0},
    ],
)
def test_patterns_that_lead_elsewhere_are_refused(tmp_path, changes):
    change_info(old_style(tmp_path), **changes)
    for item in open_dataset(tmp_path):
        assert isinstance(item, Problem) and str(tmp_path) in item.reason


@pytest.mark.parametrize("changes", [{"codebase_version": "v1.6"}, {"fps": 0}, {"features": []}, {"features": {}}])
def test_descriptions_that_cannot_be_read(tmp_path, changes):
    change_info(old_style(tmp_path), **changes)
    with pytest.raises(FlowError):
        open_dataset(tmp_path)


def test_damaged_parts_are_problems_not_ends(exported):
    (exported / "data" / "chunk-000" / "file-000.parquet").write_bytes(b"PAR1")
    found = list(open_dataset(exported))
    assert [isinstance(item, Problem) for item in found] == [True, True, False, False]
    shutil.rmtree(exported / "videos")
    with pytest.raises(FlowError):
        found[2].view().open()
