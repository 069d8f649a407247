"""Weights files that a user has added: verified, named, and kept in the user's cache; nothing is ever downloaded.

    ~/.cache/urdfit/weights/<name>/weights.pt      the file as it was, byte for byte
                                   weights.json    model, SHA-256, size, where it came from

A name is as good as a path wherever weights are asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import secrets
import shutil
import time
import zipfile
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from segmentation.errors import WeightsError
from segmentation.network import RobotNet

DEFAULT_WEIGHTS = Path(__file__).parent / "weights" / "default.pt"
MAX_BYTES = 2 * 2**30  # of a file: SAM 2 large has 0.9 GB
FILE, CARD = "weights.pt", "weights.json"
INSTALL = (
    'pip install "urdfit[robotseg]", then SAM2_BUILD_CUDA=0 pip install --no-deps --no-build-isolation sam2==1.1.0'
)
BUILT_IN = ("default", "several")  # the same file; several looks at each frame, see `segmentation.looks`
ALIASES = ("robotseg", "sam2")  # stand for whatever was added of that kind
WHERE = {
    "robotseg": "get robotseg.pt by the links in https://github.com/showlab/RobotSeg#72-download",
    "sam2": "get one of sam2.1_hiera_{tiny,small,base_plus,large}.pt by the links in "
    "https://github.com/facebookresearch/sam2#download-checkpoints",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


@dataclass(frozen=True)
class Entry:
    """One weights file of the store.

    Attributes:
        model: as `segmentation.robotseg.recognise` calls it: "robotseg", "sam2.1_hiera_t", ..., "default".
        sha256, bytes: of the file. parameters: numbers in it. source: the path it was copied from. added: date.
    """

    name: str
    model: str
    sha256: str
    bytes: int
    parameters: int
    source: str
    added: str

    @property
    def path(self) -> Path:
        return store_folder() / self.name / FILE

    @property
    def kind(self) -> str:
        """robotseg, sam2 or default."""
        return kind_of(self.model)


def kind_of(model: str) -> str:
    """robotseg, sam2 or default, of a model's name."""
    return "sam2" if model.startswith("sam2") else model


def store_folder() -> Path:
    """$URDFIT_CACHE/weights, else $XDG_CACHE_HOME/urdfit/weights, else ~/.cache/urdfit/weights."""
    own, xdg = os.environ.get("URDFIT_CACHE"), os.environ.get("XDG_CACHE_HOME")
    base = Path(own) if own else (Path(xdg) if xdg else Path.home() / ".cache") / "urdfit"
    return base / "weights"


