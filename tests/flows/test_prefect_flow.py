"""The same job as a Prefect flow: results kept across runs, retries for what is worth it, offline."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("prefect")

from flows.episode import load_episode
from flows.errors import FlowError
from urdf import RobotError

pytestmark = pytest.mark.usefixtures("cache", "quick_report", "harness")


@pytest.fixture(scope="session")
def harness():
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture
def flow(monkeypatch):
    import flows.prefect_flow

    monkeypatch.setitem(flows.prefect_flow._OPTIONS, "retry_delay_seconds", 0)
    for name, task in flows.prefect_flow.TASKS.items():
        monkeypatch.setitem(flows.prefect_flow.TASKS, name, task.with_options(retry_delay_seconds=0))
    return flows.prefect_flow.run_episode


def test_run_episode_is_a_flow(flow):
    import prefect

    import flows

    assert isinstance(flows.run_episode, prefect.Flow) and flows.run_episode is flow


def test_results_are_reused_across_runs(flow, clip, fakes, cache, tmp_path):
    out = flow(clip.video, "panda", tmp_path / "e")
    flow(clip.video, "panda", tmp_path / "e")
    assert (fakes.segment, fakes.fit) == (1, 1) and len(load_episode(out)) == 8
    flow(clip.video, "panda", tmp_path / "e", seed=1)
    assert (fakes.segment, fakes.fit) == (1, 2)
    # what Prefect remembers is worth nothing once the files are gone
    for entry in (cache / "stages").glob("fit-*"):
        (entry / "fit.npz").unlink()
    flow(clip.video, "panda", tmp_path / "e", seed=1)
    assert (fakes.segment, fakes.fit) == (1, 3)


def test_errors_of_the_machine_are_tried_again(flow, clip, fakes, tmp_path):
    fakes.fail = [MemoryError(), RuntimeError("again")]
    flow(clip.video, "panda", tmp_path / "e")
    assert fakes.fit == 3


def test_errors_of_the_user_are_not_and_come_out_as_they_are(flow, clip, fakes, tmp_path):
    fakes.fail = [FlowError("the masks are upside down")]
    with pytest.raises(FlowError, match=r"^the masks are upside down$"):
        flow(clip.video, "panda", tmp_path / "e")
    assert fakes.fit == 1 and not (tmp_path / "e").exists()
    with pytest.raises(RobotError, match="unknown robot"):
        flow(clip.video, "pandora", tmp_path / "e")


# runs the job again with other settings and stops for ever in the middle of one stage
KILLED = """
import sys, time
sys.path.insert(0, "{root}")
from pathlib import Path
import pose, segmentation
import flows.run
from flows.fit_files import load_trajectory
from flows.job import make_job

def stop(*arguments, **options):
    print("there", flush=True)
    time.sleep(60)

write_mask = segmentation.write_mask
entry = next((Path("{cache}") / "stages").glob("fit-*"))
pose.fit_video = lambda *arguments, **options: load_trajectory(entry)
flows.run.report_stage = lambda *arguments: None
if "{stage}" == "segment":
    segmentation.write_mask = lambda out, part, t, *a: stop() if t == 3 else write_mask(out, part, t, *a)
elif "{stage}" == "fit":
    pose.fit_video = stop
else:
    flows.run.write_json = stop
flows.run.run_job(make_job("{video}", "panda", masks="{masks}", seed=1), "{out}")
"""


@pytest.mark.parametrize("stage", ["segment", "fit", "publish"])
def test_a_killed_run_leaves_the_old_episode(clip, fakes, cache, tmp_path, stage):
    """SIGKILL in the middle of a stage of a second run; then the same run again, to the end."""
    from flows.run import run_episode

    out = run_episode(clip.video, "panda", tmp_path / "e")
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    script = KILLED.format(
        root=Path(__file__).parents[2], stage=stage, video=clip.video, masks=clip.masks, out=out, cache=cache
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        assert process.stdout.readline().strip() == "there"
        time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    again = run_episode(clip.video, "panda", tmp_path / "e", masks=clip.masks, seed=1)
    assert load_episode(again).settings["seed"] == 1


def test_a_batch_is_a_flow_with_a_task_an_episode(clip, fakes, tmp_path, monkeypatch):
    from prefect.client.orchestration import get_client

    import flows
    from flows.batch import prefect_batch
    from flows.batch.worker import run_task

    class PoolHere:
        workers, run, close = 2, staticmethod(run_task), staticmethod(lambda: None)

    monkeypatch.setattr(prefect_batch, "Pool", lambda workers, logs: PoolHere)
    videos = tmp_path / "clips"
    videos.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(clip.video, videos / name)
    (videos / "none.mp4").write_bytes(b"no video")
    told = flows.run_batch(videos, "panda", tmp_path / "out", workers=2)
    assert (told.done, told.failed, told.left) == (2, 1, 0)
    with get_client(sync_client=True) as client:
        ends = {run.name: run.state.type.value for run in client.read_task_runs() if run.name.endswith(".mp4")}
        (artifact,) = (a for a in client.read_latest_artifacts() if a.key == "urdfit-batch")
    assert ends == {"a.mp4": "COMPLETED", "b.mp4": "COMPLETED", "none.mp4": "FAILED"}
    assert artifact.description == told.summary()
