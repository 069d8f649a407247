"""`urdfit twin` killed in the middle of a stage, then run again: it goes on from the stages that were finished."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from flows.twin_run import SCENE_FILES
from twin import Mesh
from twin.picture import draw, looking
from twin.scene_files import read_scene

pytestmark = pytest.mark.slow  # starts the program anew


@pytest.fixture
def rig(tmp_path: Path) -> Path:
    """Two cameras over a box on a plate."""
    box = trimesh.creation.box((0.12, 0.12, 0.12))
    plate = trimesh.creation.box((1.2, 1.2, 0.04))
    meshes = [
        Mesh(np.asarray(s.vertices) + at, np.asarray(s.faces, np.int32), np.full((len(s.vertices), 3), shade, np.uint8))
        for s, at, shade in ((plate, (0.5, 0, -0.02), 140), (box, (0.4, -0.15, 0.06), 200))
    ]
    entries = []
    for name, eye in (("left", (0.5, 0.9, 0.7)), ("right", (0.5, -0.9, 0.7))):
        camera = looking(eye, (0.5, 0, 0), (200, 150), 190.0)
        drawn = draw(meshes, camera)
        for folder, image in (
            (name, drawn.image[..., ::-1]),
            (f"{name}_depth", (1000 * drawn.depth).round().astype(np.uint16)),
        ):
            (tmp_path / folder).mkdir()
            cv2.imwrite(str(tmp_path / folder / "0.png"), image)
        entries.append({"name": name, "video": name, "depth": f"{name}_depth", "camera": camera.to_dict()})
    (tmp_path / "rig.json").write_text(json.dumps({"cameras": entries, "world": "base"}))
    return tmp_path / "rig.json"


@pytest.mark.parametrize(("finished", "died_in"), [("twin-fuse", "twin-objects"), ("twin-objects", "twin-scene")])
def test_a_killed_run_goes_on(rig: Path, tmp_path: Path, finished: str, died_in: str):
    out, cache = tmp_path / "out", tmp_path / "cache"
    arguments = ["twin", str(rig), "--out", str(out), "--voxel", "0.008", "--no-prefect", "--quiet"]
    command = [sys.executable, "-m", "flows.cli", *arguments]
    environment = {**os.environ, "URDFIT_CACHE": str(cache)}
    process = subprocess.Popen(command, env=environment)
    deadline = time.monotonic() + 120
    while not list(cache.glob(f"stages/{finished}-*/manifest.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(0.05)  # into the stage that follows
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not out.exists() and not list(cache.glob(f"stages/{died_in}-*/manifest.json"))
    before = {file: file.stat().st_ino for file in cache.glob("stages/twin-*/manifest.json")}
    subprocess.run(command, env=environment, check=True, timeout=240)
    assert before and all(file.stat().st_ino == number for file, number in before.items())  # none was made again
    assert {name for name in SCENE_FILES if not (out / name).exists()} <= {"robot.parquet"}  # of a scene with a robot
    assert sum(not body.static for body in read_scene(out).bodies) == 1
