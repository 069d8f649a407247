"""The benchmark over a folder of videos: files, scores, going on where it stopped, videos that fail."""

import csv

import numpy as np
import pytest
import torch
from vrs_cases import SIZE, ByColour, make_vrs, picture, save, truths

import flows.protocol_weights
from flows.cli import main
from flows.errors import FlowError, UsageError
from flows.mask_scores import FAILED, score_masks
from flows.protocol_run import run_protocol
from flows.protocol_weights import FoundWeights
from segmentation.errors import WeightsError
from segmentation.protocol import Prompting
from segmentation.scoring import GLOBAL

WEIGHTS = {"name": "colours", "sha256": "0"}


class Loader:
    """Counts how often the predictor is made."""

    def __init__(self, **options):
        self.made = 0
        self.predictor = ByColour(**options)

    def __call__(self):
        self.made += 1
        return self.predictor


def rows(file):
    return {row["video"]: row for row in csv.DictReader(open(file, newline=""))}


def test_masks_scores_and_a_second_run(tmp_path):
    data, load = make_vrs(tmp_path / "VRS"), Loader()
    parts = ("robot", "gripper")
    result = run_protocol(data, tmp_path / "out", load, WEIGHTS, prompting=Prompting(), parts=parts, guided=False)
    assert load.made == 1 and result.reused == 0 and result.frames == 14 and result.seconds > 0
    assert [(s.video, s.part, s.frames, s.both) for s in result.scores] == [
        *(("a", "robot", 4, 1.0), ("a", "gripper", 3, 1.0), ("b", "robot", 4, 1.0), ("b", "gripper", 3, 1.0)),
        *((GLOBAL, "robot", 8, 1.0), (GLOBAL, "gripper", 6, 1.0)),
    ]
    assert rows(tmp_path / "out" / "results_gripper.csv")[GLOBAL]["J&F"] == "1.000000"
    again = score_masks(tmp_path / "out", data)  # the masks that were written say the same
    assert {(s.video, s.part): s.both for s in result.scores} == {
        (s.video, s.part): s.both for s in again if s.note != "no predictions"
    }
    (tmp_path / "out" / "videos" / "b.json").unlink()
    second = run_protocol(data, tmp_path / "out", load, WEIGHTS, prompting=Prompting(), parts=parts, guided=False)
    assert second.reused == 1 and second.scores == result.scores and load.made == 2
    more = run_protocol(data, tmp_path / "out", load, WEIGHTS, prompting=Prompting(), parts=("arm",), guided=False)
    assert more.reused == 0 and {s.part for s in more.scores} == {"arm"} and load.made == 3
    last = run_protocol(data, tmp_path / "out", load, WEIGHTS, prompting=Prompting(), parts=("arm",), guided=False)
    assert last.reused == 2 and last.scores == more.scores and load.made == 3


def test_settings_are_not_mixed(tmp_path):
    data, load = make_vrs(tmp_path / "VRS", ("a",)), Loader()
    run_protocol(data, tmp_path / "out", load, WEIGHTS, prompting=Prompting())
    with pytest.raises(FlowError, match="results with another prompting;"):
        run_protocol(data, tmp_path / "out", load, WEIGHTS, prompting=Prompting("BB"))
    with pytest.raises(FlowError, match="another weights, guided;"):
        run_protocol(data, tmp_path / "out", load, {"name": "x"}, prompting=Prompting(), guided=False)
    with pytest.raises(FlowError, match="holds other files"):
        run_protocol(data, data, load, WEIGHTS, prompting=Prompting())
    with pytest.raises(UsageError, match="no video 'z'"):
        run_protocol(data, tmp_path / "new", load, WEIGHTS, prompting=Prompting(), names=["z"])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"video": "a"}', '{"video": "a", "parts": []}', '{"video": "a", "parts": {"robot": {"J": "x"}}}',
     '{"video": "a", "parts": {"robot": {"J": 1, "F": 1, "note": ""}}}',
     '{"video": "a", "frames": "1", "seconds": 1, "prompt_seconds": 1, "parts": {}}'],
)  # fmt: skip
def test_a_damaged_record_is_made_anew(tmp_path, content):
    data = make_vrs(tmp_path / "VRS", ("a",))
    first = run_protocol(data, tmp_path / "out", Loader(), WEIGHTS, prompting=Prompting())
    (tmp_path / "out" / "videos" / "a.json").write_text(content)
    again = run_protocol(data, tmp_path / "out", Loader(), WEIGHTS, prompting=Prompting())
    assert again.reused == 0 and again.scores == first.scores and again.frames == first.frames


def test_videos_that_fail_are_tried_again_and_do_not_stop_the_others(tmp_path):
    data = make_vrs(tmp_path / "VRS", ("a", "b", "c", "d"))
    broken = data / "test" / "image" / "b" / "00002.png"
    broken.write_bytes(b"")
    (data / "test" / "mask_gt" / "d" / "002" / "00099.png").write_bytes(b"")
    result = run_protocol(data, tmp_path / "out", Loader(breaks_on="c"), WEIGHTS, prompting=Prompting())
    notes = {s.video: s.note for s in result.scores}
    assert notes["a"] == "" and notes["b"].startswith(FAILED) and "00002.png: not a readable" in notes["b"]
    assert notes["c"] == f"{FAILED}out of memory" and "00099.png" in notes["d"]
    assert {s.video: s.videos for s in result.scores}[GLOBAL] == 1
    save(broken, picture(2))
    result = run_protocol(data, tmp_path / "out", Loader(), WEIGHTS, prompting=Prompting())
    assert result.reused == 1 and {s.video for s in result.scores if s.note} == {"d"}


