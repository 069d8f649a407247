"""Turntable recordings in the layout of Middlebury's multi-view sets: `*_par.txt` with K [R t] of every picture.

Source: Seitz, Curless, Diebel, Scharstein, Szeliski, A Comparison and Evaluation of Multi-View Stereo Reconstruction
Algorithms, 2006; the masks follow the recipe in the README of their sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pose.camera import Camera
from pose.errors import CameraError
from twin.errors import TwinError
from twin.observation import Observation

MOST_TEXT = 4_000_000  # bytes of a text file that is read


def read_turntable(
    folder: str | Path, threshold: float = 0.19, dilate: int = 10, erode: int = 7
) -> Iterator[Observation]:
    """The pictures of a turntable before black, one by one, with masks; the world of its file stands for the base.

    A picture's line reads `name k11 .. k33 r11 .. r33 t1 t2 t3`. A pixel belongs to the thing where one of its
    colours is over `threshold` (0..1); the mask is then grown by `dilate` and shrunk by `erode` pixels, which closes
    shadows and stays on the safe side. Where `*_good_silhouette_images.txt` names pictures, others come without mask.

    Raises:
        TwinError: no such folder, not exactly one `*_par.txt`, a line that is none, a picture that is absent.
    """
    folder = Path(folder)
    tables = sorted(folder.glob("*_par.txt"))
    if len(tables) != 1:
        raise TwinError(f"{folder}: expected one file *_par.txt with the cameras, found {len(tables)}")
    lines = [line.split() for line in _text(tables[0]).splitlines() if line.strip()]
    good = {name for table in folder.glob("*_good_silhouette_images.txt") for name in _text(table).split()}
    for line in lines[1:]:
        try:
            values = np.array([float(v) for v in line[1:]])
        except ValueError:
            values = np.zeros(0)
        if len(values) != 21 or not np.isfinite(values).all():
            raise TwinError(f"{tables[0]}: expected a name and 21 numbers, got {' '.join(line)[:60]}")
        name = line[0]
        if Path(name).name != name:
            raise TwinError(f"{tables[0]}: {name} is not the name of a file beside it")
        image = cv2.imread(str(folder / name), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise TwinError(f"{folder / name}: no such picture, or not a readable one")
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = values[9:18].reshape(3, 3), values[18:]
        entry = {"width": image.shape[1], "height": image.shape[0], "K": values[:9].reshape(3, 3), "T_cam_base": T}
        try:
            camera = Camera.from_dict(entry, f"{tables[0]}, {name}")
        except CameraError as error:
            raise TwinError(str(error)) from None
        mask = None
        if not good or name in good:
            mask = (image.max(-1) > 255 * threshold).astype(np.uint8)
            mask = cv2.dilate(mask, _disc(dilate))
            mask = cv2.erode(mask, _disc(erode), borderValue=1).astype(bool)
        yield Observation(camera, image, mask=mask)


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _text(path: Path) -> str:
    if path.stat().st_size > MOST_TEXT:
        raise TwinError(f"{path}: larger than {MOST_TEXT // 1_000_000} MB; that is no table of cameras")
    return path.read_text(encoding="utf-8", errors="replace")
