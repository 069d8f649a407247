"""The command line in-process: every command, every kind of bad input, exit codes, nothing half-written."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from flows.episode import write_episode

COMMANDS = (
    "run", "segment", "fit", "actions", "demo", "view", "doctor",
    "robots list", "robots show", "robots check", "robots fetch",
    "evaluate masks", "evaluate protocol", "evaluate pose",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(urdfit, command):
    code, out, _ = urdfit(*command.split(), "--help")
    assert code == 0 and f"Example: urdfit {command}" in " ".join(out.split())


def test_help_needs_no_heavy_modules():
    script = """
import sys
from flows.cli import main
main(["--help"])
print([m for m in ("torch", "numba", "cv2", "prefect") if m in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert run.returncode == 0 and run.stdout.splitlines()[-1] == "[]" and "Commands:" in run.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("bogus",),
        ("run",),
        ("run", "x.mp4", "--robot", "panda"),
        ("run", "x.mp4", "--robot", "panda", "--out", "o", "--seed", "many"),
        ("run", "x.mp4", "--robot", "panda", "--out", "o", "--wat"),
        ("segment", "x.mp4", "--out", "o", "--part", "foot"),
        ("evaluate", "masks", "a"),
        ("actions", "e", "--out", "o", "--format", "xls"),
        ("actions", "e", "--out", "o", "--space", "outer"),
        ("actions", "e", "--out", "o.csv", "--format", "parquet"),
    ],
)
def test_bad_usage_is_exit_code_2(urdfit, arguments):
    code, out, err = urdfit(*arguments)
    assert code == 2 and out == "" and re.fullmatch(r"urdfit: error: [^\n]+\n", err)


