"""What every data set is turned into: episodes with views, and what is known beside the pictures.

Conventions are ours from here on (CONVENTIONS.md): OpenCV cameras, metres, radians, seconds, gripper 1 = open. What a
format does not say is None, never guessed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from flows.datasets.location import Location
from flows.errors import user_errors
from flows.files import sha256_json, sha256_path
from pose.camera import Camera
from segmentation.video import VideoReader


@dataclass(frozen=True)
class View:
    """One camera's video of an episode; nothing is read or fetched before it is asked for.

    Attributes:
        name: of the camera, unique in the episode.
        open: gives the frames, from the start as often as wanted; raises VideoError as `segmentation.open_video`.
        files: gives the local files that the pictures are in, fetching them where they are remote.
        camera: K and, where known, T_cam_base.
        T_cam_base: (4,4) where the camera's pose is known and K is not.
        Ts_cam_world: (T,4,4) of a camera that moves, in a world that need not be the robot's base.
        part: tells apart views that share their files: what of them this one is.
    """

    name: str
    open: Callable[[], VideoReader]
    files: Callable[[], list[Path]]
    camera: Camera | None = None
    T_cam_base: np.ndarray | None = None
    Ts_cam_world: np.ndarray | None = None
    part: tuple[float | str, ...] = ()


@dataclass(frozen=True)
class JointLog:
    """What the robot reported.

    Attributes:
        names: of the columns of q, as the data set calls them.
        q: (T,n) radians and metres where the format says so; see the episode's notes where it does not.
        times: (T,) seconds on the clock of the first view's frames, or None where rows are frames.
        gripper: (T,) fraction with 1 = open, or None.
    """

    names: tuple[str, ...]
    q: np.ndarray
    times: np.ndarray | None = None
    gripper: np.ndarray | None = None


@dataclass(frozen=True)
class SourceEpisode:
    """An episode of a data set.

    Attributes:
        id: unique in the data set and the same at every reading.
        views: its cameras, at least one; the first is the main one.
        task: what the robot is told to do.
        robot: what `urdfit run --robot` takes, where the data set says so.
        joints: what the robot reported, where it did.
        notes: what to know before trusting it.
    """

    id: str
    views: tuple[View, ...]
    task: str | None = None
    robot: str | None = None
    joints: JointLog | None = None
    notes: tuple[str, ...] = field(default=())

    def view(self, name: str | None = None) -> View:
        """The view of a name, or the main one; raises KeyError where there is none of that name."""
        if name is None:
            return self.views[0]
        return {view.name: view for view in self.views}[name]

    def content_hash(self, name: str | None = None) -> str:
        """SHA-256 of all that results of a view depend on: its pictures' files, camera and joints.

        The same for the same content wherever it lies; reads the files once.
        """
        view = self.view(name)
        joints = self.joints
        return sha256_json(
            {
                "files": [sha256_path(path) for path in view.files()],
                "part": view.part,
                "camera": None if view.camera is None else view.camera.to_dict(),
                "T_cam_base": view.T_cam_base,
                "joints": None if joints is None else [joints.names, joints.q, joints.times, joints.gripper],
            }
        )


@dataclass(frozen=True)
class Problem:
    """An episode that cannot be used, and why, in one line."""

    id: str
    reason: str


class Dataset(ABC):
    """A data set. Planning is cheap (`ids` opens no episode), and any episode can be had by its id.

    Iterate to get all episodes, each made when its turn comes; one that cannot be read comes as a `Problem` and does
    not stop the others.

    Attributes:
        kind: of format. location: where its files are.
    """

    kind: str
    location: Location

    @abstractmethod
    def ids(self) -> Iterator[str]:
        """The episodes' ids, in a fixed order."""

    @abstractmethod
    def episode(self, id: str) -> SourceEpisode:
        """One episode; raises FlowError, VideoError, MaskError or CameraError where it cannot be used."""

    def stamp(self, id: str) -> str | None:
        """Size and time of an episode's own files, a cheap hint that they have changed; None where none is cheap."""
        return None

    def __iter__(self) -> Iterator[SourceEpisode | Problem]:
        for id in self.ids():
            try:
                yield self.episode(id)
            except user_errors() as error:
                yield Problem(id, " ".join(str(error).split()))
