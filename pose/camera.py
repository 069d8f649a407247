"""Pinhole cameras with OpenCV's conventions: x right, y down, z forward, pixel centres at whole numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pose.errors import CameraError


@dataclass(frozen=True)
class Camera:
    """Intrinsics and, where known, the pose of the robot's base in the camera.

    Attributes:
        width, height: image size in pixels.
        K: (3,3) intrinsic matrix in pixels; may be a torch tensor for `render_silhouette`, also batched (...,3,3).
        T_cam_base: (4,4) maps base coordinates (metres) into the camera, or None when unknown; likewise.
        distortion: () or OpenCV's (k1, k2, p1, p2, k3).
    """

    width: int
    height: int
    K: Any
    T_cam_base: Any = None
    distortion: tuple[float, ...] = field(default=())

    @property
    def focal(self) -> float:
        """Mean focal length in pixels."""
        return float(self.K[0, 0] + self.K[1, 1]) / 2

    @classmethod
    def from_focal(cls, width: int, height: int, focal: float, T_cam_base: Any = None) -> Camera:
        """A camera with square pixels and its principal point at the image centre."""
        K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
        return cls(width, height, K, T_cam_base)

    def scaled(self, factor_x: float, factor_y: float | None = None) -> Camera:
        """The same camera for an image resized by the factors (pixel centres stay at whole numbers)."""
        fy = factor_x if factor_y is None else factor_y
        S = np.array([[factor_x, 0, (factor_x - 1) / 2], [0, fy, (fy - 1) / 2], [0, 0, 1.0]])
        size = round(self.width * factor_x), round(self.height * fy)
        return replace(self, width=size[0], height=size[1], K=S @ np.asarray(self.K, float))

    def project(self, points_cam: np.ndarray) -> np.ndarray:
        """Pixel coordinates (...,2) of points (...,3) in the camera's frame, with lens distortion.

        Source: OpenCV calib3d, the five-parameter Brown-Conrady model.
        """
        xy = points_cam[..., :2] / points_cam[..., 2:3]
        if any(self.distortion):
            k1, k2, p1, p2, k3 = self.distortion
            x, y = xy[..., 0], xy[..., 1]
            # the polynomials are meaningless far outside the image: there they end at radius 2
            r2 = np.maximum(x * x + y * y, 1e-12)
            shrink = np.sqrt(np.minimum(1.0, 4.0 / r2))
            r2 = np.minimum(r2, 4.0)
            a, b = x * shrink, y * shrink
            radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
            xy = np.stack(
                [
                    x * radial + 2 * p1 * a * b + p2 * (r2 + 2 * a * a),
                    y * radial + p1 * (r2 + 2 * b * b) + 2 * p2 * a * b,
                ],
                -1,
            )
        K = np.asarray(self.K, float)
        return xy @ K[:2, :2].T + K[:2, 2]

    def to_dict(self) -> dict[str, Any]:
        """The content of a `cam.json`."""
        return {
            "width": int(self.width),
            "height": int(self.height),
            "K": np.asarray(self.K, float).tolist(),
            "distortion": [float(v) for v in self.distortion],
            "T_cam_base": None if self.T_cam_base is None else np.asarray(self.T_cam_base, float).tolist(),
        }

    @classmethod
    def from_dict(cls, data: Any, source: str = "camera") -> Camera:
        """Check the content of a `cam.json` and build the camera.

        Raises:
            CameraError: a missing entry, a matrix of another shape, one that is no camera matrix or no rigid motion.
        """
        if not isinstance(data, dict):
            raise CameraError(f"{source}: expected a JSON object with width, height and K, got {type(data).__name__}")
        missing = [k for k in ("width", "height", "K") if k not in data]
        if missing:
            raise CameraError(f"{source}: entry {', '.join(missing)} is missing; a camera needs width, height and K")
        try:
            width, height = int(data["width"]), int(data["height"])
        except (TypeError, ValueError):
            raise CameraError(f"{source}: width and height must be whole numbers of pixels") from None
        if not (0 < width <= 65536 and 0 < height <= 65536):
            raise CameraError(f"{source}: image size {width}x{height} is not between 1 and 65536 pixels")
        K = _matrix(data["K"], (3, 3), "K", source)
        if K[0, 0] <= 0 or K[1, 1] <= 0 or K[1, 0] != 0 or np.abs(K[2] - [0, 0, 1]).max() > 1e-9:
            raise CameraError(
                f"{source}: K must read [[fx, s, cx], [0, fy, cy], [0, 0, 1]] with fx, fy > 0, got {K.tolist()}"
            )
        distortion = data.get("distortion") or []
        if not isinstance(distortion, Sequence) or len(distortion) not in (0, 4, 5):
            raise CameraError(f"{source}: distortion must be [] or [k1, k2, p1, p2, k3]")
        try:
            values = tuple(float(v) for v in distortion)
        except (TypeError, ValueError):
            raise CameraError(f"{source}: distortion holds something that is no number") from None
        if not all(np.isfinite(values)):
            raise CameraError(f"{source}: distortion holds a value that is not finite")
        if len(values) == 4:
            values = (*values, 0.0)
        T = data.get("T_cam_base")
        if T is not None:
            T = _matrix(T, (4, 4), "T_cam_base", source)
            R = T[:3, :3]
            if (
                np.abs(R @ R.T - np.eye(3)).max() > 1e-3
                or np.linalg.det(R) < 0
                or np.abs(T[3] - [0, 0, 0, 1]).max() > 1e-6
            ):
                raise CameraError(
                    f"{source}: T_cam_base is no rigid motion: expected a rotation with determinant +1, "
                    "a translation in metres and the last row 0 0 0 1"
                )
        return cls(width, height, K, T, values)

    @classmethod
    def load(cls, path: str | Path) -> Camera:
        """Read a `cam.json`.

        Raises:
            CameraError: the file is absent, no JSON, or does not describe a camera.
        """
        path = Path(path)
        if not path.is_file():
            raise CameraError(f"{path}: no such camera file")
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise CameraError(f"{path}: not a readable JSON file ({error})") from None
        return cls.from_dict(data, str(path))


def _matrix(value: Any, shape: tuple[int, int], name: str, source: str) -> np.ndarray:
    try:
        matrix = np.array(value, dtype=float)
    except (TypeError, ValueError):
        raise CameraError(f"{source}: {name} must be a {shape[0]}x{shape[1]} matrix of numbers") from None
    if matrix.shape != shape:
        raise CameraError(
            f"{source}: {name} has shape {'x'.join(map(str, matrix.shape))}, expected {shape[0]}x{shape[1]}"
        )
    if not np.isfinite(matrix).all():
        raise CameraError(f"{source}: {name} holds a value that is not finite")
    return matrix