def test_a_predictor_that_refuses_the_prompts_stops_the_run(tmp_path):
    class Refuses(ByColour):
        def add_new_robot(self, *arguments):
            raise WeightsError("no automatic mode")

    data = make_vrs(tmp_path / "VRS")
    with pytest.raises(WeightsError, match="no automatic mode"):
        run_protocol(data, tmp_path / "o", Refuses, WEIGHTS, prompting=Prompting())
    run_protocol(data, tmp_path / "o", Refuses, WEIGHTS, prompting=Prompting("BB"))  # nothing is in the way there


def test_a_part_that_is_never_labelled_or_always_empty(tmp_path):
    data = make_vrs(tmp_path / "VRS", ("a", "b"), parts=("arm", "robot"))
    for t in range(4):
        save(data / "test" / "mask_gt" / "b" / "000" / f"{t:05d}.png", np.zeros(SIZE, np.uint8))
    parts = ("robot", "arm", "gripper")
    for _ in range(2):
        result = run_protocol(data, tmp_path / "o", Loader(), WEIGHTS, prompting=Prompting("1C"), parts=parts)
        assert [(s.video, s.part, s.frames) for s in result.scores][:4] == [
            ("a", "robot", 4), ("a", "arm", 4), ("b", "robot", 4), ("b", "arm", 0),
        ]  # fmt: skip
        assert "all empty" in result.scores[3].note
    assert result.scores[-1].note == "no video has masks of it" and result.scores[-1].part == "gripper"
    assert list(rows(tmp_path / "o" / "results_gripper.csv")) == [GLOBAL]


def test_outlines_are_filtered_by_default_for_vrs_only(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("flows.protocol_run.refine_outline", lambda mask, image: calls.append(image.shape) or mask)
    vrs = make_vrs(tmp_path / "VRS", ("a",))
    run_protocol(vrs, tmp_path / "o1", Loader(), WEIGHTS, prompting=Prompting())
    assert calls == [(*SIZE, 3)] * 3  # the first of four frames is left as it is
    run_protocol(vrs, tmp_path / "o2", Loader(), WEIGHTS, prompting=Prompting(), guided=False)
    save(tmp_path / "R" / "test" / "image" / "x" / "x.png", picture(1))
    save(tmp_path / "R" / "test" / "mask" / "x" / "002" / "x.png", truths(1)["robot"].astype(np.uint8))
    result = run_protocol(tmp_path / "R", tmp_path / "o3", Loader(), WEIGHTS, prompting=Prompting("BB"))
    assert len(calls) == 3 and result.scores[0].both == 1.0 and result.scores[0].frames == 1


def test_the_command(tmp_path, monkeypatch, capsys):
    data, load = make_vrs(tmp_path / "VRS", ("a", "b"), frames=3, labelled=(0, 2)), Loader(fails_from=2)
    monkeypatch.setattr(flows.protocol_weights, "find_weights", lambda *_: FoundWeights(load, WEIGHTS))
    arguments = ["evaluate", "protocol", str(data), "--out", str(tmp_path / "o"), "--part", "all", "--mode", "oi"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "OI with colours: 8 frames propagated at" in out and "outlines filtered" in out
    assert out.count("mean of 2 videos") == 3
    assert main([*arguments, "--quiet"]) == 0 and capsys.readouterr().out == ""
    assert main(arguments) == 0 and "2 videos from an earlier run" in capsys.readouterr().out
    assert main([*arguments[:-1], "9C"]) == 2 and "expected AU, 1C, 3C, BB, OI" in capsys.readouterr().err
    (data / "test" / "image" / "b" / "00001.png").write_bytes(b"")
    assert main([*arguments[:-1], "AU", "--out", str(tmp_path / "o2")]) == 1
    assert "urdfit: error: b, robot: not scored:" in capsys.readouterr().err


def test_modes_that_the_weights_cannot_run(tmp_path, monkeypatch, capsys):
    data = make_vrs(tmp_path / "VRS", ("a",))
    arguments = ["evaluate", "protocol", str(data), "--out", str(tmp_path / "o"), "--mode"]
    assert main([*arguments, "BB"]) == 2 and "default takes no clicks or boxes" in capsys.readouterr().err
    sam = FoundWeights(Loader(), {"name": "sam2.1_hiera_t"}, automatic=False)
    monkeypatch.setattr(flows.protocol_weights, "find_weights", lambda *_: sam)
    assert main([*arguments, "AU"]) == 2 and "finds nothing without prompts" in capsys.readouterr().err
    assert main([*arguments, "BB"]) == 0


def test_wrong_weights_are_told_before_anything_is_written(tmp_path, capsys):
    data = make_vrs(tmp_path / "VRS", ("a",))
    (tmp_path / "w.pt").write_bytes(b"no weights")
    for weights, message in (("gone.pt", "gone.pt"), (str(tmp_path / "w.pt"), "w.pt")):
        assert main(["evaluate", "protocol", str(data), "--weights", weights, "--out", str(tmp_path / "o")]) == 1
        assert message in capsys.readouterr().err
    for device, message in (("cuda:99", "no CUDA device"), ("gpu", "expected cpu or cuda")):
        if device == "gpu" or not torch.cuda.is_available():
            assert main(["evaluate", "protocol", str(data), "--device", device, "--out", str(tmp_path / "o")]) == 2
            assert message in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
