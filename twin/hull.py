"""The visual hull: the largest body that all masks allow, as one closed mesh."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from twin.errors import TwinError
from twin.hull_color import color_surface
from twin.hull_kernel import outline_distance, sift
from twin.hull_outlines import Outlines, collect_outlines
from twin.hull_photo import carve_inconsistent
from twin.mesh import Mesh
from twin.observation import Observation
from twin.surface import extract_surface
from twin.tsdf_blocks import SIDE, Blocks


@dataclass(frozen=True)
class HullSettings:
    """How a hull is carved.

    Attributes:
        voxel: metres between samples; the surface is found between them.
        bounds: (low, high), each three metres in the base frame, that close the hull; None: found from the masks.
        misses: so many pictures may leave a point out of their mask before it is carved: 1 forgives a wrong mask.
        min_views: a point that fewer pictures tell about does not belong to the hull.
        photo: carve further where pictures that see the same place disagree about its colour.
        photo_tolerance: grey levels of disagreement (root mean square over pictures) that are one surface.
        min_area: m2; smaller pieces of surface are left out.
        memory_gb: most memory (1e9 bytes) of voxels, and again of masks.
    """

    voxel: float = 0.003
    bounds: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    misses: int = 0
    min_views: int = 2
    photo: bool = False
    photo_tolerance: float = 25.0
    min_area: float = 2e-4
    memory_gb: float = 1.0


def carve_hull(observations: Iterable[Observation], settings: HullSettings | None = None) -> Mesh:
    """A closed mesh with vertex colours of what the masks show, in the base frame.

    The body is the intersection of the cones of all outlines (Laurentini, 1994), found from coarse boxes to fine ones
    (Szeliski, Rapid Octree Construction, 1993), then sampled as a signed distance in blocks along its surface.
    It is too large where no picture looks past it: hollows do not show in outlines; `photo` carves some of them.

    Args:
        observations: taken once; those without `mask` are passed over. Pixels in `ignore` neither carve nor colour.

    Raises:
        TwinError: no mask, nothing left, more memory than allowed, or a picture without a placed camera.
    """
    s = settings or HullSettings()
    if s.misses < 0 or s.min_views < 1:
        raise TwinError(f"misses must be 0 or more and min_views 1 or more, got {s.misses} and {s.min_views}")
    outlines = collect_outlines(observations, s.memory_gb)
    blocks = Blocks(s.voxel, s.memory_gb)
    low, high = (np.array(v, float) for v in s.bounds or reach_of(outlines))
    if not (low < high).all() or np.abs([low, high]).max() > blocks.reach:
        raise TwinError(f"bounds must be (low, high) with low < high, got {low.tolist()} and {high.tolist()}")
    blocks.add(_along_surface(outlines, low, high, s))
    if not blocks.count:
        raise TwinError(
            "nothing left of the hull: the masks of the views do not meet; check the cameras, or allow misses"
        )

    def measure(first: int) -> None:
        outline_distance(
            blocks.places[first:], blocks.count - first, blocks.distance[first:], blocks.weight[first:],
            outlines.fields, outlines.sizes, outlines.K, outlines.T_cam_base, low, high, s.voxel, s.misses, s.min_views,
        )  # fmt: skip

    measure(0)
    if s.photo:
        carve_inconsistent(blocks, outlines, s.photo_tolerance, measure)
    return color_surface(extract_surface(blocks, min_area=s.min_area), outlines)


def reach_of(outlines: Outlines) -> tuple[np.ndarray, np.ndarray]:
    """A cube that holds whatever the masks can show: around the point nearest to all masks' middles, as far as the
    farthest camera is from it."""
    A, b = np.zeros((3, 3)), np.zeros(3)
    eyes = []
    for field, K, T in zip(outlines.fields, outlines.K, outlines.T_cam_base, strict=True):
        v, u = np.nonzero(field > 0)
        eye = -T[:3, :3].T @ T[:3, 3]
        eyes.append(eye)
        if len(u):
            ray = T[:3, :3].T @ np.linalg.solve(K, [u.mean(), v.mean(), 1])
            ray /= np.linalg.norm(ray)
            across = np.eye(3) - np.outer(ray, ray)
            A += across
            b += across @ eye
    center = np.linalg.lstsq(A, b, rcond=None)[0]
    half = np.linalg.norm(np.array(eyes) - center, axis=1).max()
    return center - half, center + half


def _along_surface(outlines: Outlines, low: np.ndarray, high: np.ndarray, s: HullSettings) -> np.ndarray:
    """Block coordinates (N,3) of all blocks that the hull's surface may pass: boxes halved from the whole down."""
    side = s.voxel * SIDE
    first, last = np.floor(low / side).astype(np.int64) - 1, np.floor(high / side).astype(np.int64) + 1
    level = int(np.ceil(np.log2((last - first + 1).max())))
    boxes = np.zeros((1, 3), np.int64)
    octants = np.indices((2, 2, 2)).reshape(3, -1).T
    while True:
        edge = side * 2**level
        centers = first * side + (boxes + 0.5) * edge - 0.5 * s.voxel
        # half a voxel more than the box: the surface may run between this block's voxels and the next one's
        radius = 0.5 * np.sqrt(3.0) * (edge + s.voxel)
        near = ((centers + radius > low) & (centers - radius < high)).all(1)
        boxes, centers = boxes[near], centers[near]
        fate = sift(
            centers, radius, outlines.fields, outlines.sizes, outlines.K, outlines.T_cam_base, s.misses, s.min_views
        )
        # a box inside all outlines matters where the bounds cut it
        cut = ((centers - radius < low) | (centers + radius > high)).any(1)
        boxes = boxes[(fate == 1) | ((fate == 2) & cut)]
        if level == 0:
            return boxes + first
        if len(boxes) * 8 * 60 > s.memory_gb * 1e9:
            raise TwinError(f"the hull needs more than {s.memory_gb:g} GB: take larger voxels or narrower bounds")
        boxes = (2 * boxes[:, None] + octants).reshape(-1, 3)
        level -= 1
