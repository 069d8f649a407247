"""`urdfit train data`: bad usage, bad input, a small run that is repeated, and (slow) a run that is killed."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.cli import main
from segmentation.training.shards import ShardSet

ROOT = Path(__file__).parents[2]


@pytest.fixture
def urdfit(capsys):
    """Runs the command line; returns exit code, stdout, stderr."""

    def run(*arguments):
        code = main(["train", "data", *map(str, arguments)])
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


def test_help_has_an_example(urdfit):
    code, out, _ = urdfit("--help")
    assert code == 0 and "Example: urdfit train data --robot" in " ".join(out.split())


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--robot", "panda"),
        ("--robot", "panda", "--out", "o", "--size", "big"),
        ("--robot", "panda", "--out", "o", "--size", "10x10"),
        ("--robot", "panda", "--out", "o", "--size", "640x-480"),
        ("--robot", "panda", "--out", "o", "--count", "0"),
        ("--robot", "panda", "--out", "o", "--workers", "0"),
        ("--robot", "panda", "--out", "o", "--seed", "-1"),
    ],
)
def test_bad_usage_is_exit_code_2(urdfit, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = urdfit(*arguments)
    assert code == 2 and out == "" and re.fullmatch(r"urdfit: error: [^\n]+\n", err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--robot", "no_such_robot"), "no_such_robot"),
        (("--robot", "panda=none"), "expected a positive number behind ="),
        (("--robot", "panda", "--photos", "absent"), "absent: no such file or folder"),
    ],
)
def test_bad_input_is_exit_code_1_and_one_line(urdfit, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = urdfit(*arguments, "--out", "o", "--count", 1, "--workers", 1)
    assert code == 1 and message in err and re.fullmatch(r"urdfit: error: [^\n]+\n", err)
    assert not list(tmp_path.iterdir())


def test_a_run_and_the_same_again(urdfit, tmp_path):
    arguments = ("--robot", "panda", "--out", tmp_path, "--count", 2, "--clips", 1, "--frames", 2, "--size", "64x48")
    code, out, err = urdfit(*arguments, "--workers", 1)
    assert code == 0 and err == "" and "frames: 4, of them drawn now: 4" in out
    shards = ShardSet(tmp_path)
    assert len(shards) == 4 and sorted(map(len, shards.clips)) == [1, 1, 2]
    code, out, _ = urdfit(*arguments, "--workers", 1)
    assert code == 0 and "drawn now: 0" in out
    assert urdfit(*arguments, "--quiet")[1] == ""


@pytest.mark.slow
def test_a_killed_run_leaves_no_processes_and_goes_on_to_the_same_bytes(urdfit, tmp_path):
    settings = ["--robot", "panda", "--count", "0", "--clips", "12", "--frames", "2", "--size", "64x48"]
    command = [sys.executable, "-m", "flows.cli", "train", "data", *settings, "--workers", "2", "--out"]
    with subprocess.Popen([*command, str(tmp_path / "a")], cwd=ROOT, start_new_session=True) as run:
        deadline = time.monotonic() + 250
        while not list(tmp_path.glob("a/*.tar")) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(run.pid, signal.SIGKILL)  # the parent alone
    assert 1 <= len(list(tmp_path.glob("a/*.tar"))) < 4
    while time.monotonic() < deadline and _alive(run.pid):
        time.sleep(0.2)
    assert not _alive(run.pid)
    for name in ("a", "b"):
        assert urdfit(*settings, "--workers", 2, "--out", tmp_path / name)[0] == 0
    files = [{p.name: p.read_bytes() for p in (tmp_path / name).glob("*.tar")} for name in ("a", "b")]
    assert files[0] == files[1] and len(files[0]) == 4 and not list(tmp_path.glob("a/.*"))


def _alive(group: int) -> bool:
    """True while a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
