"""A clip with its fit by masks, as what refines the fit looks at it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from pose.bundle import Look, State, pivot_points
from pose.camera import Camera
from pose.edges import view_of
from pose.evenly import evenly
from pose.kernel import Model, see
from pose.targets import Targets
from pose.trajectory import Trajectory
from pose.uncertainty import marginal, prior_information
from urdf import Robot

PIXELS = 20_000_000  # of pictures that are held at once


@dataclass(frozen=True)
class ClipFit:
    """A robot with the model that is drawn, a clip's fit, and the masks it was made from."""

    robot: Robot
    model: Model
    fit: Trajectory
    targets: Targets

    @property
    def usable(self) -> np.ndarray:
        """Frames that the masks' fit explains."""
        return np.flatnonzero(self.fit.valid & np.isfinite(self.fit.q).all(1))

    @property
    def free(self) -> np.ndarray:
        """(n,) joints that were solved for: those that were given have no error."""
        return (np.nan_to_num(self.fit.sigma) > 0).any(0)

    @property
    def camera_free(self) -> bool:
        """Whether the camera was solved for."""
        return bool(np.any(self.fit.camera_sigma))

    def sample(self, most: int) -> np.ndarray:
        """At most so many frames, which settle the camera."""
        camera = self.fit.camera
        most = max(2, min(most, PIXELS // (camera.width * camera.height)))
        picks = evenly(len(self.usable), most)
        return self.usable[picks]

    def straight(
        self, pictures: Iterable[np.ndarray], frames: np.ndarray, how: int = cv2.INTER_LINEAR
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Frame number and straightened picture of some frames."""
        camera, wanted = self.fit.camera, set(frames.tolist())
        maps = None
        if any(camera.distortion):
            K, size = np.asarray(camera.K, float), (camera.width, camera.height)
            maps = cv2.initUndistortRectifyMap(K, np.array(camera.distortion), None, K, size, cv2.CV_32FC1)
        for t, image in enumerate(pictures):
            if t in wanted:
                yield t, image if maps is None else cv2.remap(image, *maps, how)

    def mask(self, t: int) -> np.ndarray:
        """(H,W) bool: the first channel of a frame's masks, straightened, at full size."""
        longest = max(self.targets.width, self.targets.height)
        return self.targets.read(int(t), longest)[0] > 0.5 * self.targets.channels[0].max()

    def overlap(self, t: int, q: np.ndarray, camera: Camera) -> float:
        """IoU of the robot and its mask, at the masks' own size."""
        mask = self.mask(t)
        K, T = np.asarray(camera.K, float), np.asarray(camera.T_cam_base, float)
        robot = see(self.model, q, T, K, camera.height, camera.width, 1)[0] >= 0
        either = float((robot | mask).sum())
        return float((robot & mask).sum()) / either if either else 1.0

    def pivot(self, camera: Camera, q: np.ndarray) -> np.ndarray:
        """(3,) middle of the robot in the camera's frame, over joints (S,n)."""
        lens = view_of(camera)
        looks = [Look(np.zeros((1, 1, 1), np.float32), 0, 0, f) for f in range(len(q))]
        return pivot_points(self.model, State(q, lens.T_cam_base[None], (lens,)), looks)[0]

    def shared_covariance(self, blocks: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Covariance (C,C) of what frames share, from the information (S,C+n,C+n) of those that settled it.

        Args:
            free: (C,) which of it is unknown.
        """
        n, common = len(self.free), len(free)
        H = np.zeros((common + n * len(blocks),) * 2)
        prior = np.diag(prior_information((self.robot.lower, self.robot.upper))) / len(blocks)
        for i, block in enumerate(blocks):
            s = slice(common + i * n, common + (i + 1) * n)
            H[:common, :common] += block[:common, :common]
            H[:common, s] += block[:common, common:]
            H[s, :common] += block[common:, :common]
            H[s, s] += block[common:, common:] + prior
        return marginal(H, 0, common, np.r_[free, np.tile(self.free, len(blocks))].astype(bool))
