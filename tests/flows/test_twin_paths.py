"""Ways through `urdfit twin` that known poses and masks do not take: other clocks, few masks, cameras that move."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from flows.files import read_json
from flows.twin_job import INSTANTS, make_twin_job
from flows.twin_run import build_twin, run_twin_stage
from flows.twin_stages import clocks_key, clocks_stage
from segmentation import write_mask
from twin import Mesh, TwinError, load_rig
from twin.chosen import MasksAt
from twin.picture import draw, looking
from twin.scene_files import read_scene

LATE = 0.4  # s by which the second camera's stamps are behind
FPS, COUNT = 15.0, 120


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """rig.json: two cameras see a square that goes and stops; the stamps of the second are 0.4 s too low."""
    folder = tmp_path_factory.mktemp("clocks")
    knots = np.random.default_rng(4).uniform(0, 1, 24) ** 3
    clock = np.arange(-1, 10, 0.001)
    place = np.cumsum(np.interp(clock, np.linspace(-1, 10, len(knots)), knots)) * 0.012
    times = np.arange(COUNT) / FPS
    entries = []
    for name, scale in (("near", 1.6), ("far", 1.0)):
        (folder / name).mkdir()
        for t, x in enumerate(np.interp(times, clock, place)):
            image = np.full((72, 96, 3), 30, np.uint8)
            left = int(scale * x) % 60
            image[20 : 20 + int(20 * scale), left : left + int(20 * scale)] = 210
            cv2.imwrite(str(folder / name / f"{t:04d}.png"), image)
        stamps = times - (LATE if name == "far" else 0.0)
        entries.append({"name": name, "video": name, "timestamps": stamps.tolist()})
    (folder / "rig.json").write_text(json.dumps({"cameras": entries}))
    return folder / "rig.json"


def test_stamps_that_are_late_are_put_right_before_frames_are_chosen(clip: Path, tmp_path: Path):
    job = make_twin_job(clip, "panda")
    assert job.sparse
    clocks_stage(job, tmp_path)
    found = read_json(tmp_path / "clocks.json")
    assert found["near"] == 0 and found["far"] == pytest.approx(LATE, abs=0.03)

    told = replace(job, clocks=tuple(found.items()))
    near, far = told.chosen()
    assert 20 <= len(near) <= INSTANTS
    # the same instants: the pictures are numbered alike, and now so are the frames that are chosen
    both = np.intersect1d(near, far)
    assert len(both) >= 0.8 * len(near)
    wrong = job.chosen()
    assert len(np.intersect1d(*wrong)) < len(both)
    again = run_twin_stage("clocks", clocks_key(load_rig(clip)), job, (), {})
    assert read_json(again.folder / "clocks.json") == found


def test_few_frames_have_masks_and_they_go_by_their_numbers(clip: Path, tmp_path: Path):
    job = make_twin_job(clip, "panda")
    near = job.chosen()[0]
    for number in near:
        write_mask(tmp_path / "masks", "robot", int(number), np.full((72, 96), number % 2 * 255, np.uint8))
    masks = job.robot_masks(str(tmp_path / "masks"), job.open_rig().cameras[0])
    assert isinstance(masks, MasksAt) and len(masks) == COUNT and masks.frames.tolist() == near.tolist()
    for number in range(COUNT):
        known = masks[number]
        assert (known is None) == (number not in near)
        if known is not None:
            assert (np.asarray(known["robot"]).max() > 0) == bool(number % 2)
    every = make_twin_job(clip, "panda", every=2)
    assert not every.sparse and every.chosen() is None  # a number of frames that somebody asks for is used as it is


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """transforms.json: one camera with depth carried around a box on a table."""
    folder = tmp_path_factory.mktemp("carried") / "scans" / "first"
    folder.mkdir(parents=True)
    meshes = [
        _box((1.2, 1.2, 0.04), (0.5, 0, -0.02), (150, 140, 120)),
        _box((0.12, 0.12, 0.12), (0.5, 0, 0.06), (200, 60, 40)),
    ]
    frames = []
    for t, angle in enumerate(np.linspace(0, 2 * np.pi, 7)[:-1]):
        camera = looking((0.5 + np.cos(angle), np.sin(angle), 0.8), (0.5, 0, 0), (200, 150), 190.0)
        drawn = draw(meshes, camera)
        cv2.imwrite(str(folder / f"{t}.png"), drawn.image[..., ::-1])
        cv2.imwrite(str(folder / f"{t}_depth.png"), (1000 * drawn.depth).round().astype(np.uint16))
        T = np.linalg.inv(np.asarray(camera.T_cam_base)) @ np.diag([1.0, -1, -1, 1])  # OpenGL's axes
        frames.append({"file_path": f"{t}.png", "depth_file_path": f"{t}_depth.png", "transform_matrix": T.tolist()})
    K = np.asarray(camera.K)
    lens = {"w": 200, "h": 150, "fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2] + 0.5, "cy": K[1, 2] + 0.5}
    (folder / "transforms.json").write_text(json.dumps({**lens, "frames": frames}))
    return folder


def _box(size: tuple[float, ...], at: tuple[float, ...], color: tuple[int, int, int]) -> Mesh:
    shape = trimesh.creation.box(size)
    colors = np.full((len(shape.vertices), 3), color, np.uint8)
    return Mesh(np.asarray(shape.vertices) + np.array(at), np.asarray(shape.faces, np.int32), colors)


def test_the_report_shows_a_camera_that_moves_from_where_it_was(carried: Path, tmp_path: Path):
    out = build_twin(carried, None, tmp_path / "scene", voxel=0.006)
    scene = read_scene(out)
    assert [body.name for body in scene.bodies if not body.static] == ["object_0"]
    (said,) = scene.metrics["cameras"]
    assert said["text"] == "moves; poses as given"
    assert said["difference"] < 8 and said["covered"] > 0.3  # from any other place of its way it would not look like it
    page = (out / "report.html").read_text()
    assert "<b>1</b><span>camera, poses as given</span>" in page


def test_a_rig_is_found_below_the_folder_that_is_given(carried: Path):
    assert len(load_rig(carried.parents[1]).cameras) == len(load_rig(carried).cameras) == 1
    other = carried.parent / "second"
    other.mkdir()
    (other / "transforms.json").write_text("{}")
    with pytest.raises(TwinError, match=r"holds 2 rigs; give one of scans/first, scans/second"):
        load_rig(carried.parents[1])
