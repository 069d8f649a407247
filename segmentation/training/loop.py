"""The training loop of every network here: may be killed at any moment and goes on from its last checkpoint, with the
same numbers to the last bit as if it had not been killed (on one machine, with one number of threads).

    network = fit(task, Path("run"), LoopSettings(steps=10_000))
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from segmentation.errors import TrainingError
from segmentation.training.board import Board
from segmentation.training.checkpoint import read_checkpoint, restore, save_checkpoint
from segmentation.training.prefetch import prefetched

GIVE_UP = 20  # updates in a row without finite gradients
AVERAGE_WARMUP = 20  # steps over which the average grows as long as it will be


class Task(Protocol):
    """What is trained. A task moves its batches to the network's device and sets the network's mode itself."""

    @property
    def network(self) -> nn.Module:
        """Learns."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Has the network's parameters and the full learning rates."""

    def batch(self, step: int) -> Any:
        """Batch number `step` (counted in batches, so `accumulate` of them make an update), the same at every call.

        Called from a thread beside the training: draw from a generator of (seed, step), never from torch's own.
        """

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, float]]:
        """The loss to descend and numbers for the log."""

    def pictures(self, batch: Any) -> dict[str, np.ndarray]:
        """Pictures (H,W,3) uint8 by name; must leave the network as it was."""

    def factor(self, step: int, steps: int) -> float:
        """Of the learning rates the optimizer was made with, in update `step` of `steps`."""


@dataclass(frozen=True)
class LoopSettings:
    """How long, and what to keep.

    Attributes:
        steps: updates of the weights.
        accumulate: batches per update.
        clip: largest norm of the gradient.
        average: share of the old value in the running mean of the weights; None returns the last weights.
        autocast: compute in bfloat16 where torch thinks it safe.
        save_every: seconds between checkpoints.
        log_every, pictures_every: updates.
        prefetch: batches made ahead.
        seed: of torch's random numbers (dropout and the like).
    """

    steps: int
    accumulate: int = 1
    clip: float = 2.0
    average: float | None = 0.998
    autocast: bool = True
    save_every: float = 180.0
    log_every: int = 50
    pictures_every: int = 500
    prefetch: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "log_every", "pictures_every", "prefetch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: expected at least 1")
        if not self.clip > 0:
            raise ValueError(f"clip {self.clip}: expected more than 0")
        if self.average is not None and not 0 <= self.average < 1:
            raise ValueError(f"average {self.average}: expected None or 0 <= average < 1")

    def identity(self) -> dict[str, Any]:
        """The settings that numbers depend on."""
        free = ("save_every", "log_every", "pictures_every", "prefetch")
        return {key: value for key, value in asdict(self).items() if key not in free}


def fit(
    task: Task,
    out: Path,
    settings: LoopSettings,
    log: Callable[[str], None] = print,
    identity: Mapping[str, str | int | float | bool | None] | None = None,
) -> nn.Module:
    """Train for `settings.steps` updates, or what is left of them when `out` has a checkpoint.

    Args:
        out: gets checkpoint.pt and tensorboard/.
        identity: settings of the task that a run must not change when it goes on.

    Returns:
        A copy of the network with the running mean of the weights, or `task.network` if no mean is kept.

    Raises:
        TrainingError: the checkpoint is damaged or of other settings, or gradients stay infinite.
    """
    torch.manual_seed(settings.seed)
    everything = settings.identity() | {f"task.{key}": value for key, value in (identity or {}).items()}
    rates = [group["lr"] for group in task.optimizer.param_groups]
    average = None if settings.average is None else Average(task.network)
    step = 0
    state = read_checkpoint(out, _device(task.network))
    if state is not None:
        restore(state, out, everything, task.network, task.optimizer)
        step = int(state["step"])
        if average is not None:
            average.state = state["average"]
        log(f"goes on after step {step} of {settings.steps}")
    if step < settings.steps:
        _train(task, out, settings, everything, step, rates, average, log)
    return task.network if average is None else average.filled(task.network)


def _train(
    task: Task, out: Path, settings: LoopSettings, everything: Mapping[str, Any], start: int, rates: list[float],
    average: Average | None, log: Callable[[str], None],
) -> None:  # fmt: skip
    def save(step: int) -> None:
        mean = None if average is None else average.state
        save_checkpoint(out, everything, step, task.network, task.optimizer, mean)

    board = Board(out / "tensorboard", start, log)
    begun = saved = time.monotonic()
    recent: list[dict[str, float]] = []
    skipped = 0
    count = settings.accumulate
    try:
        with prefetched(task.batch, start * count, settings.steps * count, settings.prefetch) as batches:
            for step in range(start, settings.steps):
                factor = task.factor(step, settings.steps)
                for group, rate in zip(task.optimizer.param_groups, rates):
                    group["lr"] = rate * factor
                numbers, batch = _update(task, batches, settings)
                skipped = 0 if math.isfinite(numbers["gradient"]) else skipped + 1
                if skipped == GIVE_UP:
                    raise TrainingError(f"step {step}: the gradient was not finite in {skipped} updates in a row")
                if average is not None and settings.average is not None:
                    average.add(task.network, min(settings.average, (step + 1) / (step + AVERAGE_WARMUP)))
                done = step + 1
                recent.append(numbers | {"rate factor": factor})
                if done % settings.log_every == 0 or done == settings.steps:
                    means = {key: float(np.mean([n[key] for n in recent if key in n])) for key in recent[-1]}
                    recent.clear()
                    means["steps/s"] = (done - start) / (time.monotonic() - begun)
                    board.scalars(means, done)
                    log(f"step {done}/{settings.steps} " + " ".join(f"{k} {v:.4g}" for k, v in means.items()))
                if board.wanted and done % settings.pictures_every == 0:
                    with torch.random.fork_rng(), torch.no_grad():  # with and without a board the same numbers
                        board.pictures(task.pictures(batch), done)
                if done == settings.steps or time.monotonic() - saved >= settings.save_every:
                    save(done)
                    saved = time.monotonic()
    finally:
        board.close()


def _update(task: Task, batches: Iterator[Any], settings: LoopSettings) -> tuple[dict[str, float], Any]:
    """One update of the weights, left out if the gradient is not finite. Numbers for the log, and the last batch."""
    device = _device(task.network).type
    parts: list[dict[str, float]] = []
    batch = None
    for _ in range(settings.accumulate):
        batch = next(batches)
        with torch.autocast(device, dtype=torch.bfloat16) if settings.autocast else nullcontext():
            loss, numbers = task.loss(batch)
        (loss / settings.accumulate).backward()
        parts.append({"loss": float(loss.detach()), **numbers})
    parameters = [p for group in task.optimizer.param_groups for p in group["params"]]
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, settings.clip))
    if math.isfinite(norm):
        task.optimizer.step()
    task.optimizer.zero_grad(set_to_none=True)
    means = {key: float(np.mean([p[key] for p in parts if key in p])) for key in parts[-1]}
    return means | {"gradient": norm}, batch


class Average:
    """Running mean of a network's floating-point state (Polyak and Juditsky 1992, with exponential weights)."""

    def __init__(self, network: nn.Module):
        self.state: dict[str, Tensor] = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def add(self, network: nn.Module, keep: float) -> None:
        """mean <- keep * mean + (1 - keep) * now; counters are taken over."""
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                self.state[key].lerp_(value, 1 - keep)
            else:
                self.state[key].copy_(value)

    def filled(self, network: nn.Module) -> nn.Module:
        """A copy of the network with the mean as its state."""
        mean = copy.deepcopy(network)
        mean.load_state_dict(self.state)
        return mean


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
