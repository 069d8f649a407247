"""The LeRobot data set that an export writes: its rows, pictures, statistics and sidecar; appending; what is refused.

That the real lerobot loads it is checked by `tests/compat`.
"""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from flow_cases import FPS, FRAMES
from scipy.spatial.transform import Rotation

from flows.actions import integrate_actions
from flows.episode import write_episode
from flows.errors import FlowError, UsageError
from flows.exporting.action_extraction import ExtractionSettings
from flows.exporting.action_quality import QualityLimits
from flows.exporting.job import export_lerobot
from flows.exporting.settings import DROPPED, FAILED, KEPT, KNOWN, ExportSettings
from flows.files import sha256_file
from flows.recording import class_image

QUICK = ExtractionSettings(half_window=0.0, least_seconds=0.2, max_gap=1.0)
LIMITS = QualityLimits(max_speed=50.0, max_turn=50.0)  # the clip is much too fast for an arm
SETTINGS = ExportSettings(task="wave", extraction=QUICK, limits=LIMITS)


@pytest.fixture
def episode_folder(make_episode, clip, tmp_path):
    """Makes an episode folder of the clip, with its masks; keyword arguments change the episode."""

    def build(name: str, **changes) -> Path:
        folder = tmp_path / "episodes" / name
        source = {"path": str(clip.video), "sha256": sha256_file(clip.video), "fps": FPS}
        write_episode(make_episode(**{"source": source, "alternatives": (), **changes}), folder)
        shutil.copytree(clip.masks, folder / "masks")
        return folder

    return build


def rows_of(out: Path) -> dict[str, np.ndarray]:
    tables = [pq.read_table(p) for p in sorted(out.glob("data/*/*.parquet"))]
    return {n: np.concatenate([np.array(t[n].to_pylist()) for t in tables]) for n in tables[0].column_names}


def episodes_of(out: Path) -> list[dict]:
    return [row for p in sorted(out.glob("meta/episodes/*/*.parquet")) for row in pq.read_table(p).to_pylist()]


def pictures_of(out: Path, key: str = "observation.images.camera") -> list[np.ndarray]:
    from segmentation import open_video

    return [f.image for p in sorted((out / "videos" / key).glob("*/*.mp4")) for f in open_video(p)]


def info_of(out: Path) -> dict:
    return json.loads((out / "meta" / "info.json").read_text())


def test_rows_pictures_and_counts(episode_folder, clip, clip_images, tmp_path):
    out = tmp_path / "set"
    (outcome,) = export_lerobot([episode_folder("a")], out, SETTINGS)
    assert (outcome.state, outcome.rows) == (KEPT, FRAMES) and "2 of 8 rows are bridged" in outcome.reason
    info, rows = info_of(out), rows_of(out)
    assert (info["total_episodes"], info["total_frames"], info["fps"], info["splits"]) == (
        1,
        FRAMES,
        FPS,
        {"train": "0:1"},
    )
    assert set(rows) == {k for k, f in info["features"].items() if f["dtype"] != "video"}
    for name, values in rows.items():
        assert list(values.shape[1:]) == [n for n in info["features"][name]["shape"] if n != 1], name
    np.testing.assert_allclose(rows["timestamp"], np.arange(FRAMES) / FPS, atol=1e-6)
    assert rows["index"].tolist() == rows["frame_index"].tolist() == list(range(FRAMES))
    known = ~np.isin(np.arange(FRAMES), (3, 4))
    assert rows["valid"].tolist() == known.tolist()
    arm = clip.q[:, :7]
    np.testing.assert_allclose(rows["observation.state"][known, :7], arm[known], atol=1e-6)
    np.testing.assert_array_equal(rows["action"][:-1], rows["observation.state"][1:])
    assert all(np.isfinite(v).all() for n, v in rows.items() if v.dtype.kind == "f")
    T_base_cam = np.linalg.inv(clip.camera.T_cam_base)
    pose = rows["camera_extrinsics.camera"][0]
    np.testing.assert_allclose(pose[:3], T_base_cam[:3, 3], atol=1e-6)
    np.testing.assert_allclose(Rotation.from_euler("xyz", pose[3:]).as_matrix(), T_base_cam[:3, :3], atol=1e-6)
    shown = pictures_of(out)
    assert len(shown) == FRAMES
    for ours, source in zip(shown, clip_images):
        assert np.abs(ours.astype(int) - source).mean() < 6  # AV1 at crf 30 of a noisy floor
    moved = [np.abs(shown[i].astype(int) - clip_images[j]).mean() for i, j in ((0, 7), (7, 0))]
    assert min(moved) > max(np.abs(a.astype(int) - b).mean() for a, b in zip(shown, clip_images))


