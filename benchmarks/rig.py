"""Rigs of real cameras placed by the robot that they see, with nothing but pictures, K and the robot's model.

    python -m benchmarks.rig --data ../shared/data [--only franka kuka pusht] [--no-edges]

- franka: 20 poses, 3 cameras, the default segmenter's masks (trained on cameras 0 and 1 of this very set), joints and
  cameras unknown; against the calibration by tags, and the end effector against the recorded one.
- kuka: the stereo pair with the masks given, joints known and unknown; the baseline is 120.0 mm.
- pusht: three videos without a common clock; given poses checked and repaired, and found from nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from benchmarks.fit import T_OPTICAL_BODY
from segmentation import load_segmenter
from twin import Rig, load_rig
from twin.place import Placed, place_rig
from twin.place_check import apart
from urdf import Robot, load_robot

PUSHT = "franka_pusht_3cam/examples/embodied_environments/pusht_embodied/sample_demos/0"
INSTANTS = 60


class Nearest(Sequence):
    """Masks of some frames; of others, those of the nearest."""

    def __init__(self, masks: Mapping[int, Mapping[str, np.ndarray]], length: int) -> None:
        self.masks, self.length = masks, length
        self.frames = np.array(sorted(masks))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, frame):
        return self.masks[int(self.frames[np.abs(self.frames - frame).argmin()])]


def segmented(rig: Rig, step: float = 0.0) -> list[Nearest]:
    """The default segmenter's masks at instants of a rig."""
    segmenter, out = load_segmenter("default"), []
    frames = rig.instants(step=step)[1]
    for camera, row in zip(rig.cameras, frames):
        wanted = sorted({int(i) for i in row if i >= 0})
        pictures = {frame.index: frame.image for frame in camera.open() if frame.index in set(wanted)}
        found = segmenter.segment([pictures[i] for i in wanted])
        masks = {i: {p: (m > 0.5).astype(np.uint8) * 255 for p, m in one.items()} for i, one in zip(wanted, found)}
        out.append(Nearest(masks, len(camera.times)))
    return out


def without_poses(rig: Rig) -> Rig:
    """The rig as if only K were known."""
    cameras = [replace(c, camera=None if c.camera is None else replace(c.camera, T_cam_base=None)) for c in rig.cameras]
    return replace(rig, cameras=tuple(cameras))


def given_poses(rig: Rig) -> list[np.ndarray]:
    """T_cam_base of every camera, as the data set states them."""
    return [np.asarray(c.camera.T_cam_base) for c in rig.cameras if c.camera is not None]


def tell(label: str, placed: Placed, references: Sequence[np.ndarray], begin: float) -> None:
    """Print every camera's error, every pair's, and what is stated."""
    poses = {v: given_poses(placed.rig)[v] for v in placed.views}
    for i, (v, T) in enumerate(poses.items()):
        metres, radians = apart(T, references[v])
        overlap = float(np.nanmedian(placed.fit.iou[i]))
        print(f"{label}, {placed.rig.names[v]}: {1e3 * metres:.1f} mm {np.rad2deg(radians):.2f} deg, IoU {overlap:.3f}")
    for a in poses:
        for b in range(a):
            if b in poses:
                pair, true = poses[a] @ np.linalg.inv(poses[b]), references[a] @ np.linalg.inv(references[b])
                metres, radians = apart(pair, true)
                length = 1e3 * np.linalg.norm(pair[:3, 3])
                print(
                    f"{label}, {b} to {a}: {1e3 * metres:.1f} mm {np.rad2deg(radians):.2f} deg, apart {length:.1f} mm"
                )
    for statement in placed.statements:
        print(f"{label}, {statement.name}: {statement.text}")
    print(f"{label}: {time.process_time() - begin:.0f} s of CPU; {' | '.join(placed.warnings)}", flush=True)


def franka(data: Path, edges: bool) -> None:
    """Three cameras around the table, twenty poses."""
    folder = data / "franka_3cam_poses"
    robot, rig = load_robot("panda"), load_rig(folder)
    references = given_poses(rig)
    begin = time.process_time()
    placed = place_rig(without_poses(rig), robot, segmented(rig), edges=edges)
    tell("franka, only K known", placed, references, begin)
    recorded = json.loads((folder / "calib_and_poses.json").read_text())["frames"]
    tool = robot.link_poses(placed.motion.q)[:, robot.link_names.index("panda_link8")]
    place = np.array([f["ee_position_m"] for f in recorded])
    turn = Rotation.from_quat([f["ee_quaternion_xyzw"] for f in recorded])
    metres = np.linalg.norm(tool[:, :3, 3] - place, axis=1)
    radians = (Rotation.from_matrix(tool[:, :3, :3]).inv() * turn).magnitude()
    print(
        f"franka, end effector against the recorded: median {1e3 * np.nanmedian(metres):.1f} mm, largest "
        f"{1e3 * np.nanmax(metres):.1f} mm, median {np.rad2deg(np.nanmedian(radians)):.2f} deg",
        flush=True,
    )


def kuka(data: Path, edges: bool) -> None:
    """The stereo pair."""
    folder = data / "kuka_lbr_med7"
    robot, rig = load_robot(str(folder / "robot" / "lbr_med7.urdf")), load_rig(folder)
    references = [T_OPTICAL_BODY @ np.linalg.inv(np.load(folder / f"HT_{side}_dr.npy")) for side in rig.names]
    masks = [
        [{"robot": cv2.imread(str(folder / f"mask_sam2_{side}_image_{i}.png"), 0)} for i in range(5)]
        for side in rig.names
    ]
    q = np.stack([np.load(folder / f"joint_states_{i}.npy") for i in range(5)])
    for label, joints in (("kuka, joints known", (q, None)), ("kuka, joints unknown", None)):
        begin = time.process_time()
        tell(label, place_rig(without_poses(rig), robot, masks, joints=joints, edges=edges), references, begin)


def pusht(data: Path, edges: bool) -> None:
    """Three videos of a Franka that pushes; the catalogue's Panda stands in: the set's has no visual meshes."""
    robot: Robot = load_robot("panda")
    rig = load_rig(data / PUSHT)
    references = given_poses(rig)
    span = float(np.ptp(rig.instants()[0]))
    masks = segmented(rig, span / INSTANTS)
    for label, given in (("pusht, poses given", rig), ("pusht, only K known", without_poses(rig))):
        begin = time.process_time()
        placed = place_rig(given, robot, masks, sync=False, most=INSTANTS, edges=edges)
        tell(label, placed, references, begin)


def main() -> None:
    """Read the arguments and print every figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=["franka", "kuka", "pusht"])
    parser.add_argument("--no-edges", action="store_true")
    arguments = parser.parse_args()
    for name, job in (("franka", franka), ("kuka", kuka), ("pusht", pusht)):
        if name in arguments.only:
            job(arguments.data, not arguments.no_edges)


if __name__ == "__main__":
    main()
