"""Which reader a data set needs, by what lies in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flows.datasets.bridge import BridgeRaw
from flows.datasets.droid import DroidRaw
from flows.datasets.folder import VideoFolder
from flows.datasets.lerobot import open_lerobot
from flows.datasets.location import Location, open_location
from flows.datasets.manifest import Manifest
from flows.datasets.nerfstudio import Nerfstudio
from flows.datasets.source import Dataset
from flows.datasets.vrs import VrsFolder
from flows.errors import UsageError

READERS: dict[str, Callable[[Location], Dataset]] = {
    "lerobot": open_lerobot,
    "droid": DroidRaw,
    "bridge": BridgeRaw,
    "nerfstudio": Nerfstudio,
    "vrs": VrsFolder,
    "videos": VideoFolder,
}
KINDS = (*READERS, "manifest")


def open_dataset(path: str | Path, kind: str | None = None) -> Dataset:
    """A data set: a local folder, a URL of one, or an `episodes.csv`; the kind is found out where it is not said.

    Raises:
        UsageError: an unknown kind.
        FlowError: nothing there, or not what the kind says.
    """
    if kind is not None and kind not in KINDS:
        raise UsageError(f"--kind {kind}: expected {', '.join(KINDS)}")
    text = str(path).rstrip("/")
    if kind == "manifest" or text.lower().endswith(".csv"):
        folder, _, name = text.replace("\\", "/").rpartition("/")
        return Manifest(open_location(folder or "."), name)
    location = open_location(text)
    return READERS[kind or find_kind(location)](location)


def find_kind(location: Location) -> str:
    """The kind of a data set; the most telling file decides, and a folder of videos is what remains."""
    if location.has("meta/info.json"):
        return "lerobot"
    if location.has("transforms.json"):
        return "nerfstudio"
    for root in ("", "test/"):
        if location.find(f"{root}mask_gt/*/*/*.png") or (
            location.find(f"{root}mask/*/*/*.png") and location.find(f"{root}image/*/*")
        ):
            return "vrs"
    for kind, pattern in (("droid", "**/trajectory.h5"), ("bridge", "**/traj_group*/traj*/images*/im_0.jpg")):
        if location.find(pattern):
            return kind
    return "nerfstudio" if location.find("*/transforms.json") else "videos"