def test_stored_ee_actions_integrate_to_the_stored_poses(episode_folder, tmp_path):
    out = tmp_path / "set"
    export_lerobot([episode_folder("a")], out, replace(SETTINGS, space="ee", images=False))
    rows = rows_of(out)
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    poses[:, :3, 3] = rows["observation.state"][:, :3]
    poses[:, :3, :3] = Rotation.from_quat(rows["observation.state"][:, 3:7]).as_matrix()
    again = integrate_actions(poses[0], rows["action"].astype(float))
    assert np.linalg.norm(again[:, :3, 3] - poses[:, :3, 3], axis=1).max() < 1e-3
    turn = Rotation.from_matrix(again[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1)).magnitude()
    assert np.degrees(turn).max() < 0.1
    assert info_of(out)["video_path"] is None and not (out / "videos").exists()


def test_appending_in_parts_gives_what_one_export_gives(episode_folder, tmp_path, make_episode):
    joints = [make_episode().q + 0.01 * i for i in range(3)]
    folders = [episode_folder(f"e{i}", q=q) for i, q in enumerate(joints)]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    export_lerobot(folders, whole, SETTINGS)
    export_lerobot(folders[:1], parts, SETTINGS)
    old = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in parts.rglob("file-*") if p.is_file()}
    export_lerobot(folders[1:], parts, replace(SETTINGS, append=True, task="point"))
    assert all((p.read_bytes(), p.stat().st_mtime_ns) == before for p, before in old.items())
    a, b = rows_of(whole), rows_of(parts)
    for name in a:
        if name != "task_index":
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    assert b["task_index"].tolist() == [0] * FRAMES + [1] * 2 * FRAMES
    tasks = pq.read_table(parts / "meta" / "tasks.parquet")
    assert tasks["task"].to_pylist() == ["wave", "point"] and b"index_columns" in tasks.schema.metadata[b"pandas"]
    places = [(e["data/file_index"], e["dataset_from_index"], e["dataset_to_index"]) for e in episodes_of(parts)]
    assert places == [(0, 0, 8), (1, 8, 16), (1, 16, 24)]
    key = "videos/observation.images.camera/"
    seconds = [(e[key + "file_index"], e[key + "from_timestamp"] * FPS) for e in episodes_of(parts)]
    assert seconds == [(0, 0.0), (1, 0.0), (1, 8.0)] and len(pictures_of(parts)) == 24
    for out in (whole, parts):
        stats = json.loads((out / "meta" / "stats.json").read_text())
        np.testing.assert_allclose(stats["action"]["mean"], a["action"].mean(0), rtol=1e-6)
        np.testing.assert_allclose(stats["action"]["std"], a["action"].std(0), rtol=1e-6)
        assert stats["action"]["count"] == [24] and np.array(stats["observation.images.camera"]["mean"]).shape == (
            3,
            1,
            1,
        )


def test_what_is_there_already_is_not_added_twice(episode_folder, tmp_path):
    out, folder = tmp_path / "set", episode_folder("a")
    export_lerobot([folder], out, SETTINGS)
    before = {p: p.stat().st_ino for p in out.rglob("*") if p.is_file()}
    (outcome,) = export_lerobot([folder], out, replace(SETTINGS, append=True))
    assert outcome.state == KNOWN and {p: p.stat().st_ino for p in out.rglob("*") if p.is_file()} == before


