"""Score a segmenter on real pictures it was never trained on: J and F of the whole robot.

    python -m benchmarks.masks --data ../shared/data [--weights default|PATH] [--pictures DIR]

- franka_droid_clip: human masks.
- kuka_lbr_med7: SAM 2 masks of the arm; the left 27 % of the picture shows other robots without labels and
is ignored.
- panda_video: silhouettes rendered from the recorded joints and camera (synchronised to about 0.1 s;
fingers unknown).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pose.camera import Camera
from pose.raster import inverse_depth, rasterize
from segmentation import boundary_f, jaccard, load_segmenter
from urdf import load_robot


def droid(data: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(RGB picture, robot mask) of every frame."""
    for file in sorted((data / "franka_droid_clip").glob("in_*.png")):
        truth = cv2.imread(str(file.with_name(file.name.replace("in_", "gtmask_"))), cv2.IMREAD_GRAYSCALE)
        image = _rgb(file)  # masks and frames were cut from two panels of one picture: their widths differ by 2
        width = min(image.shape[1], truth.shape[1])
        yield np.ascontiguousarray(image[:, :width]), truth[:, :width] > 127


def kuka(data: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The part of every picture right of the other robots."""
    folder = data / "kuka_lbr_med7"
    for file in sorted([*folder.glob("left_image_*.png"), *folder.glob("right_image_*.png")]):
        truth = cv2.imread(str(folder / f"mask_sam2_{file.name}"), cv2.IMREAD_GRAYSCALE)
        yield _rgb(file), truth > 127


def panda(data: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Silhouettes from joints and camera, fingers half open."""
    folder = data / "panda_video"
    truth = json.loads((folder / "truth.json").read_text())
    T = np.eye(4)
    T[:3, :3] = cv2.Rodrigues(np.array(truth["T_cam_base_rotvec_rad"]))[0]
    T[:3, 3] = truth["T_cam_base_translation_m"]
    camera = Camera(*truth["image_size"], np.array(truth["K"]), T)
    robot = load_robot("panda", mesh_faces=20_000)
    for frame in truth["frames"]:
        q = robot.rest.copy()
        q[:7], q[7] = frame["joint_angles_rad"], 0.02
        pose, mesh = robot.link_poses(q), robot.mesh
        points = np.einsum("vij,vj->vi", pose[mesh.vertex_link, :3, :3], mesh.vertices)
        points = (points + pose[mesh.vertex_link, :3, 3]) @ T[:3, :3].T + T[:3, 3]
        inv_z = inverse_depth(points[:, 2])
        uv = camera.project(points).astype(np.float32)
        seen, _ = rasterize(uv, inv_z, mesh.faces, camera.height, camera.width)
        yield _rgb(folder / frame["file"]), seen >= 0


SETS = {"droid": (droid, 0.0), "kuka": (kuka, 0.27), "panda": (panda, 0.0)}


def _rgb(file: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)


def overlay(image: np.ndarray, mask: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Predicted mask in red, true outline in green."""
    out = image.copy()
    out[mask] = out[mask] // 2 + np.array([127, 0, 0], np.uint8)
    contours, _ = cv2.findContours(truth.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.ascontiguousarray(out), contours, -1, (0, 255, 0), 1)


def main() -> None:
    """Print a line a data set."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", default="default")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--pictures", type=Path, help="write overlays there")
    parser.add_argument("--per-frame", action="store_true")
    options = parser.parse_args()
    segmenter = load_segmenter(options.weights)
    for name in options.sets:
        reader, ignored = SETS[name]
        scores, start = [], time.perf_counter()
        pairs = list(reader(options.data))
        masks = segmenter.segment(image for image, _ in pairs)
        for i, ((image, truth), parts) in enumerate(zip(pairs, masks)):
            mask = parts["robot"] >= 0.5
            first = int(image.shape[1] * ignored)
            pair = mask[:, first:], truth[:, first:]
            scores.append((jaccard(*pair), boundary_f(*pair)))
            if options.per_frame:
                print(f"  {name} {i:03d} J {scores[-1][0]:.3f} F {scores[-1][1]:.3f}")
            if options.pictures:
                options.pictures.mkdir(parents=True, exist_ok=True)
                picture = overlay(image, mask, truth)
                cv2.imwrite(str(options.pictures / f"{name}_{i:03d}.png"), picture[..., ::-1])
        j, f = np.mean(scores, 0)
        seconds = (time.perf_counter() - start) / max(len(scores), 1)
        counts = f"{name}: {len(scores)} pictures"
        print(f"{counts}  J {j:.3f}  F {f:.3f}  J&F {(j + f) / 2:.3f}  ({seconds:.3f} s each)")


if __name__ == "__main__":
    main()
