"""How far a twin is from the truth: its surface, its objects, its cameras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from pose.camera import Camera
from twin.errors import TwinError
from twin.measure_objects import ObjectErrors, compare_objects
from twin.measure_surface import SurfaceErrors, compare_surfaces
from twin.mesh import Mesh
from twin.scene import Scene
from twin.seen import SeenSpace


@dataclass(frozen=True)
class CameraErrors:
    """position in metres, angle in radians, focal length as a fraction of the true one."""

    position: float
    angle: float
    focal: float


@dataclass(frozen=True)
class TwinErrors:
    """surface: of everything inside the region; objects by their true name (None: not found); extra: bodies of the
    twin that are no true object; cameras by name (None: not in the twin)."""

    surface: SurfaceErrors
    objects: dict[str, ObjectErrors | None]
    extra: tuple[str, ...]
    cameras: dict[str, CameraErrors | None]


def measure_twin(
    scene: Scene, truth: Scene, region: Any = None, thresholds: tuple[float, ...] = (0.005, 0.01),
    spacing: float = 0.0025, seed: int = 0,
) -> TwinErrors:  # fmt: skip
    """Compare a twin with the true scene; both in the robot's base frame, metres.

    What no true camera sees at any time is not asked for, and the twin's guesses there (undersides, the far side of
    things) are not counted against it: only points in space that was seen, or less than 5 cm behind a seen surface.
    The robot hides what is behind it but is not itself measured.

    Args:
        region: (2,3) lowest and highest corner of what counts; None: `truth.metrics["region"]`, else everything.
        thresholds: metres, for precision, recall and F-score.
        spacing: metres between the points that stand for a surface. seed: of their places.

    Raises:
        TwinError: the truth has no cameras or surface, the twin has no surface, or the region is none.
    """
    if not truth.cameras:
        raise TwinError("the true scene has no cameras: what they see cannot be told")
    box = _region(truth.metrics.get("region") if region is None else region)
    seen = SeenSpace(truth)
    rng = np.random.default_rng(seed)
    surface = compare_surfaces(_meshes(scene), _meshes(truth), seen, box, thresholds, spacing, rng)
    objects, extra = compare_objects(scene, truth, seen, spacing, rng)
    cameras = {
        n: compare_cameras(scene.cameras[n], c) if n in scene.cameras else None for n, c in truth.cameras.items()
    }
    return TwinErrors(surface, objects, extra, cameras)


def compare_cameras(camera: Camera, truth: Camera) -> CameraErrors:
    """Errors of one camera; NaN where it has no pose."""
    focal = camera.focal / truth.focal - 1
    if camera.T_cam_base is None or truth.T_cam_base is None:
        return CameraErrors(float("nan"), float("nan"), focal)
    T_a, T_b = np.linalg.inv(np.asarray(camera.T_cam_base)), np.linalg.inv(np.asarray(truth.T_cam_base))
    angle = Rotation.from_matrix(T_a[:3, :3].T @ T_b[:3, :3]).magnitude()
    return CameraErrors(float(np.linalg.norm(T_a[:3, 3] - T_b[:3, 3])), float(angle), focal)


def _region(given: Any) -> np.ndarray:
    if given is None:
        return np.array([[-np.inf] * 3, [np.inf] * 3])
    try:
        box = np.asarray(given, float).reshape(2, 3)
    except (TypeError, ValueError):
        raise TwinError(f"region {given!r}: expected x0,y0,z0,x1,y1,z1 in metres") from None
    if not (box[0] < box[1]).all():
        raise TwinError(f"region {given!r}: the first corner must be below the second in x, y and z")
    return box


def _meshes(scene: Scene) -> list[Mesh]:
    placed = [body.visual.transformed(body.T_base_body) for body in scene.bodies]
    return placed if scene.background is None else [scene.background, *placed]
