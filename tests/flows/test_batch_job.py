"""What a worker does with an episode: files, parts of files and pictures of a data set; done once; errors named."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from flow_cases import read_json
from test_dataset_lerobot import SETTINGS, exported  # noqa: F401  (a fixture)

import flows.batch.worker
import pose
from flows.batch.executor import EpisodeTask, Settings
from flows.batch.plan import safe_name
from flows.batch.worker import job_of, run_task
from flows.dataset_view import from_source
from flows.datasets import open_dataset
from flows.errors import FlowError
from flows.exporting.job import export_lerobot
from segmentation import open_video

FILES = ("episode.json", "trajectory.parquet", "overlay.mp4", "report.html", "scene.rrd", "masks", "outcome.json")


@pytest.fixture
def videos(clip, tmp_path):
    """A folder with the clip as a video, the same as pictures, and one that is none."""
    folder = tmp_path / "videos"
    (folder / "stills").mkdir(parents=True)
    shutil.copy(clip.video, folder / "a.mp4")
    shutil.copy(clip.cam, folder / "cam.json")
    for frame in open_video(clip.video):
        cv2.imwrite(str(folder / "stills" / f"{frame.index:05d}.png"), frame.image[..., ::-1])
    (folder / "none.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture
def task(videos, tmp_path):
    def make(id: str, **changes) -> EpisodeTask:
        out, work = tmp_path / "out" / safe_name(id), tmp_path / "work" / safe_name(id)
        values = {"dataset": str(videos), "kind": None, "robot": "panda", "settings": Settings(), "key": "k"} | changes
        return EpisodeTask(id, out=str(out), work=str(work), **values)

    return make


@pytest.fixture(autouse=True)
def quick(fakes, quick_report):
    return fakes


@pytest.mark.parametrize("id", ["a.mp4", "stills"])
def test_an_episode_as_run_writes_it(task, videos, id, clip):
    outcome = run_task(task(id))
    assert outcome.status == "done", outcome.error
    out = Path(task(id).out)
    assert all((out / name).exists() for name in FILES)
    told = read_json(out / "episode.json")
    assert told["settings"]["camera"] == "given" and outcome.quality["frames"] == 8
    assert set(outcome.seconds) == {"segment", "fit", "actions", "report"} and outcome.digest and outcome.content
    if id == "a.mp4":
        assert told["source"]["path"] == str(videos / "a.mp4") and "dataset" not in told["source"]
    else:
        assert told["source"]["dataset"] == str(videos) and told["source"]["episode"] == "stills"


def test_what_is_done_is_not_done_again(task, quick, videos, clip):
    first = run_task(task("a.mp4"))
    again = run_task(
        task(
            "a.mp4",
        )
    )
    assert (again.status, again.digest, again.quality) == (first.status, first.digest, first.quality)
    assert quick.fit == 1 and again.seconds == first.seconds
    assert run_task(task("a.mp4", key="other")).status == "done"
    assert quick.fit == 1  # the stages were in work/, which the driver removes
    shutil.rmtree(task("a.mp4").work)
    run_task(task("a.mp4", key="third"))
    assert quick.fit == 2
    (Path(task("a.mp4").out) / "trajectory.parquet").write_bytes(b"damaged")
    shutil.rmtree(task("a.mp4").work)
    assert run_task(task("a.mp4", key="third")).digest == first.digest and quick.fit == 3


def test_an_attempt_goes_on_from_the_stages_of_the_one_before(task, quick):
    quick.fail.append(RuntimeError("the machine went mad"))
    failed = run_task(task("a.mp4"))
    assert failed.status == "failed" and not failed.retry and failed.error == "RuntimeError: the machine went mad"
    assert run_task(task("a.mp4")).status == "done" and quick.segment == 1


def caused(error: Exception, cause: Exception) -> Exception:
    """The error as if raised from the cause."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (OSError(errno.EIO, "input/output error"), "failed", True),
        (OSError(errno.ENOSPC, "no space left on device"), "disk", False),
        (FlowError("wrapped"), "failed", False),
        (caused(FlowError("cannot be read"), ConnectionError("timed out")), "failed", True),
        (MemoryError(), "memory", False),
        (ConnectionResetError("peer"), "failed", True),
    ],
)
def test_what_is_worth_another_attempt(task, quick, error, status, retry):
    quick.fail.append(error)
    outcome = run_task(task("a.mp4"))
    assert (outcome.status, outcome.retry) == (status, retry)