def bad_inputs(clip, folder):
    """Name -> (arguments of `urdfit run`, what the message must say)."""
    base = {"video": clip.video, "robot": "panda", "camera": clip.cam, "masks": clip.masks}
    data = clip.video.read_bytes()
    (folder / "empty.mp4").touch()
    (folder / "cut.mp4").write_bytes(data[: len(data) // 2])
    (folder / "text.mp4").write_text("no video at all\n" * 50)
    (folder / "images").mkdir()
    camera = json.loads(clip.cam.read_text())
    cameras = {
        "singular": camera | {"K": np.zeros((3, 3)).tolist()},
        "shape": camera | {"K": [[1, 2], [3, 4]]},
        "other size": camera | {"width": 640, "height": 480},
        "no rotation": camera | {"T_cam_base": np.ones((4, 4)).tolist()},
        "no K": {"width": 160, "height": 120},
        "words": camera | {"K": "wide"},
    }
    for name, content in cameras.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "broken.json").write_text("{")
    from segmentation import MaskFolder, write_mask

    masks = MaskFolder(clip.masks)
    for t in range(len(masks)):
        write_mask(folder / "small", "robot", t, masks[t]["robot"][::2, ::2])
        if t < 5:
            write_mask(folder / "few", "robot", t, masks[t]["robot"])
        write_mask(folder / "black", "robot", t, np.zeros((120, 160), np.uint8))
    (folder / "none").mkdir()
    shape = '<visual><geometry><mesh filename="lost.stl"/></geometry></visual>'
    urdf = f'<robot name="r"><link name="a">{shape}</link></robot>'
    (folder / "lost.urdf").write_text(urdf)
    (folder / "broken.urdf").write_text("<robot")
    names = ["panda_joint1", "panda_joint2"]
    (folder / "q_names.json").write_text(json.dumps({"joint_names": ["elbow"], "q": [[0.0]]}))
    (folder / "q_rows.json").write_text(json.dumps({"joint_names": names, "q": [[0.0, 0.0]] * 3}))
    (folder / "q_columns.json").write_text(json.dumps({"joint_names": names, "q": [[0.0]] * 8}))
    (folder / "q_words.json").write_text(json.dumps({"joint_names": names, "q": "straight"}))
    cases = {
        "missing video": ({"video": folder / "gone.mp4"}, "gone.mp4"),
        "empty video": ({"video": folder / "empty.mp4"}, "empty.mp4"),
        "cut video": ({"video": folder / "cut.mp4"}, "cut.mp4"),
        "no video": ({"video": folder / "text.mp4"}, "text.mp4"),
        "folder without images": ({"video": folder / "images"}, "images"),
        "unknown robot": ({"robot": "pandora"}, "pandora"),
        "missing urdf": ({"robot": folder / "gone.urdf"}, "gone.urdf"),
        "missing mesh": ({"robot": folder / "lost.urdf"}, "lost.stl"),
        "broken urdf": ({"robot": folder / "broken.urdf"}, "broken.urdf"),
        "missing camera": ({"camera": folder / "gone.json"}, "gone.json"),
        "broken camera": ({"camera": folder / "broken.json"}, "broken.json"),
        "masks missing": ({"masks": folder / "gone"}, "gone"),
        "masks none": ({"masks": folder / "none"}, "none"),
        "masks of another size": ({"masks": folder / "small"}, "80x60"),
        "masks of another number": ({"masks": folder / "few"}, "5"),
        "masks without a robot": ({"masks": folder / "black"}, "no robot found"),
        "joints of another robot": ({"joints": folder / "q_names.json"}, "elbow"),
        "joints of another length": ({"joints": folder / "q_rows.json"}, "3 rows"),
        "joints of another width": ({"joints": folder / "q_columns.json"}, "q_columns.json"),
        "joints in words": ({"joints": folder / "q_words.json"}, "q_words.json"),
        "solve for anything": ({"solve": "camera,love"}, "love"),
        "unknown weights": ({"masks": None, "weights": "gone"}, "gone"),
    }
    cases |= {f"camera: {name}": ({"camera": folder / f"{name}.json"}, f"{name}.json") for name in cameras}
    return {name: (base | changes, text) for name, (changes, text) in cases.items()}


def test_bad_input_is_told_in_one_line_and_leaves_nothing(clip, cache, tmp_path, urdfit):
    out = tmp_path / "out"
    wrong = []
    for name, (options, text) in bad_inputs(clip, tmp_path).items():
        video = options.pop("video")
        flags = [f"--{k}={v}" for k, v in options.items() if v is not None]
        code, stdout, err = urdfit("run", video, *flags, "--out", out, "--no-prefect")
        ok = code in (1, 2) and stdout == "" and re.fullmatch(r"urdfit: error: [^\n]{10,400}\n", err) and text in err
        left = [p.name for p in (cache / "stages").glob(".*")] if (cache / "stages").exists() else []
        if not ok or out.exists() or left:
            wrong.append((name, code, err, left))
    assert not wrong


def test_a_run_from_the_command_line(clip, fakes, quick_report, cache, tmp_path, urdfit):
    out = tmp_path / "e"
    code, text, err = urdfit("run", clip.video, "-r", "panda", "-o", out, "--camera", clip.cam, "--no-prefect")
    assert code == 0 and err == "" and "mean IoU 0.950" in text and "warning: no robot found in 2 of 8" in text
    assert urdfit("run", clip.video, "-r", "panda", "-o", out, "--no-prefect", "--quiet") == (0, "", "")


def test_segment_then_fit(clip, fakes, cache, tmp_path, urdfit):
    code, _, err = urdfit("segment", clip.video, "--out", tmp_path / "m", "--part", "arm")
    assert (code, err) == (0, "") and (tmp_path / "m" / "arm").is_dir()
    code, _, err = urdfit("fit", clip.video, "-r", "panda", "--masks", tmp_path / "m", "-o", tmp_path / "e")
    assert (code, err) == (0, "")
    assert {p.name for p in (tmp_path / "e").iterdir()} == {"episode.json", "trajectory.parquet", "masks"}


def test_actions_as_tables(make_episode, tmp_path, urdfit):
    first = write_episode(make_episode(), tmp_path / "a")
    second = write_episode(make_episode(), tmp_path / "b")
    assert urdfit("actions", first, "--out", tmp_path / "one.csv", "--format", "csv")[0] == 0
    table = pyarrow.csv.read_csv(tmp_path / "one.csv")
    assert table.column_names[:3] == ["frame_index", "time_s", "action_dx"] and len(table) == 8
    assert urdfit("actions", first, second, "--out", tmp_path / "both.parquet", "--space", "joint")[0] == 0
    both = pq.read_table(tmp_path / "both.parquet").to_pydict()
    assert len(both["episode"]) == 16 and len(set(both["episode"])) == 2
    episode = make_episode()
    np.testing.assert_array_equal(both["action_panda_joint2"][:7], episode.q[1:, 1])
    assert urdfit("actions", first, second, "--out", tmp_path / "each")[0] == 0
    assert {p.name for p in (tmp_path / "each").iterdir()} == {"a.parquet", "b.parquet"}
    code, _, err = urdfit("actions", tmp_path / "nothing", "--out", tmp_path / "x.parquet")
    assert code == 1 and "no episode" in err


def test_robots(urdfit, tmp_path):
    code, out, _ = urdfit("robots", "list")
    assert code == 0 and "panda" in out
    code, out, _ = urdfit("robots", "show", "panda")
    assert code == 0 and "panda_joint7" in out and "opens 80 mm" in out
    code, out, _ = urdfit("robots", "check", "panda", "--no-sheet")
    assert code == 0 and "pinocchio" in out and "FAIL" not in out
    code, _, err = urdfit("robots", "check", tmp_path / "none.urdf")
    assert code == 1 and "none.urdf" in err


def test_evaluate(clip, make_episode, tmp_path, urdfit):
    code, out, _ = urdfit("evaluate", "masks", clip.masks, clip.masks)
    assert code == 0 and out.count("1.000") == 9
    episode = write_episode(make_episode(), tmp_path / "e")
    code, out, _ = urdfit("evaluate", "pose", episode, clip.folder / "truth.json")
    assert code == 0 and re.search(r"median joint error\s+0\.00°", out) and "0.0 mm, 0.00°" in out
    code, _, err = urdfit("evaluate", "pose", episode, tmp_path / "gone.json")
    assert code == 1 and "gone.json" in err


def test_view(make_episode, tmp_path, urdfit):
    write_episode(replace(make_episode()), tmp_path)
    code, _, err = urdfit("view", tmp_path, "--report")
    assert code == 1 and "report.html" in err
    code, _, err = urdfit("view", tmp_path / "nothing")
    assert code == 1 and "neither an episode" in err
    (tmp_path / "report.html").touch()
    code, out, _ = urdfit("view", tmp_path, "--print")
    assert code == 0 and out.strip() == str(tmp_path / "report.html")


def test_doctor(urdfit, fakes):
    code, out, _ = urdfit("doctor")
    assert code == 0
    for part in (
        "python",
        "torch",
        "prefect",
        "CUDA",
        "pytorch3d",
        "default segmenter",
        "training encoder",
        "cache folder",
    ):
        assert part in out, part


def test_doctor_tells_what_is_missing(urdfit, fakes, monkeypatch):
    import flows.doctor

    real = flows.doctor.version
    monkeypatch.setattr(flows.doctor, "version", lambda name: "not installed" if name == "av" else real(name))
    code, out, _ = urdfit("doctor")
    assert code == 1 and "reading and writing videos: pip install av" in out  # all on one line


def test_doctor_names_extras_as_pip_does(urdfit, fakes, monkeypatch):
    import flows.doctor

    real = flows.doctor.version
    found = {"viser": "not installed", "SQLAlchemy": "2.1.9"}
    monkeypatch.setattr(flows.doctor, "version", lambda name: found.get(name) or real(name))
    code, out, _ = urdfit("doctor")
    assert "urdfit[view]" in out  # in brackets, which the table could take for markup
    assert code == 1 and "SQLAlchemy" in out and "schedules" in out


def test_faults_of_ours_are_not_hidden(urdfit, fakes, quick_report, cache, clip, tmp_path):
    fakes.fail = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        urdfit("run", clip.video, "-r", "panda", "-o", tmp_path / "e", "--no-prefect")


def test_when_nothing_is_left_to_do_prefect_is_not_started(
    clip, fakes, quick_report, cache, tmp_path, urdfit, monkeypatch
):
    import flows

    out = tmp_path / "e"
    assert urdfit("run", clip.video, "-r", "panda", "-o", out, "--no-prefect")[0] == 0
    (out / "episode.json").unlink()
    (out / "trajectory.parquet").unlink()
    (out / "masks").rename(tmp_path / "moved")
    for name in ("overlay.mp4", "report.html", "scene.rrd"):
        (out / name).unlink()

    def started(*arguments, **options):
        raise AssertionError("Prefect was started")

    monkeypatch.setattr(flows, "run_episode", started, raising=False)
    assert urdfit("run", clip.video, "-r", "panda", "-o", out)[0] == 0
    assert (out / "episode.json").exists() and fakes.fit == 1
    with pytest.raises(AssertionError, match="Prefect was started"):
        urdfit("run", clip.video, "-r", "panda", "-o", out, "--seed", "9")