def test_the_sidecar_has_masks_camera_and_origin(episode_folder, clip, tmp_path):
    from segmentation import MaskFolder

    out = tmp_path / "set"
    export_lerobot([episode_folder("a")], out, SETTINGS)
    masks = pq.read_table(out / "urdfit" / "masks" / "chunk-000" / "file-000.parquet").to_pylist()
    for row, truth in zip(masks, MaskFolder(clip.masks)):
        label = cv2.imdecode(np.frombuffer(row["mask"], np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(label, class_image(truth))
    (origin,) = pq.read_table(out / "urdfit" / "episodes" / "chunk-000" / "file-000.parquet").to_pylist()
    assert origin["source"] == clip.video.name and origin["source_sha256"] == sha256_file(clip.video)
    told = json.loads(origin["origin"])
    np.testing.assert_allclose(told["camera"]["T_cam_base"], clip.camera.T_cam_base)
    assert told["smoothing"]["lag_s"] == 0 and told["quality"]["keep"] and str(tmp_path) not in origin["origin"]


def test_pictures_and_camera_are_resized_together(episode_folder, clip, tmp_path):
    out = tmp_path / "set"
    export_lerobot([episode_folder("a")], out, replace(SETTINGS, size=(81, 60)))
    assert info_of(out)["features"]["observation.images.camera"]["shape"] == [60, 80, 3]
    fx, _, cx, _ = rows_of(out)["camera_intrinsics.camera"][0]
    np.testing.assert_allclose([fx, cx], [clip.camera.K[0, 0] / 2, (clip.camera.K[0, 2] - 0.5) / 2], rtol=1e-5)
    (row, *_) = pq.read_table(out / "urdfit" / "masks" / "chunk-000" / "file-000.parquet").to_pylist()
    assert cv2.imdecode(np.frombuffer(row["mask"], np.uint8), -1).shape == (60, 80)


def test_a_long_loss_makes_two_episodes_with_their_own_pictures(episode_folder, clip_images, tmp_path):
    out = tmp_path / "set"
    settings = replace(SETTINGS, extraction=ExtractionSettings(half_window=0.0, least_seconds=0.1, max_gap=0.1))
    (outcome,) = export_lerobot([episode_folder("a")], out, settings)
    assert outcome.rows == 6 and "2 segments" in outcome.reason
    assert [e["length"] for e in episodes_of(out)] == [3, 3]
    shown = pictures_of(out)
    nearest = [int(np.argmin([np.abs(s.astype(int) - c).mean() for c in clip_images])) for s in shown]
    assert nearest == [0, 1, 2, 5, 6, 7] and rows_of(out)["frame_index"].tolist() == [0, 1, 2] * 2


def test_one_that_cannot_be_read_does_not_stop_the_others(episode_folder, tmp_path, clip):
    first = episode_folder("a", source={"path": "gone.mp4", "sha256": "0" * 64})
    changed = episode_folder("b", source={"path": str(clip.video), "sha256": "0" * 64})
    broken = episode_folder("c")
    (broken / "trajectory.parquet").write_bytes(b"PAR1")
    poor = episode_folder("d", iou=np.full(FRAMES, 0.3))
    good = episode_folder("e")
    out = tmp_path / "set"
    outcomes = export_lerobot([first, changed, broken, poor, good], out, SETTINGS)
    assert [o.state for o in outcomes] == [FAILED, FAILED, FAILED, DROPPED, KEPT]
    for outcome, words in zip(outcomes, ("--videos", "SHA-256", "damaged", "overlaps")):
        assert words in outcome.reason
    assert len(rows_of(out)["index"]) == FRAMES and info_of(out)["total_episodes"] == 1
    found = export_lerobot([first], out, replace(SETTINGS, append=True, videos=clip.video.parent))
    assert found[0].state == FAILED and "gone.mp4" in found[0].reason
    kept = export_lerobot([poor], out, replace(SETTINGS, append=True, keep_all=True))
    assert kept[0].state == KEPT and "overlaps" in kept[0].reason


def test_what_does_not_fit_the_data_set_is_refused(episode_folder, tmp_path):
    out, folder = tmp_path / "set", episode_folder("a")
    export_lerobot([folder], out, SETTINGS)
    before = sha256_file(out / "meta" / "info.json")
    other = episode_folder("b", time_s=np.arange(FRAMES) / (FPS + 1))
    with pytest.raises(FlowError, match="--append"):
        export_lerobot([other], out, SETTINGS)
    with pytest.raises(FlowError, match="frames a second"):
        export_lerobot([other], out, replace(SETTINGS, append=True, extraction=replace(QUICK, fps=FPS + 3)))
    (refused,) = export_lerobot([other], out, replace(SETTINGS, append=True, space="ee"))
    assert refused.state == FAILED and "observation.state" in refused.reason
    (refused,) = export_lerobot([other], out, replace(SETTINGS, append=True, cam="front"))
    assert refused.state == FAILED and "feature" in refused.reason
    assert sha256_file(out / "meta" / "info.json") == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(FlowError, match="no LeRobot data set"):
        export_lerobot([other], tmp_path / "other", SETTINGS)
    with pytest.raises(FlowError, match="no episode"):
        export_lerobot([tmp_path], tmp_path / "new", SETTINGS)
    for wrong in ({"space": "outer"}, {"cam": "a/b"}, {"binary_gripper": True}):
        with pytest.raises(UsageError):
            ExportSettings(**wrong)


@pytest.mark.parametrize("moment", ["pictures", "rows", "close"])
def test_an_export_that_dies_leaves_the_old_data_set(episode_folder, tmp_path, monkeypatch, moment):
    """Stopped at any stage of a block (as by a kill: nothing is caught), the data set is that of the block before."""
    import flows.exporting.job as export
    from flows.exporting.lerobot import Block
    from flows.exporting.video import EpisodeVideo

    out = tmp_path / "set"
    export_lerobot([episode_folder("a")], out, SETTINGS)

    def picture():
        return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}

    before = picture()

    def die(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        where = {"pictures": (EpisodeVideo, "write"), "rows": (Block, "add"), "close": (export, "write_origins")}
        patch.setattr(*where[moment], die)
        with pytest.raises(KeyboardInterrupt):
            export_lerobot([episode_folder("b", seconds={"fit": 2.0})], out, replace(SETTINGS, append=True))
    assert picture() == before and sorted(os.listdir(tmp_path)) == ["episodes", "set"]
    (tmp_path / ".set.0123abcd.tmp").mkdir()  # as a kill leaves it
    (outcome,) = export_lerobot([tmp_path / "episodes" / "b"], out, replace(SETTINGS, append=True))
    assert outcome.state == KEPT and info_of(out)["total_episodes"] == 2
    assert sorted(os.listdir(tmp_path)) == ["episodes", "set"]


@pytest.mark.slow
@pytest.mark.skipif(
    "URDFIT_LEROBOT_PYTHON" not in os.environ, reason="URDFIT_LEROBOT_PYTHON names no Python with lerobot"
)
def test_the_real_lerobot_loads_it_and_records_on(episode_folder, make_episode, tmp_path):
    """See tests/compat/check_lerobot.py for how to make that Python."""
    out, copy = tmp_path / "set", tmp_path / "copy"
    export_lerobot([episode_folder("a")], out, SETTINGS)
    export_lerobot([episode_folder("b", q=make_episode().q + 0.01)], out, replace(SETTINGS, append=True, task="point"))
    script = Path(__file__).parents[1] / "compat" / "check_lerobot.py"

    def check(*arguments):
        command = [os.environ["URDFIT_LEROBOT_PYTHON"], script, *arguments]
        run = subprocess.run(
            [str(a) for a in command], capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"}
        )
        assert run.returncode == 0, run.stderr[-2000:]
        return run.stdout

    assert "2 episodes, 16 frames" in check(out, "--resume-copy", copy)
    export_lerobot([episode_folder("c", q=make_episode().q + 0.02)], copy, replace(SETTINGS, append=True))
    assert "4 episodes, 29 frames" in check(copy)
