"""The data engine: pictures and clips that repeat, masks that are the robot's, shards that survive interruptions."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from pose.camera import Camera
from pose.raster import inverse_depth, rasterize
from segmentation.errors import TrainingError
from segmentation.training.assets import Assets, Pictures, Sources, load_assets
from segmentation.training.clips import sample_clip
from segmentation.training.data import DataSettings, Shard, make_data
from segmentation.training.scenes import sample_picture
from segmentation.training.shards import ShardSet, decode, decode_depth
from segmentation.training.things import blob
from urdf import load_robot

TINY = DataSettings(Sources(("panda",)), pictures=3, clips=1, frames=2, width=64, height=48)


@pytest.fixture(scope="module")
def assets():
    rng = np.random.default_rng(0)
    photos = [cv2.resize(rng.integers(0, 255, (20, 30, 3)).astype(np.uint8), (300, 200)) for _ in range(3)]
    sky = [rng.uniform(0, 2, (32, 64, 3)).astype(np.float32)]
    robots = [load_robot(name, mesh_faces=3000) for name in ("panda", "iiwa14")]
    return Assets(photos, photos[:1], sky, [blob(rng)], robots, np.array([0.7, 0.3]), ["panda", "iiwa14"])


def robot_alone(sample):
    """Part mask and depth of the robot with nothing in front, drawn from the sample's joints and camera."""
    robot = load_robot(sample.meta["robot"], mesh_faces=3000)
    assert sample.meta["joint_names"] == list(robot.joint_names)
    camera, mesh = Camera.from_dict(sample.meta["camera"]), robot.mesh
    poses = robot.link_poses(np.array(sample.meta["q"]))
    points = np.einsum("vij,vj->vi", poses[mesh.vertex_link, :3, :3], mesh.vertices)
    points = (points + poses[mesh.vertex_link, :3, 3]) @ camera.T_cam_base[:3, :3].T + camera.T_cam_base[:3, 3]
    inv_z = inverse_depth(points[:, 2])
    uv = camera.project(np.column_stack([points[:, :2], np.where(inv_z > 0, points[:, 2], 1)])).astype(np.float32)
    face, near = rasterize(uv, inv_z, mesh.faces, camera.height, camera.width)
    part = np.where(face >= 0, 1 + robot.part_of_face[face], 0)
    return part, np.where(face >= 0, 1 / np.maximum(near, 1e-9), np.inf)


def check_truth(sample):
    """Where the mask says robot, the robot is; where it should be and is not, something nearer hides it."""
    _, part = decode(sample)
    depth, (truth, truth_depth) = decode_depth(sample), robot_alone(sample)
    shown = part > 0
    assert (part[shown] != truth[shown]).mean() < 0.01  # points pass through float32 once more
    assert np.abs(depth - truth_depth)[shown & (truth > 0)].max(initial=0) < 0.01
    hidden = (truth > 0) & ~shown
    assert ((depth > 0) & (depth < truth_depth + 2e-3))[hidden].mean() > 0.99 if hidden.sum() > 20 else True
    return shown.mean(), hidden.sum()


def test_masks_depth_joints_and_camera_of_pictures_belong_together(assets):
    results = []
    for k in range(16):
        sample = sample_picture(np.random.default_rng(k), assets, 96, 72)
        if sample.meta["robot"] is None:
            assert sample.meta["q"] == [] and not decode(sample)[1].any()
        else:
            results.append(check_truth(sample))
    shares, hidden = zip(*results)
    assert 10 <= len(results) <= 15 and 0.05 < np.mean(shares) < 0.6
    assert sum(h > 20 for h in hidden) >= 2  # things do hide robots


@pytest.mark.parametrize("view", ["tripod", "handheld", "wrist"])
def test_masks_depth_joints_and_camera_of_clips_belong_together(assets, view):
    for seed in range(2):
        clip = list(sample_clip(np.random.default_rng(seed), assets, 96, 72, 4, "c", view))
        assert [s.frame for s in clip] == [0, 1, 2, 3] and {s.clip for s in clip} == {"c"}
        times = [s.meta["time"] for s in clip]
        assert np.allclose(np.diff(times), 1 / clip[0].meta["fps"], atol=1e-5)
        shares = [check_truth(s)[0] for s in clip]
        assert max(shares) > 0.01
        cameras = np.array([s.meta["camera"]["T_cam_base"] for s in clip])
        if view == "tripod":
            assert np.ptp(cameras, axis=0).max() == 0
        else:
            assert np.ptp(cameras, axis=0).max() > 1e-4


def test_a_wrist_camera_moves_with_the_hand(assets):
    clip = list(sample_clip(np.random.default_rng(5), assets, 64, 48, 3, "c", "wrist"))
    robot = load_robot(clip[0].meta["robot"])
    T_cam_ee = [
        np.array(s.meta["camera"]["T_cam_base"]) @ robot.link_poses(np.array(s.meta["q"]))[robot.ee_index] for s in clip
    ]
    assert np.ptp(T_cam_ee, axis=0).max() < 1e-6


