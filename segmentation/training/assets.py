"""What scenes are made of: photos, textures, panoramas, object meshes, robots. All paths come from the caller."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np

os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")
import cv2
import trimesh

from pose.props import speckle, tiles, wood
from pose.shading import Prop, surroundings
from segmentation.errors import TrainingError, VideoError
from segmentation.pictures import read_picture
from urdf import Robot, load_robot

T = TypeVar("T")
IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
PANORAMAS = {".exr", ".hdr"}
MESHES = {".obj", ".stl"}
ROBOT_FACES = 20_000
OBJECT_FACES = 3_000
MAX_MESH_BYTES = 64 * 2**20
MAX_PANORAMA_BYTES = 256 * 2**20
PHOTO_LENGTH, TEXTURE_LENGTH, PANORAMA_LENGTH = 1100, 512, 2048  # pixels of the longer side that are kept
KEPT = 160  # pictures of a folder that stay in memory; the others are read again when drawn


def files_under(paths: Sequence[Path], suffixes: set[str]) -> list[Path]:
    """The given files, and files with one of the suffixes in the given folders, in a fixed order.

    Raises:
        TrainingError: a path that is not there, or a folder without such a file.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise TrainingError(f"{path}: no such file or folder")
        inside = [path] if path.is_file() else [p for p in path.rglob("*") if p.suffix.lower() in suffixes]
        if not inside:
            raise TrainingError(f"{path}: no file in it ends in {', '.join(sorted(suffixes))}")
        found += inside
    return sorted(found, key=str)


@dataclass(frozen=True)
class Sources:
    """Where scenes come from; small enough to be handed to another process.

    Attributes:
        robots: `load_robot` names or paths, each optionally with `=WEIGHT` behind it.
        photos, textures, hdris, objects: files or folders; none at all works too.
    """

    robots: tuple[str, ...]
    photos: tuple[Path, ...] = ()
    textures: tuple[Path, ...] = ()
    hdris: tuple[Path, ...] = ()
    objects: tuple[Path, ...] = ()

    def fingerprint(self) -> str:
        """Changes when a file is added, removed, or grows."""
        digest = hashlib.sha256()
        for paths, suffixes in (
            (self.photos, IMAGES), (self.textures, IMAGES), (self.hdris, PANORAMAS), (self.objects, MESHES),
        ):  # fmt: skip
            for path in files_under(paths, suffixes):
                digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            digest.update(b"--\n")
        return digest.hexdigest()[:16]


class Pictures(Sequence[np.ndarray]):
    """Pictures by number, RGB uint8, read when asked for; a bounded number of them stays in memory.

    Files that cannot be read are left out when they are met; the next one stands in.

    Raises:
        TrainingError: on reading, when no file is a picture.
    """

    def __init__(self, files: Sequence[Path], longest: int):
        self.files, self.longest = list(files), longest
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()  # oldest first
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: Any) -> Any:
        for turn in range(len(self.files)):
            at = (int(index) + turn) % len(self.files)
            with self._lock:
                image = self._kept.get(at)
            if image is None:
                try:
                    image = shrunk(read_picture(self.files[at]), self.longest)
                except VideoError:
                    continue
                with self._lock:
                    self._kept[at] = image
                    while len(self._kept) > KEPT:
                        self._kept.popitem(last=False)
            return image
        raise TrainingError(f"{self.files[0].parent}: none of {len(self.files)} files is a readable picture")


@dataclass
class Assets:
    """Loaded once, sampled often.

    Attributes:
        photos, textures: RGB uint8 pictures.
        panoramas: linear light (h,w,3) float32.
        objects: of longest side 1 about their centres.
        robots, weights: and how often each is drawn, summing to 1.
        specs: what each robot was loaded by.
    """

    photos: Sequence[np.ndarray]
    textures: Sequence[np.ndarray]
    panoramas: list[np.ndarray]
    objects: list[Prop]
    robots: list[Robot]
    weights: np.ndarray
    specs: list[str] = field(default_factory=list)

    @cached_property
    def skies(self) -> list[np.ndarray]:
        """Every panorama in four directions, scaled to a mean of 0.5."""
        return [
            surroundings(p / max(float(p.mean()), 1e-4) * 0.5, t) for p in self.panoramas for t in (0, 1.6, 3.1, 4.7)
        ]

    @cached_property
    def drawn_textures(self) -> list[np.ndarray]:
        """Wood, carpet, plaster and tiles that need no files."""
        rng = np.random.default_rng(0)
        textures = [wood(rng, 256, rng.uniform(0.25, 0.8) * np.array([1, 0.72, 0.48])) for _ in range(5)]
        textures += [speckle(rng, 256, rng.uniform(0.15, 0.9, 3), rng.uniform(0.05, 0.4)) for _ in range(6)]
        return textures + [tiles(rng, 256, 4, *rng.uniform(0.2, 0.95, (2, 3))) for _ in range(3)]


