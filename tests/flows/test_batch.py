"""The loop of a batch: each episode once, what is missing only, failures named; with stand-ins for the work."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import replace

import pytest
from batch_cases import InLine, log_of, make_batch, make_folder

import flows.batch.drive
from flows.batch.batch import carry_out
from flows.batch.executor import KILLED, Outcome
from flows.batch.manifest import Manifest
from flows.batch.plan import Counts, remaining, safe_name
from flows.batch.run import finish, run_batch
from flows.datasets import open_dataset
from flows.errors import FlowError, UsageError
from flows.progress import listening


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(flows.batch.drive, "BACKOFF", 0.01)


def statuses(out):
    return {row["id"]: row["status"] for row in Manifest(out / "manifest").latest(["status"])}


def test_all_are_done_once_and_a_second_run_does_nothing(tmp_path):
    folder, out = make_folder(tmp_path / "data", "a", "b", "bad"), tmp_path / "out"
    told = carry_out(make_batch(folder, out), InLine)
    assert (told.total, told.done, told.failed, told.left) == (3, 2, 1, 0) and told.causes == {"no robot": 1}
    assert told.failures == (("bad.mp4", "bad.mp4: no robot in it"),) and "2 done, 1 failed of 3" in told.summary()
    again = carry_out(make_batch(folder, out), pytest.fail)
    assert (again.before, again.passed, again.done, again.failed, again.left) == (2, 1, 0, 0, 0)
    assert len(log_of(out)) == 3


def test_new_files_changed_files_and_lost_folders_are_done_again(tmp_path):
    folder, out = make_folder(tmp_path / "data", "a", "b", "c"), tmp_path / "out"
    carry_out(make_batch(folder, out), InLine)
    make_folder(folder, "new")
    (folder / "a.mp4").write_bytes(b"other content")
    (out / "episodes" / "b.mp4" / "episode.json").unlink()
    (out / "episodes" / "b.mp4").rmdir()
    told = carry_out(make_batch(folder, out), InLine)
    assert (told.before, told.done, told.changed) == (1, 3, 1)
    assert Counter(log_of(out)) == {"a.mp4 1": 2, "b.mp4 1": 2, "c.mp4 1": 1, "new.mp4 1": 1}


def test_other_settings_do_all_again_and_say_so(tmp_path):
    folder, out = make_folder(tmp_path / "data", "a"), tmp_path / "out"
    first = make_batch(folder, out)
    carry_out(first, InLine)
    told = carry_out(replace(first, settings=replace(first.settings, seed=1)), InLine)
    assert (told.done, told.changed) == (1, 1)


def test_failed_ones_are_tried_again_only_when_asked(tmp_path):
    folder, out = make_folder(tmp_path / "data", "a", "bad"), tmp_path / "out"
    carry_out(make_batch(folder, out), InLine)
    told = carry_out(make_batch(folder, out, retry_failed=True), InLine)
    assert (told.before, told.failed, told.passed) == (1, 1, 0) and len(log_of(out)) == 3
    verified = carry_out(make_batch(folder, out, verify=True), InLine)
    assert verified.done == 1 and verified.passed == 1


class Lossy(InLine):
    """Loses every first attempt."""

    def results(self):
        for outcome in super().results():
            lost = Outcome(outcome.id, KILLED, "worker lost", "lost", retry=True, attempt=outcome.attempt)
            yield lost if outcome.attempt == 1 or "always" in outcome.id else outcome


def test_lost_workers_cost_an_attempt_and_no_episode(tmp_path):
    folder, out = make_folder(tmp_path / "data", "a", "always", "b"), tmp_path / "out"
    told = carry_out(make_batch(folder, out, retries=2), Lossy)
    assert (told.done, told.failed, told.retried) == (2, 1, 4)
    assert statuses(out) == {"a.mp4": "done", "b.mp4": "done", "always.mp4": "killed"}
    assert len(Manifest(out / "manifest")) == 7  # every attempt


def test_a_batch_killed_between_two_attempts_tries_again(tmp_path):
    folder, out = make_folder(tmp_path / "data", "a"), tmp_path / "out"
    batch = make_batch(folder, out)
    carry_out(batch, InLine)
    with_lock = Manifest(out / "manifest")
    with_lock.lock()
    key = json.loads((out / "batch.json").read_text())["key"]
    (out / "episodes" / ".a.mp4.1234.tmp" / "masks").mkdir(parents=True)  # what a killed worker leaves
    with_lock.append({"id": "a.mp4", "status": "retry", "key": key, "attempt": 1})
    with_lock.close()
    assert carry_out(batch, InLine).done == 1
    assert [p.name for p in (out / "episodes").iterdir()] == ["a.mp4"]


def test_a_full_disk_stops_and_loses_nothing(tmp_path):
    folder, out = make_folder(tmp_path / "data", "a", "full", "z"), tmp_path / "out"
    executor = InLine(slots=1)
    told = carry_out(make_batch(folder, out), lambda: executor)
    assert executor.closed and "disk is full" in told.stopped and (told.done, told.failed, told.left) == (1, 0, 2)
    assert statuses(out) == {"a.mp4": "done"}
    finish(told)
    (folder / "full.mp4").rename(folder / "room.mp4")
    assert carry_out(make_batch(folder, out), InLine).done == 2


def test_no_more_is_submitted_than_there_are_slots(tmp_path):
    folder, out = make_folder(tmp_path / "data", *[f"e{i}" for i in range(20)]), tmp_path / "out"
    executor, seen = InLine(slots=3), []
    with listening(lambda stage, done, total: seen.append((stage, done, total))):
        carry_out(make_batch(folder, out, limit=10), lambda: executor)
    assert executor.submitted == 10 and executor.most <= 3
    assert seen[0] == ("episodes", 0, 10) and seen[-1] == ("episodes", 10, 10)


def test_two_at_once_and_other_folders_are_refused(tmp_path):
    folder, out = make_folder(tmp_path / "data", "a"), tmp_path / "out"
    carry_out(make_batch(folder, out), InLine)
    writer = Manifest(out / "manifest")
    writer.lock()
    assert Manifest(out / "manifest").busy()
    with pytest.raises(FlowError, match="another batch is writing there"):
        carry_out(make_batch(folder, out), InLine)
    writer.close()
    assert not Manifest(out / "manifest").busy()
    with pytest.raises(FlowError, match="holds the batch of"):
        carry_out(make_batch(make_folder(tmp_path / "other", "a"), out), InLine)
    with pytest.raises(FlowError, match="other files and no batch"):
        carry_out(make_batch(folder, tmp_path), InLine)
    (tmp_path / "file").touch()
    with pytest.raises(FlowError, match="is a file"):
        carry_out(make_batch(folder, tmp_path / "file"), InLine)


def test_dead_letters_and_the_page(tmp_path):
    folder, out = make_folder(tmp_path / "data", "a", "bad <b>", 'bad "x", ü'), tmp_path / "out"
    finish(carry_out(make_batch(folder, out), InLine))
    rows = list(csv.DictReader((out / "dead_letters.csv").open(newline="", encoding="utf-8")))
    assert [row["id"] for row in rows] == ['bad "x", ü.mp4', "bad <b>.mp4"] and rows[0]["error"].endswith(
        "no robot in it"
    )
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "bad &lt;b&gt;.mp4" in page and "<b>.mp4" not in page and "no robot" in page
    assert "http" not in page.replace('lang="en"', "")


def test_ids_become_names_one_for_one():
    ids = ["a", "a/b", "a_b", ".hidden", "..", "ü", "x" * 300, "x" * 301, " ", "con\n", "a\0b", "A", "-rf"]
    names = [safe_name(id) for id in ids]
    assert len(set(names)) == len(ids) and safe_name("clip_01.mp4") == "clip_01.mp4"
    assert all(0 < len(n) <= 97 and "/" not in n and not n.startswith(".") and n.isascii() for n in names)


def test_an_id_that_is_no_text_is_left_out_and_said(tmp_path):
    folder = make_folder(tmp_path / "data", "a")
    (folder / b"bad\xff.mp4".decode("utf-8", "surrogateescape")).write_bytes(b"x")
    counts = Counts()
    found = list(remaining(open_dataset(folder), {}, tmp_path / "out", "key", counts))
    assert [id for id, _ in found] == ["a.mp4"] and counts.unusable == ["'bad\\udcff.mp4'"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be at least 1"),
        ({"runner": "slurm"}, "expected local, dask, ray"),
        ({"address": "tcp://x:1"}, "belong to --runner dask or ray"),
        ({"time_limit": 0}, "time limit must be positive"),
        ({"memory_limit": -1.0}, "memory limit must be positive"),
        ({"retries": -1}, "must not be negative"),
        ({"solve": "everything"}, "solve"),
        ({"kind": "zip"}, "expected lerobot"),
    ],
)
def test_wrong_arguments_are_told_before_any_work(tmp_path, options, message):
    folder = make_folder(tmp_path / "data", "a")
    with pytest.raises(UsageError, match=message):
        run_batch(folder, None, tmp_path / "out", **options)
    assert not (tmp_path / "out" / "episodes").exists()
