"""A training run of a small noisy network, to be killed: `python training_run.py FOLDER STEPS SAVE_EVERY`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from segmentation.training.loop import LoopSettings, fit


class NoisyTask:
    """Everything a checkpoint could forget: dropout, batch norm, momentum, a schedule, batches by their number."""

    def __init__(self, seed: int = 0):
        torch.manual_seed(seed)
        self.network = nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 1))
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.01)

    def batch(self, step):
        x = torch.from_numpy(np.random.default_rng((7, step)).normal(size=(16, 6)).astype(np.float32))
        return x, x.sum(1, keepdim=True).sin()

    def loss(self, batch):
        self.network.train()
        error = (self.network(batch[0]) - batch[1]).square().mean()
        return error, {"error": float(error.detach())}

    def pictures(self, batch):
        return {"noise": (255 * torch.rand(4, 5, 3)).byte().numpy()}

    def factor(self, step, steps):
        return 1 - step / steps


def settings(steps: int, save_every: float = 1e9) -> LoopSettings:
    """Checkpoints and log lines as often as a test wants them."""
    return LoopSettings(steps, accumulate=2, average=0.9, save_every=save_every, log_every=1, pictures_every=3)


if __name__ == "__main__":
    torch.set_num_threads(1)
    fit(NoisyTask(), Path(sys.argv[1]), settings(int(sys.argv[2]), float(sys.argv[3])), lambda s: print(s, flush=True))
