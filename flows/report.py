"""The report: one HTML file with everything in it, for looking at an episode anywhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from flows.episode import Episode
from flows.evaluation import sliding_joints
from flows.figures import gripper_figure, joint_figure, quality_figure
from flows.files import atomic_path
from urdf import Robot

PICTURES = 6
PICTURE_WIDTH = 640


def pick_frames(episode: Episode, count: int = PICTURES) -> list[int]:
    """Frames to show: evenly spread over the episode, and the one that fits worst."""
    worst = {int(np.nanargmin(episode.iou))} if np.isfinite(episode.iou).any() else set()
    spread = np.linspace(0, len(episode) - 1, min(count - len(worst), len(episode))).round().astype(int)
    return sorted({*spread.tolist(), *worst})


def write_report(path: Path, episode: Episode, robot: Robot, pictures: Mapping[int, np.ndarray]) -> None:
    """Write `report.html`; `pictures` are overlay frames (H,W,3) RGB by frame number."""
    html = render_report(episode, robot, pictures)
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def render_report(episode: Episode, robot: Robot, pictures: Mapping[int, np.ndarray]) -> str:
    """The report's HTML; every text that comes from outside is escaped."""
    environment = Environment(loader=PackageLoader("flows"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    worst = int(np.nanargmin(episode.iou)) if np.isfinite(episode.iou).any() else -1
    return environment.get_template("report.html").render(
        episode=episode,
        name=Path(str(episode.source.get("path", "episode"))).name,
        quality=episode.quality,
        figures={
            "joints": Markup(joint_figure(episode, sliding_joints(robot))),
            "quality": Markup(quality_figure(episode)),
            "gripper": Markup(gripper_figure(episode)),
        },
        pictures=[
            {
                "frame": t,
                "time": float(episode.time_s[t]),
                "iou": float(episode.iou[t]),
                "valid": bool(episode.valid[t]),
                "worst": t == worst,
                "data": Markup(jpeg(image)),
            }
            for t, image in sorted(pictures.items())
        ],
        joints=_joint_rows(episode, robot),
        camera=_camera_rows(episode),
        settings={k: v for k, v in episode.settings.items() if v is not None},
    )


def jpeg(image: np.ndarray, quality: int = 85) -> str:
    """A picture (H,W,3) RGB as a data: address, at most 640 pixels wide."""
    height, width = image.shape[:2]
    if width > PICTURE_WIDTH:
        size = (PICTURE_WIDTH, round(height * PICTURE_WIDTH / width))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _joint_rows(episode: Episode, robot: Robot) -> list[dict[str, Any]]:
    quality, rows = episode.quality, []
    for i, (name, sliding) in enumerate(zip(episode.joint_names, sliding_joints(robot))):
        factor, unit = (1000.0, "mm") if sliding else (float(np.rad2deg(1.0)), "°")
        q = episode.q[np.isfinite(episode.q[:, i]), i] * factor
        rows.append(
            {
                "name": name,
                "unit": unit,
                "low": float(q.min()) if len(q) else float("nan"),
                "high": float(q.max()) if len(q) else float("nan"),
                "sigma": quality["median_sigma"][name] * factor,
                "observable": quality["observable_fraction"].get(name, 0.0),
            }
        )
    return rows


def _camera_rows(episode: Episode) -> list[tuple[str, str]]:
    camera = episode.camera
    T_base_cam = np.linalg.inv(np.asarray(camera.T_cam_base, float))
    x, y, z = T_base_cam[:3, 3]
    look = T_base_cam[:3, 2]
    K = np.asarray(camera.K, float)
    sigma = np.asarray(episode.camera_sigma, float)
    rows = [
        ("Picture", f"{camera.width} x {camera.height} pixels"),
        ("Focal length", f"{K[0, 0]:.1f}, {K[1, 1]:.1f} px" + _plus_minus(episode.focal_sigma, "px", 1)),
        ("Principal point", f"{K[0, 2]:.1f}, {K[1, 2]:.1f} px"),
        ("Distance from the base", f"{np.linalg.norm(T_base_cam[:3, 3]):.3f} m"),
        (
            "Position in the base frame",
            f"({x:.3f}, {y:.3f}, {z:.3f}) m" + _plus_minus(sigma[3:].max() * 1000, "mm", 1),
        ),
        (
            "Viewing direction",
            f"({look[0]:.3f}, {look[1]:.3f}, {look[2]:.3f})" + _plus_minus(np.rad2deg(sigma[:3].max()), "°", 2),
        ),
        ("Masks", f"outline {episode.mask_offset:+.2f} px outside the robot's"),
        ("Solved for", ", ".join(episode.solved) or "nothing"),
    ]
    if episode.edges is not None:
        rows.append(("Edges in the pictures", "support {:.2f} by masks, {:.2f} in the end".format(*episode.edges)))
    if episode.depth_gap is not None:
        before, after = (1000 * gap for gap in episode.depth_gap)
        rows.append(("Depth pictures", f"surface {before:.1f} mm off, {after:.1f} mm in the end (median)"))
    if "time" in episode.solved:
        sigma_ms = 1000 * episode.time_sigma
        rows.append(
            ("Joint clock", f"{1000 * episode.time_offset:+.0f} ms to the video's" + _plus_minus(sigma_ms, "ms", 0))
        )
    if any(camera.distortion):
        rows.insert(3, ("Distortion", ", ".join(f"{v:.4g}" for v in camera.distortion)))
    return rows


def _plus_minus(sigma: float, unit: str, digits: int) -> str:
    return f" ± {sigma:.{digits}f} {unit}" if np.isfinite(sigma) and sigma > 0 else ""
