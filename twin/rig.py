"""A rig: cameras that look at one robot, their pictures read when asked for.

    rig = load_rig("rig.json")
    for seen in rig.observations():  # straightened, camera by camera, one picture at a time
        ...

What a camera's clock says is seconds; frames of different cameras belong together by time, never by number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import av
import cv2
import numpy as np

from pose.camera import Camera
from segmentation.video import Frame, ImageFolder, VideoFile, VideoReader
from twin.depth import DepthFolder
from twin.errors import TwinError
from twin.observation import Observation


@dataclass(frozen=True, eq=False)
class RigCamera:
    """One camera of a rig, as it was given.

    Attributes:
        name: unique in the rig.
        open: gives its pictures from the start, as often as wanted.
        source: the file or folder they are in.
        camera: of the pictures as they are stored (with distortion); T_cam_base where it was given. None: not known.
        depth: of the same pixels and frames; None without a sensor.
        stamps: (T,) seconds on the camera's clock; None: those of the video itself.
        offset: seconds that its clock is behind the rig's: added to its stamps.
        rotation: degrees clockwise (0, 90, 180, 270) by which its pictures must be turned to be upright. Only a
            segmenter needs it; masks, cameras and depth are those of the pictures as stored.
        Ts_cam_base: (T,4,4) of a camera that moves.
    """

    name: str
    open: Callable[[], VideoReader]
    source: Path
    camera: Camera | None = None
    depth: DepthFolder | None = None
    stamps: np.ndarray | None = None
    offset: float = 0.0
    rotation: int = 0
    Ts_cam_base: np.ndarray | None = None

    @cached_property
    def times(self) -> np.ndarray:
        """(T,) seconds of its frames on the rig's clock, without decoding a picture.

        Raises:
            VideoError: the video cannot be opened.
        """
        stamps = _stamps(self.open()) if self.stamps is None else self.stamps
        return stamps + self.offset

    def placed(self, camera: Camera, offset: float | None = None) -> RigCamera:
        """The same camera with another lens and pose, and where given another offset of its clock."""
        return replace(self, camera=camera, offset=self.offset if offset is None else offset)


@dataclass(frozen=True, eq=False)
class Rig:
    """Cameras around one robot.

    Attributes:
        cameras: V.
        world: "base": given poses are in the robot's base frame; "other": only their poses to each other count.
        notes: what was found and changed while reading, one line each.
    """

    cameras: tuple[RigCamera, ...]
    world: str = "base"
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.cameras)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the cameras, in their order."""
        return tuple(camera.name for camera in self.cameras)

    @property
    def tolerance(self) -> float:
        """Seconds within which frames of different cameras are of one instant: 0.6 of the slowest one's frame time."""
        clocks = [camera.times for camera in self.cameras]
        return 0.6 * max((float(np.median(np.diff(c))) for c in clocks if len(c) > 1), default=1.0)

    def instants(self, tolerance: float | None = None, step: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Which frames belong together.

        Args:
            tolerance: most seconds between frames of one instant; by default 0.6 of the slowest camera's frame time.
            step: least seconds between instants.

        Returns:
            Times (T,) of the main camera's frames (that with the most frames within the others' span), and frame
            numbers (V,T), -1 where a camera has none near enough.
        """
        clocks = [camera.times for camera in self.cameras]
        main = max(clocks, key=lambda clock: len(clock) if len(clocks) == 1 else _shared(clock, clocks))
        kept = [0]
        for i in range(1, len(main)):
            if main[i] - main[kept[-1]] >= step - 1e-9:
                kept.append(i)
        return main[kept], self.frames_at(main[kept], tolerance)

    def frames_at(self, times: np.ndarray, tolerance: float | None = None) -> np.ndarray:
        """(V,T) numbers of the frames nearest to times (T,), -1 where a camera has none within the tolerance."""
        clocks = [camera.times for camera in self.cameras]
        tolerance = self.tolerance if tolerance is None else tolerance
        frames = np.full((len(clocks), len(times)), -1)
        for v, clock in enumerate(clocks):
            nearest = _nearest(clock, times)
            near = np.abs(clock[nearest] - times) <= tolerance
            frames[v, near] = nearest[near]
        return frames

    def observations(
        self,
        views: Sequence[int] | None = None,
        *,
        ignore: Mapping[int, Sequence[np.ndarray]] | None = None,
        masks: Mapping[int, Sequence[np.ndarray]] | None = None,
        every: int = 1,
        frames: Mapping[int, np.ndarray] | None = None,
    ) -> Iterator[Observation]:
        """Straightened pictures, one camera after the other, frames in order; nothing is held.

        Args:
            views: numbers of the cameras; all that have a pose by default.
            ignore, masks: of the stored pictures, by view, each (H,W) a frame, read one at a time.
            every: take every n-th frame.
            frames: by view, numbers of the frames to take instead; `every` holds for views without.

        Raises:
            TwinError: a camera that has no pose. VideoError: pictures that cannot be read.
        """
        for v in range(len(self)) if views is None else views:
            given = self.cameras[v]
            if given.camera is None or (given.camera.T_cam_base is None and given.Ts_cam_base is None):
                if views is None:
                    continue
                raise TwinError(f"camera {given.name}: has no pose in the base frame; place the cameras first")
            straight = Straightener(given.camera)
            only = None if frames is None else frames.get(v)
            for frame, depth in given_frames(given, every, only):
                camera = straight.camera
                if given.Ts_cam_base is not None:
                    camera = replace(camera, T_cam_base=given.Ts_cam_base[frame.index])
                yield Observation(
                    camera,
                    straight.picture(frame.image),
                    None if depth is None else straight.depth(depth),
                    straight.ignored(None if ignore is None or v not in ignore else ignore[v][frame.index]),
                    None if masks is None or v not in masks else straight.mask(masks[v][frame.index]),
                    v,
                    float(given.times[min(frame.index, len(given.times) - 1)]),
                )


def given_frames(
    given: RigCamera, every: int = 1, only: np.ndarray | None = None
) -> Iterable[tuple[Frame, np.ndarray | None]]:
    """Every n-th picture of a camera, or those of some numbers, with depth (metres, 0 unknown), as they are stored."""
    wanted = None if only is None else {int(t) for t in only}
    for frame in given.open():
        if frame.index % every == 0 if wanted is None else frame.index in wanted:
            yield frame, None if given.depth is None else given.depth.read(frame.index)


class Straightener:
    """Takes the lens' distortion out of pictures; K stays.

    Attributes:
        camera: without distortion.
    """

    def __init__(self, camera: Camera) -> None:
        self.camera = replace(camera, distortion=())
        self._maps = None
        if any(camera.distortion):
            size = (camera.width, camera.height)
            K = np.asarray(camera.K, float)
            maps = cv2.initUndistortRectifyMap(K, np.array(camera.distortion), None, K, size, cv2.CV_32FC1)
            self._maps = maps
            self._outside = self._warp(np.ones((camera.height, camera.width), np.uint8), cv2.INTER_NEAREST) == 0

    def _warp(self, image: np.ndarray, how: int) -> np.ndarray:
        if self._maps is None:
            return image
        return cv2.remap(image, *self._maps, how, borderMode=cv2.BORDER_CONSTANT)

    def picture(self, image: np.ndarray) -> np.ndarray:
        """(H,W,3) uint8, as a lens without distortion had taken it."""
        return self._warp(image, cv2.INTER_LINEAR)

    def depth(self, depth: np.ndarray) -> np.ndarray:
        """(H,W) metres; neighbours are never mixed."""
        return self._warp(np.ascontiguousarray(depth, np.float32), cv2.INTER_NEAREST)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """(H,W) bool."""
        return self._warp(np.asarray(mask != 0, np.uint8), cv2.INTER_NEAREST) != 0

    def ignored(self, ignore: np.ndarray | None) -> np.ndarray | None:
        """(H,W) bool of pixels to leave out: those given, and those that the lens did not see."""
        if self._maps is None:
            return None if ignore is None else np.asarray(ignore != 0)
        return self._outside if ignore is None else self.mask(ignore) | self._outside


def _stamps(reader: VideoReader) -> np.ndarray:
    """(T,) seconds since the first frame; a file's packets tell them without being decoded."""
    if isinstance(reader, ImageFolder):
        return np.arange(len(reader.files)) / reader.fps
    if isinstance(reader, VideoFile):
        with reader.open() as container:
            stream = container.streams.video[0]
            try:
                stamps = sorted(
                    float(packet.pts * packet.time_base)
                    for packet in container.demux(stream)
                    if packet.pts is not None and packet.size
                )
            except av.FFmpegError:
                stamps = []
        if stamps:
            return np.array(stamps) - stamps[0]
    return np.array([frame.time_s for frame in reader])


def _shared(clock: np.ndarray, clocks: Sequence[np.ndarray]) -> int:
    """How many frames lie within the time that most cameras saw."""
    inside = sum(((clock >= other[0]) & (clock <= other[-1])).astype(int) for other in clocks)
    return int(np.sum(inside >= max(2, len(clocks) - 1)))


def _nearest(clock: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Index into a rising clock of the stamp nearest to each time."""
    right = np.clip(np.searchsorted(clock, times), 1, max(len(clock) - 1, 1))
    left = right - 1
    right = np.minimum(right, len(clock) - 1)
    return np.where(times - clock[left] <= clock[right] - times, left, right)
