"""`urdfit batch --cron`: what is checked before anything is served, and one schedule on a real server."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

pytest.importorskip("prefect")

from flows.errors import FlowError, UsageError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("cron", ["every hour", "* * * *", "61 * * * *", ""])
def test_a_wrong_cron_is_told(cron):
    from flows.batch.schedule import check_schedule

    with pytest.raises(UsageError, match="--cron"):
        check_schedule(cron)


def test_a_wrong_time_zone_is_told_and_none_is_utc():
    from flows.batch.schedule import check_schedule

    with pytest.raises(UsageError, match="--timezone Mars/Base"):
        check_schedule("*/15 * * * *", "Mars/Base")
    assert check_schedule("*/15 * * * *").timezone == "UTC"
    assert check_schedule("0 3 * * 1-5", "Europe/Berlin").timezone == "Europe/Berlin"


def test_without_a_server_it_says_how_to_start_one(tmp_path):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.batch.schedule import serve_batch

    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        with pytest.raises(FlowError, match=r"PREFECT_API_URL is not set.*prefect server start"):
            serve_batch(tmp_path, "panda", tmp_path / "out", "* * * * *")
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        with pytest.raises(FlowError, match=r"no Prefect server answers.*prefect server start"):
            serve_batch(tmp_path, "panda", tmp_path / "out", "* * * * *")


def test_a_deployment_is_of_its_output_folder(tmp_path, monkeypatch):
    from flows.batch.schedule import deployment_name

    monkeypatch.chdir(tmp_path)
    assert deployment_name("clips of März") == deployment_name(tmp_path / "clips of März")
    assert deployment_name("a") != deployment_name("b") and deployment_name("a/b") != deployment_name("b")
    assert deployment_name("clips of März").isascii() and " " not in deployment_name("clips of März")


def test_the_example_deployment_fits_the_flow():
    """deploy/: what the files name exists, and nothing is published beyond loopback."""
    import importlib

    [deployment] = yaml.safe_load((ROOT / "deploy/prefect.yaml").read_text())["deployments"]
    module, _, name = deployment["entrypoint"].rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    assert set(deployment["parameters"]) == set(flow.parameters.properties)
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    compose = yaml.safe_load((ROOT / "deploy/docker-compose.yml").read_text())
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        assert set(service.get("depends_on", ())) <= set(compose["services"])
    volumes = [v.split(":")[0] for s in compose["services"].values() for v in s.get("volumes", ())]
    assert {v for v in volumes if v.isidentifier()} == set(compose["volumes"])


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def server(tmp_path):
    """A Prefect server on loopback with files of its own; the environment of its clients."""
    port = free_port()
    environment = dict(os.environ) | {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with open(tmp_path / "server.log", "w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/api"
    try:
        wait_for(lambda: answers(f"{url}/health"), 120, "the server")
        yield environment | {"PREFECT_API_URL": url}
    finally:
        process.terminate()
        process.wait(30)


def answers(url):
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


def wait_for(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not come within {seconds} s"
        time.sleep(0.3)


# fires every ten seconds; masks are given, so that an episode takes seconds
SERVE = """
from flows.batch.schedule import serve_batch
if __name__ == "__main__":
    options = dict(masks={masks!r}, camera={camera!r}, episode_reports=False)
    serve_batch({videos!r}, "panda", {out!r}, "* * * * * */10", **options)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_schedule_picks_up_new_videos_and_survives_its_death(clip, server, tmp_path):
    """A second video comes; the run for it is killed with the process that serves the schedule, which starts again."""
    from flows.batch.manifest import Manifest
    from flows.batch.plan import safe_name

    videos, out, masks = tmp_path / "videos", tmp_path / "out", tmp_path / "masks"
    videos.mkdir()
    masks.mkdir()

    def add(name):
        (masks / safe_name(name)).symlink_to(clip.masks)
        shutil.copy(clip.video, videos / f".{name}")
        os.rename(videos / f".{name}", videos / name)

    def rows():
        return [(r["id"], r["status"]) for r in Manifest(out / "manifest").table(["id", "status"]).to_pylist()]

    add("first.mp4")
    script = tmp_path / "serve.py"
    script.write_text(SERVE.format(videos=str(videos), out=str(out), masks=str(masks), camera=str(clip.cam)))
    environment = server | {"URDFIT_CACHE": os.environ["URDFIT_CACHE"]}

    def serve():
        log = open(tmp_path / "serve.log", "a")
        return subprocess.Popen(
            [sys.executable, script], env=environment, stdout=log, stderr=log, start_new_session=True
        )

    process = serve()
    try:
        wait_for(lambda: ("first.mp4", "done") in rows(), 300, "the first video")
        before = (out / "episodes" / "first.mp4" / "episode.json").stat()
        add("second.mp4")
        wait_for(Manifest(out / "manifest").busy, 60, "the run for the second video")
        os.killpg(process.pid, signal.SIGKILL)  # in the middle of it
        process.wait()
        wait_for(lambda: not Manifest(out / "manifest").busy(), 10, "the end of the killed run")
        process = serve()
        wait_for(lambda: ("second.mp4", "done") in rows(), 300, "the second video")
        time.sleep(12)  # one more firing, with nothing to do
        process.send_signal(signal.SIGINT)
        process.wait(60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert rows() == [("first.mp4", "done"), ("second.mp4", "done")]
    after = (out / "episodes" / "first.mp4" / "episode.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)  # the old one was not redone
    states = deployment_states(server)
    assert "COMPLETED" in states and "FAILED" not in states
    assert "RUNNING" not in states  # what was killed is not left running
    assert active_schedules(server) == [True]  # on the server, also while nobody serves


def ask(server, path):
    import json

    request = urllib.request.Request(
        f"{server['PREFECT_API_URL']}/{path}/filter", b"{}", {"Content-Type": "application/json"}
    )
    return json.load(urllib.request.urlopen(request, timeout=30))


def deployment_states(server):
    return [run["state_type"] for run in ask(server, "flow_runs")]


def active_schedules(server):
    return [schedule["active"] for deployment in ask(server, "deployments") for schedule in deployment["schedules"]]
