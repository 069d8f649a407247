"""BridgeData V2 as it was recorded: `.../raw/traj_group0/traj0/{images0/im_0.jpg, lang.txt, obs_dict.pkl, ...}`.

States and actions are pickles, which run code when they are opened, so they are not: video and language are read,
joints are not known. Cameras were not calibrated. Recorded at 5 frames a second.

Source: rail-berkeley/bridge_data_v2, data_processing/bridgedata_raw_to_numpy.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from glob import escape
from pathlib import Path, PurePosixPath

from flows.datasets.location import Location
from flows.datasets.source import Dataset, SourceEpisode, View
from flows.datasets.videos import Pictures, later
from flows.errors import FlowError

FPS = 5.0
NOTE = "states and actions are pickles, which run code when opened: they are left alone"


class BridgeRaw(Dataset):
    """Every `traj*` folder with pictures under a folder."""

    kind = "bridge"

    def __init__(self, location: Location) -> None:
        self.location = location

    @cached_property
    def _trajectories(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.location.find("**/traj_group*/traj*/images*/im_0.jpg"):
            folder = PurePosixPath(name).parent
            if "depth" not in folder.name:
                found.setdefault(folder.parent.as_posix(), []).append(folder.name)
        return found

    def ids(self) -> Iterator[str]:
        yield from self._trajectories

    def episode(self, id: str) -> SourceEpisode:
        if id not in self._trajectories:
            raise FlowError(f"{self.location.name}: no trajectory {id!r}")
        views = tuple(self._view(id, name) for name in sorted(self._trajectories[id]))
        return SourceEpisode(id, views, self._task(id), robot="widowx250s", notes=(NOTE,))

    def _view(self, id: str, name: str) -> View:
        files = self.location.find(f"{escape(id)}/{name}/im_*.jpg")
        places = later(self.location, files)

        def local() -> list[Path]:
            return [place() for place in places]

        return View(name, lambda: Pictures(f"{self.location.name}/{id}/{name}", places, FPS), local)

    def _task(self, id: str) -> str | None:
        """The first line of lang.txt that is no confidence figure."""
        if not self.location.has(f"{id}/lang.txt"):
            return None
        lines = self.location.read(f"{id}/lang.txt", 1 << 16).decode("utf-8", "replace").splitlines()
        return next((line.strip() for line in lines if line.strip() and "confidence" not in line), None)
