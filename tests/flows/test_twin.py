"""`urdfit twin` on a tiny rig of three cameras with depth: every file, resuming, edits, and inputs that are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

import flows.twin_run
from flows.cli import main
from flows.store import stored_in
from flows.twin_run import SCENE_FILES, build_twin
from twin import Mesh
from twin.picture import draw, looking
from twin.scene_files import read_scene

SIZE, FOCAL = (200, 150), 190.0
EYES = {"left": (0.5, 0.9, 0.7), "right": (0.5, -0.9, 0.7), "back": (1.4, 0.1, 0.8)}
BOX, CAN = np.array([0.4, -0.15, 0.06]), np.array([0.6, 0.2, 0.05])


def _meshes() -> list[Mesh]:
    shapes = [
        (trimesh.creation.box((1.2, 1.2, 0.04)), (0.5, 0, -0.02), (150, 140, 120)),
        (trimesh.creation.box((0.12, 0.12, 0.12)), BOX, (200, 60, 40)),
        (trimesh.creation.cylinder(0.05, 0.1, sections=32), CAN, (40, 90, 190)),
    ]
    meshes = []
    for shape, at, color in shapes:
        colors = np.full((len(shape.vertices), 3), color, np.uint8)
        meshes.append(Mesh(np.asarray(shape.vertices) + at, np.asarray(shape.faces, np.int32), colors))
    return meshes


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """rig.json with poses; three cameras, two pictures each, depth in millimetres."""
    folder = tmp_path_factory.mktemp("rig")
    entries = []
    for name, eye in EYES.items():
        camera = looking(eye, (0.5, 0, 0), SIZE, FOCAL)
        drawn = draw(_meshes(), camera)
        for kind in ("", "_depth"):
            (folder / f"{name}{kind}").mkdir()
        for t in range(2):
            cv2.imwrite(str(folder / name / f"{t}.png"), drawn.image[..., ::-1])
            cv2.imwrite(str(folder / f"{name}_depth" / f"{t}.png"), (1000 * drawn.depth).round().astype(np.uint16))
        entries.append({"name": name, "video": name, "depth": f"{name}_depth", "camera": camera.to_dict()})
    (folder / "rig.json").write_text(json.dumps({"cameras": entries, "world": "base"}))
    return folder / "rig.json"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    store = tmp_path_factory.mktemp("store")

    def run(rig: Path, out: Path, **options) -> Path:
        with stored_in(store):
            return build_twin(rig, None, out, voxel=0.008, **options)

    return run


@pytest.fixture(scope="module")
def scene(rig: Path, build: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(rig, tmp_path_factory.mktemp("out") / "scene")


def test_objects_are_found_where_they_are(scene: Path):
    bodies = {b.name: b for b in read_scene(scene).bodies}
    assert bodies["table"].static
    assert bodies["table"].T_base_body[2, 3] == pytest.approx(0, abs=0.008)
    places = [b.T_base_body[:2, 3] for b in bodies.values() if not b.static]
    assert len(places) == 2
    for at in (BOX, CAN):
        assert min(np.linalg.norm(place - at[:2]) for place in places) < 0.01


def test_every_file_is_there(scene: Path):
    missing = {name for name in SCENE_FILES if not (scene / name).exists()}
    assert missing <= {"robot.parquet"}  # of a scene without a robot
    data = json.loads((scene / "scene.json").read_text())
    assert "no robot was given" in data["warnings"][0]
    for camera in data["metrics"]["cameras"]:
        assert camera["covered"] > 0.2
        assert camera["difference"] < 12


def test_objects_rest_in_mujoco(scene: Path):
    mujoco = pytest.importorskip("mujoco", reason="needs mujoco")
    model = mujoco.MjModel.from_xml_path(str(scene / "scene.xml"))
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    mujoco.mj_forward(model, data)
    start = data.xpos.copy()
    while data.time < 2:
        mujoco.mj_step(model, data)
    assert np.linalg.norm(data.xpos - start, axis=1).max() < 0.005


def test_a_second_run_takes_all_from_the_store(
    scene: Path, rig: Path, build: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for stage in ("fuse_stage", "objects_stage", "scene_stage"):
        monkeypatch.setattr(flows.twin_run, stage, None)  # to be called would fail
    again = build(rig, tmp_path / "again")
    assert (again / "scene.json").read_bytes() == (scene / "scene.json").read_bytes()


def test_a_run_that_died_goes_on_where_it_was(
    rig: Path, build: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def die(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(flows.twin_run, "objects_stage", die)
        with pytest.raises(MemoryError):
            build(rig, tmp_path / "out", density=250)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(flows.twin_run, "fuse_stage", None)
    assert (build(rig, tmp_path / "out", density=250) / "report.html").is_file()


def test_edits_and_other_files_stay(scene: Path, rig: Path, build: Callable[..., Path], tmp_path: Path):
    out = build(rig, tmp_path / "out")
    (out / "notes.txt").write_text("mine")
    edits = json.loads((out / "objects.json").read_text())
    edits["object_0"] |= {"name": "crate", "material": "cardboard"}
    edits["gone"] = {"name": "nothing"}
    (out / "objects.json").write_text(json.dumps(edits))
    build(rig, out)
    read = read_scene(out)
    crate = next(b for b in read.bodies if b.name == "crate")
    before = next(b for b in read_scene(scene).bodies if b.name == "object_0")
    assert crate.material == "cardboard"
    assert crate.mass == pytest.approx(before.mass * 150 / before.density)
    assert (out / "objects" / "crate").is_dir()
    assert not (out / "objects" / "object_0").exists()
    assert "crate" in (out / "scene.xml").read_text()
    assert any("gone" in warning for warning in read.warnings)
    assert json.loads((out / "objects.json").read_text())["object_0"]["name"] == "crate"
    assert (out / "notes.txt").read_text() == "mine"


def test_wrong_edits_change_nothing(rig: Path, build: Callable[..., Path], tmp_path: Path):
    out = build(rig, tmp_path / "out")
    before = (out / "scene.json").read_bytes()
    (out / "objects.json").write_text('{"object_0": {"density": -1}}')
    with pytest.raises(Exception, match="object_0: density -1"):
        build(rig, out)
    assert (out / "scene.json").read_bytes() == before


def test_cameras_that_cannot_be_used_are_named(rig: Path, build: Callable[..., Path], tmp_path: Path):
    data = json.loads(rig.read_text())
    for entry in data["cameras"]:
        entry["video"], entry["depth"] = str(rig.parent / entry["video"]), str(rig.parent / entry["depth"])
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    small = dict(data["cameras"][0]["camera"], width=320)
    data["cameras"] += [
        {"name": "broken", "video": "broken.mp4", "camera": data["cameras"][0]["camera"]},
        {**data["cameras"][0], "name": "other lens", "camera": small},
    ]
    (tmp_path / "rig.json").write_text(json.dumps(data))
    out = build(tmp_path / "rig.json", tmp_path / "out")
    said = {c["name"]: c["text"] for c in json.loads((out / "scene.json").read_text())["metrics"]["cameras"]}
    assert said["broken"].startswith("left out: ")
    assert "320x150 pixels, its pictures have 200x150" in said["other lens"]
    assert said["left"] == "pose as given"
    assert "broken.mp4" in (out / "report.html").read_text()


@pytest.mark.slow  # starts Prefect's embedded server
def test_the_flow_runs_under_prefect(rig: Path, scene: Path, tmp_path: Path):
    pytest.importorskip("prefect")
    from prefect.testing.utilities import prefect_test_harness

    import flows

    with prefect_test_harness(server_startup_timeout=180):
        out = flows.build_twin(rig, None, tmp_path / "out", voxel=0.008)
        again = flows.build_twin(rig, None, tmp_path / "again", voxel=0.008)
    assert [b.name for b in read_scene(out).bodies] == [b.name for b in read_scene(scene).bodies]
    assert (again / "scene.json").read_bytes() == (out / "scene.json").read_bytes()


@pytest.mark.slow  # the whole of it, with a robot that moves: a minute or two
def test_synthetic_rig(tmp_path: Path):
    """Joints known, true masks, six small frames: cameras, surface and objects are where they are."""
    from flows.sample_rig import SMALL, sample_rig
    from flows.twin_scores import evaluate_twin

    rig = sample_rig(SMALL)
    out = build_twin(rig / "rig.json", "panda", tmp_path / "out", masks=rig / "masks", joints=rig / "q.json")
    errors = evaluate_twin(out, rig / "truth")
    assert errors.surface.f_score[0] > 0.92
    assert all(found is not None and found.position < 0.005 for found in errors.objects.values())
    assert all(camera is not None and camera.position < 0.003 for camera in errors.cameras.values())


@pytest.mark.slow  # a browser
def test_the_report_is_a_page_of_its_own(scene: Path):
    from browser import browse

    visit = browse(scene / "report.html", until="document.images.length >= 12")
    assert not visit.errors
    assert not visit.outside
    assert visit.variety > 20


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--voxel", "7"], 2, "--voxel 7: expected metres"),
        (["--bounds", "0,0,0,1,1"], 2, "--bounds: expected x0,y0,z0,x1,y1,z1"),
        (["--joints", "q.json"], 2, "--joints needs --robot"),
        (["--masks", "nowhere"], 2, "--masks nowhere: no such folder"),
        (["--robot", "auto"], 2, "--robot auto"),
        (["--robot", "no_such_robot"], 1, "no_such_robot"),
    ],
)
def test_wrong_usage(rig: Path, tmp_path: Path, capfd, arguments: list[str], code: int, said: str):
    assert main(["twin", str(rig), "--out", str(tmp_path / "out"), "--no-prefect", *arguments]) == code
    errors = capfd.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_rig_no_poses_no_room(rig: Path, tmp_path: Path, capfd):
    assert main(["twin", str(tmp_path / "none.json"), "--out", str(tmp_path / "o"), "--no-prefect"]) == 1
    assert "no such file or folder; give a rig.json" in capfd.readouterr().err
    data = json.loads(rig.read_text())
    for entry in data["cameras"]:
        entry["video"], entry["depth"] = str(rig.parent / entry["video"]), str(rig.parent / entry["depth"])
        entry["camera"]["T_cam_base"] = None
    (tmp_path / "rig.json").write_text(json.dumps(data))
    assert main(["twin", str(tmp_path / "rig.json"), "--out", str(tmp_path / "o"), "--no-prefect"]) == 1
    assert "poses must be given" in capfd.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("all I have")
    assert main(["twin", str(rig), "--out", str(tmp_path / "full"), "--no-prefect"]) == 1
    assert "holds other files and no scene" in capfd.readouterr().err
