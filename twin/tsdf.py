"""Fusion of depth pictures into one coloured surface."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from twin.errors import TwinError
from twin.mesh import Mesh
from twin.observation import Observation
from twin.surface import extract_surface
from twin.tsdf_blocks import Blocks
from twin.tsdf_depth import clean_depth, slant, trust
from twin.tsdf_kernel import average, touch

# Bands by which neighbouring voxels may differ: more is the step from free space into a shadow. Less than 1 would also
# cost the rims of things (measured on the scene of benchmarks.fusion: 1 % of completeness).
SHADOW = 1.2


@dataclass(frozen=True)
class TsdfSettings:
    """How depth is fused.

    Attributes:
        voxel: metres between samples.
        band: metres on both sides of a surface in which its distance is kept; None: four voxels.
        near, far: metres of z that are believed.
        jump: neighbouring depths that differ by more than this part of the depth are different surfaces.
        bounds: (low, high), each three metres in the base frame; surfaces outside are left out. None: everything.
        min_weight: least weight of a surface; one picture gives 1 head-on at one metre, a quarter at two metres.
        min_area: m2; smaller pieces of surface are left out.
        memory_gb: most memory (1e9 bytes) that voxels may take.
    """

    voxel: float = 0.004
    band: float | None = None
    near: float = 0.1
    far: float = 4.0
    jump: float = 0.02
    bounds: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    min_weight: float = 0.02
    min_area: float = 5e-4
    memory_gb: float = 1.5


class Volume:
    """A truncated signed distance field that takes pictures one by one (Curless and Levoy, 1996).

    What a picture looks through is free space, and outvotes wrong depths of other pictures there (space carving).
    """

    def __init__(self, settings: TsdfSettings | None = None) -> None:
        self.settings = settings or TsdfSettings()
        self.blocks = Blocks(self.settings.voxel, self.settings.memory_gb)
        self.band = 4 * self.settings.voxel if self.settings.band is None else self.settings.band
        if self.band < 2 * self.settings.voxel:
            raise TwinError(
                f"the band must be at least two voxels, got {self.band} m for voxels of {self.settings.voxel} m"
            )
        edge = self.blocks.reach
        low, high = self.settings.bounds or ((-edge,) * 3, (edge,) * 3)
        self.low, self.high = np.clip(np.array([low, high], float), -edge, edge)
        if not (self.low < self.high).all():
            raise TwinError(f"bounds must be (low, high) with low < high, got {self.settings.bounds}")

    def integrate(self, seen: Observation) -> None:
        """Take one picture with depth; one without depth changes nothing.

        Raises:
            TwinError: no T_cam_base, arrays of other sizes than the camera, or more voxels than the memory holds.
        """
        check(seen)
        if seen.depth is None:
            return
        s = self.settings
        K, T = np.asarray(seen.camera.K, float), np.asarray(seen.camera.T_cam_base, float)
        depth = clean_depth(seen.depth, seen.ignore, s.near, s.far, s.jump)
        cosine = slant(depth, K, s.jump)
        weight = trust(depth, cosine)
        held = self.blocks
        with_room = touch(
            held.keys, held.values, held.places, held.count, depth, weight,
            np.linalg.inv(K), np.linalg.inv(T), self.low, self.high, held.voxel, self.band,
        )  # fmt: skip
        held.accept(with_room)
        average(
            held.places, held.count, held.distance, held.weight, held.color,
            depth, cosine, weight, np.ascontiguousarray(seen.image), K, T, held.voxel, self.band, s.jump,
        )  # fmt: skip

    def extract(self) -> Mesh:
        """The surface so far: open where nothing was seen, normals towards where it was seen from.

        Raises:
            TwinError: there is none.
        """
        s = self.settings
        return extract_surface(self.blocks, s.min_weight, SHADOW, s.min_area)


def fuse_depth(observations: Iterable[Observation], settings: TsdfSettings | None = None) -> Mesh:
    """One mesh of everything that depth pictures saw, with vertex colours, in the base frame.

    Args:
        observations: taken once, none is held. Pixels in `ignore` (the robot) neither build nor carve.

    Raises:
        TwinError: no depth at all, no surface, more voxels than the memory holds, or a picture without a placed camera.
    """
    volume = Volume(settings)
    for seen in observations:
        volume.integrate(seen)
    return volume.extract()


def check(seen: Observation) -> None:
    """Refuse a picture whose camera is not placed, or whose arrays do not fit it.

    Raises:
        TwinError: says which.
    """
    size = (seen.camera.height, seen.camera.width)
    if seen.camera.T_cam_base is None:
        raise TwinError(f"view {seen.view}: its camera has no pose in the base frame; place the cameras first")
    K, T = np.asarray(seen.camera.K, float), np.asarray(seen.camera.T_cam_base, float)
    if K.shape != (3, 3) or T.shape != (4, 4) or not (np.isfinite(K).all() and np.isfinite(T).all() and K[0, 0] > 0):
        raise TwinError(
            f"view {seen.view}: K must be 3x3 and T_cam_base 4x4, both finite, with a positive focal length"
        )
    if any(seen.camera.distortion):
        raise TwinError(f"view {seen.view}: its camera has lens distortion; straighten the pictures first")
    if seen.image.shape != (*size, 3) or seen.image.dtype != np.uint8:
        raise TwinError(
            f"view {seen.view}: expected a picture of {size[0]}x{size[1]}x3 bytes, "
            f"got {seen.image.shape} {seen.image.dtype}"
        )
    for name in ("depth", "ignore", "mask"):
        array = getattr(seen, name)
        if array is not None and array.shape != size:
            raise TwinError(f"view {seen.view}: {name} has shape {array.shape}, the camera {size}")
        if array is not None and name != "depth" and array.dtype != bool:
            raise TwinError(f"view {seen.view}: {name} must be True and False, got {array.dtype}")