def test_a_generator_gives_the_same_bytes_again(assets):
    first, second = (sample_picture(np.random.default_rng(3), assets, 96, 72) for _ in range(2))
    assert first == second
    one, two = (list(sample_clip(np.random.default_rng(3), assets, 64, 48, 3)) for _ in range(2))
    assert one == two and one != list(sample_clip(np.random.default_rng(4), assets, 64, 48, 3))


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.glob("*.tar")}


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("segmentation.training.data.PER_SHARD", {"pictures": 2, "clips": 1})
    assert make_data(TINY, tmp_path / "whole") == 5
    seen = []

    def stop(done, total):
        seen.append((done, total))
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_data(TINY, tmp_path / "cut", report=stop)
    assert seen[0] == (0, 5) and 0 < len(contents(tmp_path / "cut")) < 3
    (tmp_path / "cut" / ".clips_000_00000.tar.123").touch()  # of a run that was killed
    assert 0 < make_data(TINY, tmp_path / "cut") < 5
    assert not list((tmp_path / "cut").glob(".*"))
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole") and len(contents(tmp_path / "cut")) == 3
    assert make_data(TINY, tmp_path / "cut") == 0
    (tmp_path / "cut" / "pictures_000_00000.tar").write_bytes(b"damaged")
    assert make_data(TINY, tmp_path / "cut") == 2
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_a_larger_count_adds(tmp_path, monkeypatch):
    monkeypatch.setattr("segmentation.training.data.PER_SHARD", {"pictures": 2, "clips": 1})
    few = replace(TINY, pictures=1, clips=0)
    make_data(few, tmp_path)
    first = ShardSet(tmp_path)[0]
    assert make_data(replace(few, pictures=3), tmp_path) == 3  # the half-filled shard is drawn again
    more = ShardSet(tmp_path)
    assert len(more) == 3 and more[0] == first and len({s.clip for s in more}) == 3


@pytest.mark.slow
def test_several_workers_give_the_same_bytes(tmp_path):
    settings = replace(TINY, pictures=0, clips=6)
    make_data(settings, tmp_path / "one")
    make_data(settings, tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two") and len(contents(tmp_path / "one")) == 2


def test_a_folder_of_other_data_is_refused(tmp_path):
    settings = replace(TINY, pictures=1, clips=0)
    make_data(settings, tmp_path / "a")
    with pytest.raises(TrainingError, match="holds data of other size"):
        make_data(replace(settings, width=96), tmp_path / "a")
    with pytest.raises(TrainingError, match="other robots"):
        make_data(replace(settings, sources=Sources(("iiwa14",))), tmp_path / "a")
    (tmp_path / "a" / "data.json").unlink()
    with pytest.raises(TrainingError, match="not drawn here"):
        make_data(settings, tmp_path / "a")


def test_shards_mix_pictures_and_clips():
    shards = DataSettings(Sources(("panda",)), pictures=100, clips=6).shards()
    assert [s.kind for s in shards[:3]] == ["clips", "pictures", "pictures"]
    assert shards[-1] == Shard("pictures", 2, 4) and sum(s.count for s in shards if s.kind == "clips") == 6


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (Sources(()), "no robot given"),
        (Sources(("panda=0",)), "expected a positive number behind ="),
        (Sources(("panda=many",)), "expected a positive number behind ="),
        (Sources(("panda",), photos=("absent",)), "no such file or folder"),
        (Sources(("panda",), hdris=("empty",)), "no file in it ends in .exr, .hdr"),
    ],
)
def test_sources_that_cannot_be_used(tmp_path, sources, message):
    (tmp_path / "empty").mkdir()
    there = {k: tuple(tmp_path / p for p in getattr(sources, k)) for k in ("photos", "hdris")}
    with pytest.raises(TrainingError, match=message):
        load_assets(replace(sources, **there))


def test_broken_photos_are_passed_over(tmp_path):
    for k in range(3):
        (tmp_path / f"{k}.jpg").write_bytes(b"no picture")
    files = sorted(tmp_path.iterdir())
    with pytest.raises(TrainingError, match="none of 3 files"):
        Pictures(files, 100)[0]
    cv2.imwrite(str(files[2]), np.full((40, 400, 3), (0, 0, 255), np.uint8))
    picture = Pictures(files, 100)[0]
    assert picture.shape == (10, 100, 3) and picture[..., 0].min() > 250  # shrunk, RGB


def test_what_was_drawn_is_written_down(tmp_path):
    make_data(replace(TINY, pictures=1, clips=0), tmp_path)
    note = json.loads((tmp_path / "data.json").read_text())
    assert note["robots"] == ["panda"] and note["size"] == [64, 48]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.json", "pictures_000_00000.tar"]
