"""The state of a training run as one file: either the old one or the new one, never half of it."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segmentation.errors import TrainingError

FILE = "checkpoint.pt"
FORMAT = 1
KEYS = {"format", "settings", "step", "network", "optimizer", "average", "rng", "cuda_rng"}
MAX_BYTES = 16 * 2**30
SHOWN = 4  # settings named in a message


def save_checkpoint(
    out: Path,
    settings: Mapping[str, Any],
    step: int,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Mapping[str, Tensor] | None,
) -> None:
    """Write `out`/checkpoint.pt: everything a run needs to go on after `step` steps as if it had never stopped.

    Torch's random state is that of this moment.

    Raises:
        TrainingError: the file cannot be written.
    """
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    state = {
        "format": FORMAT,
        "settings": dict(settings),
        "step": step,
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average,
        "rng": torch.get_rng_state(),
        "cuda_rng": cuda,
    }
    save_whole(state, out / FILE)


def save_whole(content: Any, path: Path) -> None:
    """`torch.save` to a temporary name beside `path`, on disk before it takes the name.

    Raises:
        TrainingError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch wraps what its zip writer meets
        raise TrainingError(f"{path}: cannot be written ({error})") from None
    finally:
        temporary.unlink(missing_ok=True)


def read_checkpoint(out: str | Path, device: str | torch.device = "cpu") -> dict[str, Any] | None:
    """What `save_checkpoint` wrote into the folder `out`; None if there is no such file. Plain tensors only.

    Raises:
        TrainingError: the file is none of ours, or damaged.
    """
    path = Path(out) / FILE
    if not path.is_file():
        return None
    if path.stat().st_size > MAX_BYTES:
        raise TrainingError(f"{path}: {path.stat().st_size / 2**30:.0f} GiB, expected at most {MAX_BYTES / 2**30:.0f}")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = str(error).split("\n")[0][:120] or type(error).__name__
        raise TrainingError(f"{path}: not a readable checkpoint ({reason}); remove it to start anew") from None
    if not isinstance(state, dict) or set(state) != KEYS or state["format"] != FORMAT:
        raise TrainingError(f"{path}: not a checkpoint of this version; remove it to start anew")
    return state


def restore(
    state: Mapping[str, Any],
    out: Path,
    settings: Mapping[str, Any],
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Put a checkpoint's numbers into the network and optimizer, and torch's random state to what it was.

    Raises:
        TrainingError: the checkpoint is of another network or was written with other settings.
    """
    path, before = out / FILE, state["settings"]
    changed = [key for key in sorted({*before, *settings}) if before.get(key) != settings.get(key)]
    if changed:
        shown = "; ".join(f"{key} was {before.get(key)!r}, is {settings.get(key)!r}" for key in changed[:SHOWN])
        raise TrainingError(f"{path}: of a run with other settings ({shown}); give those, or another folder")
    try:
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{path}: of another network ({str(error).splitlines()[0][:120]})") from None
    torch.set_rng_state(state["rng"].cpu())
    if state["cuda_rng"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([rng.cpu() for rng in state["cuda_rng"]])
