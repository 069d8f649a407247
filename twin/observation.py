"""What one camera saw at one instant, ready for fusion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose.camera import Camera


@dataclass(frozen=True, eq=False)
class Observation:
    """One picture with everything that fusion asks of it.

    Attributes:
        camera: K and T_cam_base; no distortion (pictures are straightened before).
        image: (H,W,3) uint8 RGB.
        depth: (H,W) float32 metres along the camera's z, 0 where unknown; None without a depth sensor.
        ignore: (H,W) bool, pixels of the robot and of what else is not to be fused; None: there are none.
        mask: (H,W) bool, what a visual hull is made of; None: no such mask is known.
        view: number of the camera in its rig.
        time_s: seconds on the rig's common clock.
    """

    camera: Camera
    image: np.ndarray
    depth: np.ndarray | None = None
    ignore: np.ndarray | None = None
    mask: np.ndarray | None = None
    view: int = 0
    time_s: float = 0.0