def entries() -> list[Entry]:
    """What was added, by name; folders that are no whole entry are passed over."""
    found = []
    folder = store_folder()
    for card in sorted(folder.glob(f"*/{CARD}")) if folder.is_dir() else ():
        try:
            entry = Entry(**json.loads(card.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue
        if entry.name == card.parent.name and entry.path.is_file():
            found.append(entry)
    return found


def add(path: str | Path, name: str | None = None) -> Entry:
    """Verify a weights file and copy it into the store; a killed run leaves nothing there.

    Args:
        name: default robotseg for RobotSeg, the model's name for SAM 2, the file's name for others.

    Raises:
        WeightsError: what `read_weights` raises, a name that cannot be used or is taken by another file.
    """
    path = Path(path)
    state = read_weights(path)
    model = recognised(state, path)
    if name is None:
        name = path.stem if model == "default" else model
    if not _NAME.fullmatch(name):
        raise WeightsError(f"--name {name}: expected a letter or digit, then up to 63 letters, digits and ._+-")
    if name in {*BUILT_IN, "auto"} or (name in ALIASES and name != kind_of(model)):
        raise WeightsError(
            f"--name {name}: means something else, and {path} holds weights of {model}; give another name"
        )
    home = store_folder() / name
    temporary = home.with_name(f".{name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir(parents=True)
        shutil.copyfile(path, temporary / FILE)
        digest = _hash(temporary / FILE)
        if digest != content_hash(path):
            raise WeightsError(f"{path}: changed while it was copied; add it again")
        old = next((entry for entry in entries() if entry.name == name), None)
        if old is not None and old.sha256 == digest and _intact(old):
            return old
        if old is not None and old.sha256 != digest:
            raise WeightsError(
                f"{name}: another file of that name was added (sha256 {old.sha256[:12]}, from {old.source}); "
                f"give another --name, or delete {home}"
            )
        parameters = sum(tensor.numel() for tensor in state.values())
        entry = Entry(
            name, model, digest, path.stat().st_size, parameters, str(path.absolute()), time.strftime("%Y-%m-%d")
        )
        (temporary / CARD).write_text(json.dumps(asdict(entry), indent=2) + "\n", encoding="utf-8")
        if home.exists():  # damaged, or left half by something else
            os.rename(home, temporary / "old")
        os.rename(temporary, home)
        return entry
    except OSError as error:
        raise WeightsError(f"{home}: cannot be written ({error.strerror or error}); set URDFIT_CACHE") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(home / "old", ignore_errors=True)


def find(weights: str | Path) -> Path:
    """The file that a name or path stands for: default or several, a name of the store, robotseg, sam2, or a path.

    Raises:
        WeightsError: there is none, or several SAM 2 files were added and it is not said which.
    """
    text = str(weights)
    if text in BUILT_IN:
        return DEFAULT_WEIGHTS
    added = entries()
    named = next((entry for entry in added if entry.name == text), None)
    if named is None and text.lower() in ALIASES:
        kind = text.lower()
        matching = [entry for entry in added if entry.kind == kind]
        if not matching:
            raise WeightsError(f"weights {text!r}: none were added; {WHERE[kind]}, then run `urdfit weights add FILE`")
        if len(matching) > 1:
            raise WeightsError(f"weights {text!r}: several were added; name one of {_names(matching)}")
        named = matching[0]
    if named is not None:
        return named.path
    path = Path(text)
    if path.is_file():
        return path
    known = _names(added)
    also = f", one that was added ({known})" if known else ""
    raise WeightsError(f"weights {text!r}: expected default, several, robotseg, sam2{also}, or an existing file")


def _names(some: list[Entry]) -> str:
    return ", ".join(entry.name for entry in some)


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """The state dict of a file: tensors by name, the entry "model" of checkpoints that have one.

    Read as plain tensors: a file that wants to run code is refused.

    Raises:
        WeightsError: no such file, too large, no archive of torch.save, no state dict, or numbers that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise WeightsError(f"{path}: {size / 2**30:.1f} GiB; expected at most {MAX_BYTES / 2**30:.0f}")
    broken = WeightsError(f"{path}: no weights file, damaged, or one that would run code; expected a state dict")
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise broken from None
    if unpacked > MAX_BYTES:
        raise WeightsError(
            f"{path}: {unpacked / 2**30:.1f} GiB when unpacked; expected {MAX_BYTES / 2**30:.0f} at most"
        )
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, KeyError, AttributeError, TypeError):
        raise broken from None
    state = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(f"{path}: holds no state dict of tensors, nor one under 'model'")
    state = {str(key): tensor for key, tensor in state.items()}
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > 2 * MAX_BYTES:
        raise WeightsError(f"{path}: its tensors are larger than the file; it was not used")
    wrong = next((k for k, v in state.items() if v.is_floating_point() and not torch.isfinite(v).all()), None)
    if wrong is not None:
        raise WeightsError(f"{path}: some weights are not finite numbers, first in {wrong}")
    return state


def recognised(state: dict[str, torch.Tensor], path: str | Path) -> str:
    """The model that a state dict belongs to: "default" or as `segmentation.robotseg.recognise` says.

    Raises:
        WeightsError: of none that is known, with the first keys that are missing or too many.
    """
    if _keys(state) == _keys(RobotNet().state_dict()):
        return "default"
    from segmentation.robotseg.recognise import recognise

    try:
        return recognise(state)
    except ImportError as error:
        raise WeightsError(
            f"{path}: weights that are not the built-in network's need {error.name}: {INSTALL}"
        ) from None
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None


def _keys(state: dict[str, torch.Tensor]) -> set[str]:
    return {key for key in state if not key.endswith("num_batches_tracked")}


def content_hash(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file, remembered while the file stays as it is."""
    stat = Path(path).stat()
    return _remembered_hash(str(path), stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=64)
def _remembered_hash(path: str, mtime_ns: int, size: int, inode: int) -> str:
    return _hash(path)


def _hash(path: str | Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _intact(entry: Entry) -> bool:
    return content_hash(entry.path) == entry.sha256


def check_intact(path: Path) -> None:
    """Is a file of the store still what was added? Files elsewhere are not looked at.

    Raises:
        WeightsError: it was damaged since.
    """
    entry = next((entry for entry in entries() if entry.path == path), None)
    if entry is not None and not _intact(entry):
        raise WeightsError(
            f"weights {entry.name!r}: {path} was damaged since it was added; delete {path.parent}, then add it again"
        )
