"""Benchmark folders as VRS and RoboEngine lay them out, read frame by frame.

    VRS/test/image/<video>/00000.jpg        VRS/test/mask_gt/<video>/{000,001,002}/00000.png     arm, gripper, robot
    RoboEngine/test/image/<name>/x.jpg      RoboEngine/test/mask/<name>/002/x.png                robot only

Masks may be sparse and belong to the picture of their name. VRS also ships `mask_gt_info/<video>/*.npy`, which state
where a video's first mask is. They are pickles, which run code when opened, so they are never read: the frame is
looked up in the masks themselves, which is where those files come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segmentation.errors import MaskError, VideoError
from segmentation.mask_sets import MaskVideo, folders, list_masks, match, open_masks
from segmentation.pictures import read_mask, read_picture
from segmentation.video import IMAGE_SUFFIXES, natural_key

KINDS = {"mask_gt": "vrs", "mask": "roboengine"}


@dataclass(frozen=True)
class LabelledVideo(Sequence):
    """A video as a sequence of (H,W,3) uint8 RGB frames, read when asked for, with true masks of some of them.

    Attributes:
        images: files in natural order. masks: per part the mask file of every labelled frame's index, in order.
    """

    name: str
    images: tuple[Path, ...]
    masks: dict[str, dict[int, Path]]
    size: tuple[int, int] = field(init=False)  # height, width

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", read_picture(self.images[0]).shape[:2])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        """Frame `index`.

        Raises:
            VideoError: the file cannot be read or has another size than the first.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        image = read_picture(self.images[index])
        self._check(self.images[index], image, VideoError)
        return image

    def truth(self, part: str, index: int) -> np.ndarray | None:
        """The true mask (H,W) bool of a part in a frame; None where the frame is not labelled.

        Raises:
            MaskError: the file cannot be read, is no mask, or has another size than the frames.
        """
        file = self.masks.get(part, {}).get(index)
        if file is None:
            return None
        mask = read_mask(file)
        self._check(file, mask, MaskError)
        return mask

    def start(self, part: str) -> int | None:
        """The first frame whose true mask is not empty; None where there is none."""
        return next((i for i in self.masks.get(part, {}) if np.any(self.truth(part, i))), None)

    def _check(self, file: Path, image: np.ndarray, error: type[Exception]) -> None:
        if image.shape[:2] != self.size:
            (h, w), (height, width) = image.shape[:2], self.size
            raise error(f"{file}: {w}x{h} pixels, but the video's first frame has {width}x{height}")


class LabelledVideos:
    """A folder of labelled videos; each is looked through only when opened.

    Attributes:
        kind: "vrs" or "roboengine". names: of the videos that have masks, in natural order.
    """

    def __init__(self, path: str | Path, split: str = "test"):
        """Find `image/` and `mask_gt/` (VRS) or `mask/` (RoboEngine) in the folder or in its `split` folder.

        Raises:
            VideoError: they are not there, or hold no videos.
        """
        self.path = Path(path)
        self.root, self.mask_root = _roots(self.path, split)
        self.kind = KINDS[self.mask_root.name]
        entries = [p.name for p in folders(self.mask_root)] or list(list_masks(self.mask_root))
        if not entries:
            raise VideoError(f"{self.mask_root}: holds no folders of masks, one a video")
        self.names = tuple(entries)
        self._loose: dict[str, list[Path]] = {}  # pictures lying in image/ itself: one-frame videos
        for file in _pictures(self.root / "image"):
            self._loose.setdefault(file.stem, []).append(file)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[LabelledVideo]:
        return (self.open(name) for name in self.names)

    def open(self, name: str) -> LabelledVideo:
        """One video by its name.

        Raises:
            VideoError, MaskError: no such video, no pictures, unreadable ones, or masks that belong to none of them.
        """
        if name not in self.names:
            raise VideoError(f"{self.path}: no video {name!r}; it has {', '.join(self.names[:3])}, ...")
        folder = self.mask_root / name
        if folder.is_dir():
            masks = open_masks(folder)
        else:
            masks = MaskVideo(name, folder, {"robot": {name: self.mask_root / f"{name}.png"}})
        images = _pictures(self.root / "image" / name) or self._loose.get(name, [])
        if not images:
            raise VideoError(f"{self.root / 'image' / name}: no pictures of this video")
        stems = {file.stem: file for file in images}
        if len(stems) < len(images):
            raise VideoError(f"{self.root / 'image' / name}: two pictures of one name")
        index = {file: i for i, file in enumerate(images)}
        labelled: dict[str, dict[int, Path]] = {}
        for part, files in masks.files.items():
            pairs = match(files, stems)
            lost = [stem for stem, image in pairs.items() if image is None]
            if lost:
                raise MaskError(
                    f"{folder}: {len(lost)} {part} mask(s) belong to no picture, the first {files[lost[0]].name}"
                )
            found = {index[image]: files[stem] for stem, image in pairs.items() if image is not None}
            labelled[part] = dict(sorted(found.items()))
        return LabelledVideo(name, tuple(images), labelled)


def _roots(path: Path, split: str) -> tuple[Path, Path]:
    """The folder that has image/ and masks, and the masks' folder."""
    if not path.is_dir():
        raise VideoError(f"{path}: no such folder")
    inside = Path(split).name == split != ".."  # a split is a plain folder name
    for root in (path, path / split) if inside else (path,):
        for name in KINDS:
            if (root / "image").is_dir() and (root / name).is_dir():
                return root, root / name
    also = f" or in {path / split}" if inside else f"; the split {split!r} is no folder's name"
    raise VideoError(f"{path}: expected image/ and mask_gt/ (VRS) or mask/ (RoboEngine) in it{also}")


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    files = (p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    return sorted((p for p in files if p.is_file()), key=natural_key)