def test_a_full_disk_is_seen_through_the_errors_around_it(task, quick):
    wrapped = FlowError("out: cannot be written")
    wrapped.__cause__ = OSError(errno.ENOSPC, "no space left on device")
    quick.fail.append(wrapped)
    assert run_task(task("a.mp4")).status == "disk"


@pytest.mark.parametrize(
    ("id", "changes", "words", "cause"),
    [
        ("none.mp4", {}, "not a readable video", "VideoError: not a readable video"),
        ("gone.mp4", {}, "no video 'gone.mp4'", "FlowError: no video"),
        ("a.mp4", {"robot": None}, "does not say which robot", "FlowError: the data set does not say"),
        ("a.mp4", {"settings": Settings(view="wrist")}, "no camera 'wrist'; it has camera", "FlowError: has no camera"),
        ("a.mp4", {"settings": Settings(masks="/none")}, "none", "MaskError: "),
    ],
)
def test_errors_are_outcomes_with_causes(task, id, changes, words, cause):
    outcome = run_task(task(id, **changes))
    assert outcome.status == "failed" and words in outcome.error and "\n" not in outcome.error
    assert outcome.cause.startswith(cause) and not Path(task(id).out).exists()


def test_the_content_is_the_same_wherever_it_lies_and_another_with_another_camera(task, videos, tmp_path):
    first = flows.batch.worker.content_hash(job_of(task("stills")))
    shutil.copytree(videos, tmp_path / "moved")
    moved = job_of(task("stills", dataset=str(tmp_path / "moved")))
    assert flows.batch.worker.content_hash(moved) == first
    camera = read_json(videos / "cam.json")
    camera["K"][0][0] += 1
    other = job_of(task("stills", settings=Settings(camera=camera)))
    assert flows.batch.worker.content_hash(other) != first
    image = np.zeros((120, 160, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "moved" / "stills" / "00003.png"), image)
    assert flows.batch.worker.content_hash(job_of(task("stills", dataset=str(tmp_path / "moved")))) != first


def test_an_episode_that_came_later_is_found(task, videos):
    assert run_task(task("a.mp4")).status == "done"
    shutil.copy(videos / "a.mp4", videos / "later.mp4")
    assert run_task(task("later.mp4")).status == "done"


def test_no_episode_reports(task):
    outcome = run_task(task("a.mp4", settings=replace(Settings(), report=False)))
    assert outcome.status == "done" and not (Path(task("a.mp4").out) / "report.html").exists()


def test_a_stretch_of_a_data_set_and_back_into_one(exported, task, tmp_path, monkeypatch):  # noqa: F811
    whole = pose.fit_video

    def fit(robot, masks, **options):
        found, count = whole(robot, masks, **options), len(options["times"])
        return replace(found, **{k: getattr(found, k)[:count] for k in ("q", "sigma", "observable", "iou", "valid")})

    monkeypatch.setattr(pose, "fit_video", fit)
    work = task("episode_000002", dataset=str(exported), robot=None)
    outcome = run_task(work)
    assert outcome.status == "done", outcome.error
    told = read_json(Path(work.out) / "episode.json")
    assert told["source"]["episode"] == "episode_000002" and told["source"]["view"] == "front"
    assert told["settings"]["task"] == "task 1" and told["robot"] == "panda" and told["source"]["frames"] == 3
    export_lerobot([Path(work.out)], tmp_path / "back", replace(SETTINGS, keep_all=True))
    (video,) = (tmp_path / "back" / "videos").rglob("*.mp4")
    assert sum(1 for _ in open_video(video)) == 3
    assert [e.task for e in open_dataset(tmp_path / "back")] == ["task 1"]
    stretch = from_source(told["source"])
    assert stretch is not None and stretch.open().frame_count == 3
    with pytest.raises(FlowError, match="not the one that was used"):
        from_source(told["source"] | {"episode": "episode_000001"})
