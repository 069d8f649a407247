"""The training loop: updates by hand, kill -9 and go on to the same bits, files that cannot be used."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from training_run import NoisyTask, settings

from segmentation.errors import TrainingError
from segmentation.training import checkpoint, loop
from segmentation.training.board import HINT
from segmentation.training.checkpoint import read_checkpoint
from segmentation.training.loop import LoopSettings, fit
from segmentation.training.prefetch import prefetched

QUIET = lambda _: None  # noqa: E731


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def same(a: nn.Module, b: nn.Module) -> bool:
    """Equal to the last bit."""
    x, y = a.state_dict(), b.state_dict()
    return list(x) == list(y) and all(torch.equal(x[key], y[key]) for key in x)


class Line:
    """loss = w * x with x = 1, 2, 3, ...: the gradient is x."""

    def __init__(self):
        self.network = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.network.weight, 0.0)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1.0)

    def batch(self, step):
        return torch.tensor([[step + 1.0]])

    def loss(self, batch):
        return self.network(batch).sum(), {}

    def pictures(self, batch):
        return {}

    def factor(self, step, steps):
        return 0.5**step


def weight(network: nn.Module) -> float:
    return network.weight.item()


def test_updates_by_hand(tmp_path):
    # batches (1, 2) and (3, 4): gradients 1.5 and 3.5, the second clipped to 2; rates 1 and 1/2
    task = Line()
    mean = fit(task, tmp_path, LoopSettings(2, accumulate=2, clip=2.0, average=0.04, autocast=False), QUIET)
    first, second = -1.5, -1.5 - 0.5 * 2.0
    assert weight(task.network) == pytest.approx(second)
    # keep = min(0.04, (n + 1) / (n + 20)): 0.04 both times
    assert weight(mean) == pytest.approx(0.04 * (0.96 * first) + 0.96 * second)
    short = fit(Line(), tmp_path / "short", LoopSettings(1, average=0.9, autocast=False), QUIET)
    assert weight(short) == pytest.approx(-1.0 * (1 - 1 / 20))


def test_without_a_mean_the_network_itself_comes_back(tmp_path):
    task = Line()
    assert fit(task, tmp_path, LoopSettings(1, average=None), QUIET) is task.network


def test_killed_runs_go_on_to_the_same_bits(tmp_path):
    whole = NoisyTask()
    whole_mean = fit(whole, tmp_path / "whole", settings(60), QUIET)
    command = [sys.executable, str(Path(__file__).with_name("training_run.py")), str(tmp_path / "killed"), "60", "0"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith("step 9/"):
            child.send_signal(signal.SIGKILL)
            break
    assert child.wait() == -signal.SIGKILL
    state = read_checkpoint(tmp_path / "killed")
    assert state is not None and 8 <= state["step"] < 60
    said: list[str] = []
    killed = NoisyTask(seed=1)  # whatever a new process starts from is overwritten
    killed_mean = fit(killed, tmp_path / "killed", settings(60), said.append)
    assert any(line.startswith(f"goes on after step {state['step']} ") for line in said)
    assert same(killed.network, whole.network) and same(killed_mean, whole_mean)


def test_stops_at_every_step_change_nothing(tmp_path):
    whole = fit(NoisyTask(), tmp_path / "whole", settings(8), QUIET)

    class Stop(Exception):
        pass

    class Stopping(NoisyTask):
        left = 3  # losses until it stops: in the middle of an update

        def loss(self, batch):
            self.left -= 1
            if self.left < 0:
                raise Stop
            return super().loss(batch)

    for _ in range(20):
        try:
            mean = fit(Stopping(), tmp_path / "stopped", settings(8, save_every=0), QUIET)
            break
        except Stop:
            continue
    assert same(mean, whole)


def test_a_finished_run_trains_no_more(tmp_path):
    first = fit(NoisyTask(), tmp_path, settings(4), QUIET)

    class Never(NoisyTask):
        def loss(self, batch):
            raise AssertionError

    assert same(fit(Never(), tmp_path, settings(4), QUIET), first)


def test_a_checkpoint_is_the_old_or_the_new_one(tmp_path, monkeypatch):
    fit(NoisyTask(), tmp_path, settings(2), QUIET)
    before = (tmp_path / checkpoint.FILE).read_bytes()

    def broken(content, stream):
        stream.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken)
    task = NoisyTask()
    with pytest.raises(TrainingError, match="disk full"):
        checkpoint.save_checkpoint(tmp_path, {}, 1, task.network, task.optimizer, None)
    assert (tmp_path / checkpoint.FILE).read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == [checkpoint.FILE]


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    fit(NoisyTask(), tmp_path, settings(2), QUIET, {"batch": 16})
    with pytest.raises(TrainingError, match=r"other settings \(steps was 2, is 3; task.batch was 16, is 8\)"):
        fit(NoisyTask(), tmp_path, settings(3), QUIET, {"batch": 8})
    rarely = LoopSettings(2, accumulate=2, average=0.9, log_every=7, save_every=5.0, prefetch=1)
    fit(NoisyTask(), tmp_path, rarely, QUIET, {"batch": 16})  # what no number depends on may change


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    fit(NoisyTask(), tmp_path, settings(1), QUIET)
    with pytest.raises(TrainingError, match="of another network"):
        fit(Line(), tmp_path, settings(1), QUIET)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a zip", b"\x80\x02cos\nsystem\n(S'true'\ntR."])
def test_files_that_are_no_checkpoints(tmp_path, content):
    (tmp_path / checkpoint.FILE).write_bytes(content)
    with pytest.raises(TrainingError, match="not a readable checkpoint"):
        fit(Line(), tmp_path, LoopSettings(1), QUIET)
    torch.save({"model": {}}, tmp_path / checkpoint.FILE)
    with pytest.raises(TrainingError, match="not a checkpoint of this version"):
        fit(Line(), tmp_path, LoopSettings(1), QUIET)


def test_updates_without_finite_gradients_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "GIVE_UP", 3)

    class Sometimes(Line):
        bad = frozenset({1})

        def loss(self, batch):
            loss, numbers = super().loss(batch)
            return loss * (float("inf") if int(batch) - 1 in self.bad else 1.0), numbers

    task = Sometimes()
    fit(task, tmp_path / "once", LoopSettings(3, clip=100.0, average=None, autocast=False), QUIET)
    assert weight(task.network) == pytest.approx(-1.0 - 0.25 * 3.0)
    task.bad = frozenset(range(4))
    with pytest.raises(TrainingError, match="3 updates in a row"):
        fit(task, tmp_path / "always", LoopSettings(4, average=None), QUIET)


def test_an_error_while_making_a_batch_arrives(tmp_path):
    class Missing(Line):
        def batch(self, step):
            if step == 2:
                raise TrainingError("shard gone")
            return super().batch(step)

    with pytest.raises(TrainingError, match="shard gone"):
        fit(Missing(), tmp_path, LoopSettings(5), QUIET)
    assert not any(thread.name == "batches" for thread in threading.enumerate())


def test_batches_are_made_ahead_in_order():
    made: list[int] = []
    with prefetched(lambda i: made.append(i) or i, 3, 50, 2) as batches:
        assert [next(batches) for _ in range(4)] == [3, 4, 5, 6]
    assert made == list(range(3, 3 + len(made))) and len(made) <= 8


def test_without_tensorboard_a_run_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    said: list[str] = []
    fit(NoisyTask(), tmp_path, settings(3), said.append)
    assert said[0] == HINT and not (tmp_path / "tensorboard").exists()


def test_tensorboard_gets_scalars_and_pictures(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(NoisyTask(), tmp_path, settings(6), QUIET)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    losses = events.Scalars("loss")
    assert [e.step for e in losses] == [1, 2, 3, 4, 5, 6] and np.isfinite([e.value for e in losses]).all()
    assert [e.step for e in events.Images("noise")] == [3, 6]


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"steps": 1, "average": 1.0}, {"steps": 1, "clip": 0.0}])
def test_settings_that_cannot_be(wrong):
    with pytest.raises(ValueError, match=r"expected"):
        LoopSettings(**wrong)
