"""`urdfit batch`, with and without Prefect: what it prints, its exit codes, and the page in a browser."""

from __future__ import annotations

import shutil

import pytest
from batch_cases import InLine
from flow_cases import read_json

import flows.batch.local
from flows.batch.progress import progress_line
from flows.batch.report import span
from flows.batch.run import run_batch


class RunsHere(InLine):
    """An executor that does the real work in this process, with the fixtures' stand-ins."""

    def results(self):
        from flows.batch.worker import run_task

        while self.tasks:
            yield run_task(self.tasks.pop(0))


@pytest.fixture
def videos(clip, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a.mp4", "ü b.mp4"):
        shutil.copy(clip.video, folder / name)
    (folder / "none.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture
def here(fakes, quick_report, monkeypatch):
    monkeypatch.setattr(flows.batch.local, "LocalExecutor", lambda workers, logs: RunsHere())


def test_the_command_from_start_to_nothing_left(videos, tmp_path, urdfit, here, monkeypatch):
    out = tmp_path / "out"
    code, text, errors = urdfit("batch", videos, "--robot", "panda", "--out", out, "--no-prefect")
    assert code == 1 and "2 done, 1 failed of 3 episodes" in text and "1 x VideoError" in text
    assert "urdfit: 3 of 3 episodes" in errors and str(out / "report.html") in text
    assert sorted(p.name for p in (out / "episodes").iterdir() if p.name.startswith("a")) == ["a.mp4"]
    state = read_json(out / "batch.json")
    assert state["last_run"]["done"] == 2 and state["dataset"] == str(videos) and state["robot"] == "panda"
    monkeypatch.setattr(flows.batch.local, "LocalExecutor", pytest.fail)
    code, text, errors = urdfit("batch", videos, "--robot", "panda", "--out", out)  # Prefect is not started for nothing
    assert code == 0 and "2 done before, 1 failed before" in text and not errors


def test_quiet_says_nothing(videos, tmp_path, urdfit, here):
    (videos / "none.mp4").unlink()
    arguments = ("batch", videos, "-r", "panda", "-o", tmp_path / "out", "--no-prefect", "-q")
    assert urdfit(*arguments) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--robot", "none"), 1, "none"),
        (("--camera", "none.json"), 1, "none.json"),
        (("--masks", "none"), 1, "no such folder"),
        (("--weights", "none"), 1, "none"),
        (("--resource", "GPU"), 2, "expected NAME=AMOUNT"),
        (("--resource", "GPU=1"), 2, "belong to --runner"),
        (("--runner", "pbs"), 2, "expected local, dask, ray"),
        (("--kind", "zip"), 2, "expected lerobot"),
        (("--timezone", "Europe/Berlin"), 2, "belongs to --cron"),
        (("--cron", "* * * * *", "--no-prefect"), 2, "needs Prefect"),
        (("--workers", "0"), 2, "workers"),
        (("--time-limit", "0"), 2, "time limit"),
        (("--out", "INSIDE"), 2, "lies in the data set"),
    ],
)
def test_wrong_arguments(videos, tmp_path, urdfit, arguments, code, words):
    arguments = [str(videos / "out") if a == "INSIDE" else a for a in arguments]
    got, text, errors = urdfit("batch", videos, "--out", tmp_path / "out", "--no-prefect", *arguments)
    assert got == code and words in errors and errors.count("\n") == 1 and not text
    assert not (tmp_path / "out" / "episodes").exists()


def test_what_is_no_data_set(tmp_path, urdfit):
    for dataset, words in ((tmp_path / "none", "no such folder"), (tmp_path, "no videos")):
        code, _, errors = urdfit("batch", dataset, "--out", tmp_path.parent / "out", "--no-prefect")
        assert code == 1 and words in errors


def test_the_page_in_a_browser(videos, tmp_path, fakes, here):
    from browser import browse

    (videos / "bad <script>alert(1)<⁄script>.mp4").write_bytes(b"no video")
    told = run_batch(videos, "panda", tmp_path / "out")
    assert told.failed == 2
    visit = browse(told.out / "report.html", script="document.querySelectorAll('.card').length")
    assert not visit.errors and not visit.outside and visit.variety > 5
    assert visit.value >= 5


def test_times_are_said_as_people_say_them():
    said = [span(s) for s in (0.02, 3.21, 61, 600, 9000, 200000, float("nan"))]
    assert said == ["20 ms", "3.2 s", "61 s", "10 min", "2 h 30 min", "2 d 7 h", "?"]
    assert progress_line(5, 10, 10.0) == "urdfit: 5 of 10 episodes, 30.0/min, 10 s left"
