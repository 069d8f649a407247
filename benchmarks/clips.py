"""Score a segmenter on labelled shards: J and F of each part, and whether masks flicker.

    python -m benchmarks.clips SHARDS... [--weights default|PATH] [--no-memory] [--pictures DIR]

SHARDS: folders as `urdfit train data` or `python -m benchmarks.heldout make` write them. A part counts in a frame
where it is to be seen: at least 1 in 1,000 pixels.

Stability is the mean IoU of the robot's mask with that of the frame before, carried along by the true motion: each
pixel that shows the robot moves with its link, every other one stands still in the world. Pixels that were hidden or
outside the picture in the frame before do not count. The truth's own stability is printed beside it: held objects
move otherwise, and masks of whole pixels cannot reach 1.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from pose.camera import Camera
from pose.raster import inverse_depth, rasterize
from segmentation import boundary_f, jaccard, load_segmenter
from segmentation.compact import NetworkSegmenter
from segmentation.training.shards import Sample, ShardSet, decode, decode_depth
from urdf import Robot, load_robot

SEEN = 1e-3  # share of the picture from which on a part counts
PARTS = ("robot", "arm", "gripper")


def true_mask(part: np.ndarray, name: str) -> np.ndarray:
    """The mask of `robot`, `arm` or `gripper` in a part image; ignored pixels are none of them."""
    return (part == 1) | (part == 2) if name == "robot" else part == PARTS.index(name)


def source_pixels(before: Sample, now: Sample) -> np.ndarray | None:
    """Where each pixel of `now` was in `before`: (H,W,2) int x, y; -1 where hidden. None without depth."""
    depth, depth_before = decode_depth(now), decode_depth(before)
    if depth is None or depth_before is None or not now.meta.get("robot"):
        return None
    camera, camera_before = _camera(now), _camera(before)
    height, width = depth.shape
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    K = camera.K
    points = np.stack([(x - K[0, 2]) / K[0, 0] * depth, (y - K[1, 2]) / K[1, 1] * depth, depth], -1).reshape(-1, 3)
    T = np.linalg.inv(camera.T_cam_base)
    points = points @ T[:3, :3].T + T[:3, 3]
    robot = _robot(now.meta["robot"])
    poses, poses_before = (robot.link_poses(np.array(s.meta["q"])) for s in (now, before))
    link = _links(robot, poses, camera)
    link[~true_mask(decode(now)[1], "robot")] = -1
    link = link.ravel()
    for k in np.unique(link[link >= 0]):
        mine, moved = link == k, poses_before[k] @ np.linalg.inv(poses[k])
        points[mine] = points[mine] @ moved[:3, :3].T + moved[:3, 3]
    cam = points @ camera_before.T_cam_base[:3, :3].T + camera_before.T_cam_base[:3, 3]
    ahead = (depth.ravel() > 0) & (cam[:, 2] > 0.02)
    uv = np.rint(camera_before.project(np.where(ahead[:, None], cam, [0, 0, 1.0]))).astype(int)
    inside = ahead & (uv >= 0).all(1) & (uv[:, 0] < width) & (uv[:, 1] < height)
    there = np.where(inside, depth_before[uv[:, 1] * inside, uv[:, 0] * inside], 0)
    seen = inside & (np.abs(there - cam[:, 2]) < 0.01 + 0.01 * cam[:, 2])
    return np.where(seen[:, None], uv, -1).reshape(height, width, 2)


def stability(mask: np.ndarray, before: np.ndarray, source: np.ndarray) -> float:
    """IoU of a mask with that of the frame before, carried along; see `source_pixels`."""
    known = source[..., 0] >= 0
    carried = before[source[..., 1], source[..., 0]]
    return jaccard(mask & known, carried & known)


@cache
def _robot(name: str) -> Robot:
    return load_robot(name, mesh_faces=20_000)


def _camera(sample: Sample) -> Camera:
    c = sample.meta["camera"]
    return Camera(c["width"], c["height"], np.array(c["K"]), np.array(c["T_cam_base"]))


def _links(robot: Robot, poses: np.ndarray, camera: Camera) -> np.ndarray:
    """(H,W) index of the link that each pixel would show without occluders, -1 for none."""
    mesh = robot.mesh
    points = np.einsum("vij,vj->vi", poses[mesh.vertex_link, :3, :3], mesh.vertices) + poses[mesh.vertex_link, :3, 3]
    points = points @ camera.T_cam_base[:3, :3].T + camera.T_cam_base[:3, 3]
    inv_z = inverse_depth(points[:, 2])
    uv = camera.project(np.column_stack([points[:, :2], np.where(inv_z > 0, points[:, 2], 1)])).astype(np.float32)
    face, _ = rasterize(uv, inv_z, mesh.faces, camera.height, camera.width)
    return np.where(face >= 0, mesh.face_link[face], -1)


class Forgetful(NetworkSegmenter):
    """The default segmenter without its memory, for comparison."""

    def _look(self, frame, memory=None):  # type: ignore[no-untyped-def]
        if memory is not None:
            memory = replace(memory, thumb=-memory.thumb)  # like no scene
        return super()._look(frame, memory)


def _scores(samples: Iterable[Sample], segmenter: NetworkSegmenter, pictures: Path | None) -> Iterator[dict]:
    """A dict of scores for every frame of a clip."""
    samples = list(samples)
    before = None
    for sample, masks in zip(samples, segmenter.segment(decode(s)[0] for s in samples)):
        rgb, part = decode(sample)
        ignored = part == 255
        row = {}
        for name in PARTS:
            truth, mask = true_mask(part, name), (masks[name] >= 0.5) & ~ignored
            if truth.mean() > SEEN:
                row[f"J {name}"], row[f"F {name}"] = jaccard(mask, truth), boundary_f(mask, truth)
        robot = masks["robot"] >= 0.5
        source = None if before is None else source_pixels(before[0], sample)
        if before is not None and source is not None and true_mask(part, "robot").mean() > SEEN:
            row["stable"] = stability(robot, before[1], source)
            row["stable truth"] = stability(true_mask(part, "robot"), true_mask(decode(before[0])[1], "robot"), source)
        before = sample, robot
        if pictures is not None:
            cv2.imwrite(str(pictures / f"{sample.clip}_{sample.frame:05d}.png"), _painted(rgb, masks, part))
        yield row


def _painted(rgb: np.ndarray, masks: dict[str, np.ndarray], part: np.ndarray) -> np.ndarray:
    """BGR: arm red, gripper blue, true outlines green and yellow."""
    out = rgb[..., ::-1].copy()
    out[masks["arm"] >= 0.5] = out[masks["arm"] >= 0.5] // 2 + np.array([0, 0, 127], np.uint8)
    out[masks["gripper"] >= 0.5] = out[masks["gripper"] >= 0.5] // 2 + np.array([127, 0, 0], np.uint8)
    for name, color in (("arm", (0, 255, 0)), ("gripper", (0, 255, 255))):
        lines, _ = cv2.findContours(true_mask(part, name).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(out, lines, -1, color, 1)
    return out


def main() -> None:
    """Print a line a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path, nargs="+")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--per-robot", action="store_true")
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    segmenter = load_segmenter(options.weights)
    if options.no_memory:
        assert isinstance(segmenter, NetworkSegmenter)
        segmenter.__class__ = Forgetful
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
    for folder in options.shards:
        shards, rows, start = ShardSet(folder), [], time.perf_counter()
        for clip in shards.clips:
            robot = str(shards[clip[0]].meta.get("robot"))
            rows += [(robot, row) for row in _scores((shards[i] for i in clip), segmenter, options.pictures)]
        seconds = (time.perf_counter() - start) / max(len(rows), 1)
        groups = {f"{folder.name}": [row for _, row in rows]}
        if options.per_robot:
            groups |= {f"  {r}": [row for name, row in rows if name == r] for r in sorted({r for r, _ in rows})}
        for name, group in groups.items():
            keys = dict.fromkeys(k for row in group for k in row)
            means = "  ".join(f"{k} {np.mean([row[k] for row in group if k in row]):.3f}" for k in keys)
            print(f"{name}: {len(group)} frames  {means}")
        print(f"  {seconds:.3f} s a frame, scoring included")


if __name__ == "__main__":
    main()