def load_assets(sources: Sources) -> Assets:
    """Read everything that a source names; photos and textures when they are drawn.

    Raises:
        TrainingError: a path that is not there or a weight that is none.
        RobotError: a robot that cannot be loaded.
    """
    robots, weights = load_robots(sources)
    objects = [_object(path) for path in files_under(sources.objects, MESHES)]
    return Assets(
        load_photos(sources.photos),
        Pictures(files_under(sources.textures, IMAGES), TEXTURE_LENGTH),
        load_panoramas(sources.hdris),
        [prop for prop in objects if prop is not None],
        robots,
        weights,
        [_weighted(spec)[0] for spec in sources.robots],
    )


def load_robots(sources: Sources) -> tuple[list[Robot], np.ndarray]:
    """The robots, and how often each is drawn, summing to 1.

    Raises:
        TrainingError: none is given, or a weight is no positive number.
        RobotError: one cannot be loaded.
    """
    named = [_weighted(spec) for spec in sources.robots]
    if not named:
        raise TrainingError("no robot given; name at least one, such as panda")
    weights = np.array([weight for _, weight in named])
    return [load_robot(name, mesh_faces=ROBOT_FACES) for name, _ in named], weights / weights.sum()


def load_photos(paths: Sequence[Path]) -> Pictures:
    """RGB uint8 pictures under the folders, at most 1100 pixels long."""
    return Pictures(files_under(paths, IMAGES), PHOTO_LENGTH)


def load_panoramas(paths: Sequence[Path]) -> list[np.ndarray]:
    """Panoramas under the folders, linear light (h,w,3) float32; files that cannot be read are left out."""
    found = [_panorama(path) for path in files_under(paths, PANORAMAS)]
    return [image for image in found if image is not None]


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    """One of them."""
    return items[int(rng.integers(len(items)))]


def shrunk(image: np.ndarray, longest: int) -> np.ndarray:
    """The picture with its longer side at most `longest` pixels."""
    scale = longest / max(image.shape[:2])
    return image if scale >= 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _weighted(spec: str) -> tuple[str, float]:
    name, _, tail = spec.rpartition("=")
    if not name:
        return spec, 1.0
    try:
        weight = float(tail)
    except ValueError:
        weight = -1.0
    if not 0 < weight < 1e6:
        raise TrainingError(f"robot {spec!r}: expected a positive number behind =, such as panda=2")
    return name, weight


def _panorama(path: Path) -> np.ndarray | None:
    """Linear light (h,w,3) float32, or None for a file that is no panorama."""
    if path.stat().st_size > MAX_PANORAMA_BYTES:
        return None
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] < 3:
        return None
    light = np.clip(np.nan_to_num(image[..., 2::-1].astype(np.float32)), 0, 60)
    return np.ascontiguousarray(shrunk(light, PANORAMA_LENGTH))


def _object(path: Path) -> Prop | None:
    """A mesh file as a prop about its centre, longest side 1, or None: a broken one of hundreds stops nothing."""
    try:
        if path.stat().st_size > MAX_MESH_BYTES:
            return None
        mesh: Any = trimesh.load(path, force="mesh", skip_materials=True)
        if len(mesh.faces) > OBJECT_FACES:
            mesh = mesh.simplify_quadric_decimation(face_count=OBJECT_FACES)
        size = float(np.ptp(mesh.vertices, axis=0).max())
        if len(mesh.faces) < 4 or not 0 < size < np.inf:
            return None
        vertices = (mesh.vertices - (mesh.vertices.max(0) + mesh.vertices.min(0)) / 2) / size
        return Prop(vertices.astype(np.float32), np.asarray(mesh.faces, np.int32))
    except Exception:
        return None
