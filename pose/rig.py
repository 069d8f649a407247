"""Several cameras that see one robot at the same instants: what is given, and one solve over any of its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pose.bundle import Bundle, Free, Look, State, settle
from pose.camera import Camera
from pose.errors import FitError
from pose.kernel import Model
from pose.priors import PosePrior, Priors
from pose.solver import CHANNELS, View
from pose.targets import Targets, shrink
from pose.tracking import FINE, PYRAMID, Tracker
from pose.uncertainty import prior_information


class Blanks(Sequence):
    """Masks of a view with empty ones where it has none (None)."""

    def __init__(self, masks: Sequence[Mapping[str, np.ndarray] | None]):
        """Raises FitError when there is no mask at all."""
        self._masks = masks
        first = next((m for m in masks if m is not None), None)
        if first is None:
            raise FitError("a view has no masks at all: leave it out")
        self._blank = {name: np.zeros_like(np.asarray(mask)) for name, mask in first.items()}

    def __len__(self) -> int:
        return len(self._masks)

    def __getitem__(self, i):
        mask = self._masks[i]
        return self._blank if mask is None else mask


@dataclass(frozen=True)
class Rig:
    """V views of T instants, checked and resolved.

    Attributes:
        models: the robot at every level of PYRAMID; search_model: coarse.
        targets: V; seen: (V,T) bool, which pictures show the robot.
        camera_free, focal_free: (V,) bool.
        free: (n,) joints that are unknown.
        pose_priors: by view.
    """

    models: tuple[Model, ...]
    search_model: Model
    targets: tuple[Targets, ...]
    seen: np.ndarray
    camera_free: np.ndarray
    focal_free: np.ndarray
    free: np.ndarray
    limits: tuple[np.ndarray, np.ndarray]
    rest: np.ndarray
    pose_priors: dict[int, PosePrior]

    @property
    def channels(self) -> np.ndarray:
        """(C,2), the same for all views."""
        return self.targets[0].channels

    def looks(self, level: int, instants: Sequence[int], views: Sequence[int]) -> list[Look]:
        """The pictures of some instants through some views; poses, lenses and instants are counted in their order."""
        out = []
        for f, t in enumerate(instants):
            for i, v in enumerate(views):
                if self.seen[v, t]:
                    target = self.targets[v].read(t, FINE.width)
                    out.append(Look(shrink(target, PYRAMID[level]) if level < len(PYRAMID) - 1 else target, i, i, f))
        return out

    def lenses(self, level: int, cameras: Sequence[Camera], views: Sequence[int], offsets: np.ndarray | None = None):
        """Working views of some cameras; offsets (V,2) of all views' masks."""
        out = []
        for v in views:
            view = self.targets[v].view(cameras[v], PYRAMID[level].width)
            out.append(view if offsets is None else replace(view, offset=offsets[v]))
        return tuple(out)

    def tracker(self, v: int, cameras: Sequence[Camera]) -> Tracker:
        """A tracker of one view alone, for its searches."""
        views = tuple(self.targets[v].view(cameras[v], level.width) for level in PYRAMID)
        return Tracker(
            self.models, self.search_model, self.channels, views, PYRAMID, self.free, self.limits, self.rest
        )  # fmt: skip

    def refine(
        self, q: np.ndarray, cameras: Sequence[Camera], instants: Sequence[int], level: int, *,
        views: Sequence[int] | None = None, move_cameras: bool = False, offsets: np.ndarray | None = None,
        free_offsets: bool = False, looks: list[Look] | None = None, iterations: int = 15, tolerance: float = 5e-3,
    ) -> tuple[Bundle, list[Camera]]:  # fmt: skip
        """One solve: joints (F,n) of the instants, and where asked the cameras of the views.

        Returns where it ended (in the order of `looks`), and all V cameras, those of `views` renewed.
        """
        views = list(range(len(self.targets))) if views is None else list(views)
        if looks is None:
            looks = self.looks(level, instants, views)
        lenses = self.lenses(level, cameras, views, offsets)
        state = State(q, np.stack([lens.T_cam_base for lens in lenses]), lenses)
        free = Free(
            np.repeat((self.camera_free[views] & move_cameras)[:, None], 6, 1),
            np.column_stack([self.focal_free[views] & move_cameras, *[np.full(len(views), free_offsets)] * CHANNELS]),
            self.free,
        )
        weight = np.tile(prior_information(self.limits), (len(q), 1))
        poses = {i: self.pose_priors[v] for i, v in enumerate(views) if v in self.pose_priors}
        priors = Priors((np.tile(self.rest, (len(q), 1)), weight), poses)
        end = settle(
            self.models[level], state, looks, self.channels, PYRAMID[level], free, self.limits, priors=priors,
            iterations=iterations, tolerance=tolerance,
        )  # fmt: skip
        out = list(cameras)
        for i, v in enumerate(views):
            moved: View = replace(end.state.lenses[i], T_cam_base=end.state.poses[i])
            out[v] = self.targets[v].camera(cameras[v], moved)
        return end, out
