"""The stages, the store and the episode folder, without Prefect; quick stand-ins for segmenter and fit."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from flow_cases import EMPTY

from flows.episode import load_episode
from flows.errors import FlowError
from flows.job import make_job
from flows.run import check_out, run_episode, run_job, run_stage

pytestmark = pytest.mark.usefixtures("cache")
FILES = {"episode.json", "trajectory.parquet", "masks", "overlay.mp4", "report.html", "scene.rrd"}


def snapshot(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_episode_folder_is_complete(clip, fakes, tmp_path):
    out = run_episode(clip.video, "panda", tmp_path / "e", camera=clip.cam)
    assert {p.name for p in out.iterdir()} == FILES
    assert {p.name for p in (out / "masks").iterdir()} == {"robot", "arm", "gripper"}
    assert [p.name for p in sorted((out / "masks" / "arm").iterdir())] == [f"{t:05d}.png" for t in range(8)]
    episode = load_episode(out)
    assert (
        len(episode) == 8
        and episode.robot == "panda"
        and set(episode.seconds) == {"segment", "fit", "actions", "report"}
    )
    np.testing.assert_allclose(episode.time_s, np.arange(8) / 10, atol=1e-3)
    np.testing.assert_allclose(episode.gripper_opening[0], clip.opening[0], atol=1e-9)
    assert episode.source["sha256"] and episode.source["fps"] == pytest.approx(10)


def test_frames_without_a_robot_have_no_made_up_pose(clip, fakes, quick_report, tmp_path):
    episode = load_episode(run_episode(clip.video, "panda", tmp_path / "e"))  # the stand-in fit calls all frames valid
    assert np.flatnonzero(~episode.valid).tolist() == list(EMPTY)
    for values in (episode.q, episode.sigma, episode.ee, episode.iou[:, None], episode.gripper_open[:, None]):
        assert np.isnan(values[list(EMPTY)]).all()
        assert np.isfinite(values[episode.valid]).all()
    assert not episode.observable[list(EMPTY)].any()
    assert any("no robot" in w and "2 of 8" in w and "frame 3" in w for w in episode.warnings)


def test_a_second_run_reuses_everything(clip, fakes, quick_report, tmp_path):
    out = run_episode(clip.video, "panda", tmp_path / "e", camera=clip.cam)
    first = snapshot(out)
    run_episode(clip.video, "panda", tmp_path / "e", camera=clip.cam)
    assert snapshot(out) == first and (fakes.segment, fakes.fit) == (1, 1)
    other = run_episode(clip.video, "panda", tmp_path / "other", camera=clip.cam)
    assert snapshot(other) == first and (fakes.segment, fakes.fit) == (1, 1)


def test_a_copy_of_the_video_counts_as_the_same(clip, fakes, quick_report, tmp_path):
    run_episode(clip.video, "panda", tmp_path / "e")
    shutil.copy(clip.video, tmp_path / "copy.mp4")
    out = run_episode(tmp_path / "copy.mp4", "panda", tmp_path / "e2")
    assert (fakes.segment, fakes.fit) == (1, 1)
    assert load_episode(out).source["path"] == str(tmp_path / "copy.mp4")


def test_a_setting_redoes_only_what_depends_on_it(clip, fakes, quick_report, tmp_path):
    ran = []

    def runner(stage, key, job, folders, seconds):
        product = run_stage(stage, key, job, folders, seconds)
        if not product.reused:
            ran.append(stage)
        return product

    def run(**settings):
        ran.clear()
        run_job(make_job(clip.video, "panda", **settings), tmp_path / "e", runner)
        return list(ran)

    assert run() == ["segment", "fit", "actions", "report"]
    assert run() == []
    assert run(seed=1) == ["fit", "actions", "report"]
    assert run(camera=clip.cam) == ["fit", "actions", "report"]
    assert run(masks=clip.masks)[0] == "segment"
    assert run() == []


def test_deleted_and_changed_outputs_come_back(clip, fakes, quick_report, tmp_path):
    out = run_episode(clip.video, "panda", tmp_path / "e")
    first = snapshot(out)
    (out / "trajectory.parquet").unlink()
    shutil.rmtree(out / "masks")
    (out / "report.html").write_text("scribbled")
    run_episode(clip.video, "panda", tmp_path / "e")
    assert snapshot(out) == first and fakes.fit == 1


def test_a_damaged_store_is_repaired(clip, fakes, quick_report, cache, tmp_path):
    out = run_episode(clip.video, "panda", tmp_path / "e")
    first = snapshot(out)
    (entry,) = (cache / "stages").glob("fit-*")
    (entry / "fit.npz").write_bytes(b"garbage")
    run_episode(clip.video, "panda", tmp_path / "e")
    assert fakes.fit == 2
    again = snapshot(out)
    assert {k: v for k, v in again.items() if k != "episode.json"} == {
        k: v for k, v in first.items() if k not in ("episode.json",)
    }


def test_a_failed_run_leaves_the_old_episode(clip, fakes, quick_report, tmp_path):
    out = run_episode(clip.video, "panda", tmp_path / "e")
    first = snapshot(out)
    fakes.fail = [RuntimeError("out of luck")]
    with pytest.raises(RuntimeError):
        run_episode(clip.video, "panda", tmp_path / "e", seed=3)
    assert snapshot(out) == first
    assert {p.name for p in tmp_path.iterdir()} == {"e", "cache"}  # no temporary folders beside it


def test_a_users_own_files_in_an_episode_folder_stay(clip, fakes, quick_report, tmp_path):
    out = run_episode(clip.video, "panda", tmp_path / "e")
    (out / "notes.txt").write_text("mine")
    (out / "more").mkdir()
    (out / "more" / "a").write_text("mine too")
    run_episode(clip.video, "panda", tmp_path / "e", seed=2)
    assert (out / "notes.txt").read_text() == "mine" and (out / "more" / "a").read_text() == "mine too"


def test_where_folders_cannot_be_swapped_files_are(clip, fakes, quick_report, tmp_path, monkeypatch):
    import flows.files
    import flows.run

    out = run_episode(clip.video, "panda", tmp_path / "e")

    def busy(a, b):
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(flows.files, "_exchange", busy)
    run_episode(clip.video, "panda", tmp_path / "e", seed=5)
    assert {p.name for p in out.iterdir()} == FILES and {p.name for p in tmp_path.iterdir()} == {"e", "cache"}
    assert load_episode(out).settings["seed"] == 5 and len(list((out / "masks" / "robot").iterdir())) == 8


@pytest.mark.parametrize("what", ["file", "other files", "below a file"])
def test_outputs_that_would_harm_something_are_refused(clip, fakes, quick_report, tmp_path, what):
    out = tmp_path / "out"
    if what == "other files":
        out.mkdir()
        (out / "thesis.tex").touch()
    else:
        out.touch()
    with pytest.raises(FlowError, match="out"):
        check_out(out / "deeper" if what == "below a file" else out)
    with pytest.raises(FlowError):
        run_episode(clip.video, "panda", out / "deeper" if what == "below a file" else out)
    assert fakes.segment == 0


def test_no_robot_anywhere_is_an_error(clip, fakes, quick_report, tmp_path):
    from segmentation import write_mask

    for t in range(8):
        write_mask(tmp_path / "masks", "robot", t, np.zeros((120, 160), np.uint8))
    with pytest.raises(FlowError, match="no robot found in any of 8 frames") as error:
        run_episode(clip.video, "panda", tmp_path / "e", masks=tmp_path / "masks")
    assert "\n" not in str(error.value) and not (tmp_path / "e").exists()


def test_masks_that_no_pose_explains_are_an_error(clip, fakes, quick_report, tmp_path, monkeypatch):
    import pose

    fitted = pose.fit_video(None, None)
    nothing = replace(fitted, valid=np.zeros(8, bool), iou=np.full(8, 0.1))
    monkeypatch.setattr(pose, "fit_video", lambda *arguments, **options: nothing)
    with pytest.raises(FlowError, match=r"no pose of panda .* 0\.10"):
        run_episode(clip.video, "panda", tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_the_real_fit_on_given_masks(clip, quick_report, tmp_path):
    """Camera known, arm started where the first frame is: the joints come out within a few degrees."""
    import json

    cam, q0 = tmp_path / "cam.json", tmp_path / "q.json"
    cam.write_text(json.dumps(clip.camera.to_dict()))
    names = load_names()
    q0.write_text(json.dumps({"joint_names": names[:7], "q": [clip.q[0, :7].tolist()]}))
    out = run_episode(clip.video, "panda", tmp_path / "e", camera=cam, masks=clip.masks, joints=q0)
    episode = load_episode(out)
    assert np.flatnonzero(~episode.valid).tolist() == list(EMPTY)
    error = np.rad2deg(np.abs(episode.q - clip.q)[episode.valid, :7])
    assert np.median(error) < 3 and np.nanmean(episode.iou) > 0.85, (error.round(1), episode.iou)


def load_names():
    from flows.job import robot_of

    return list(robot_of("panda").joint_names)
