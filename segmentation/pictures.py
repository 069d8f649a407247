"""Single pictures and masks from foreign folders, read with limits, and masks written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from segmentation.errors import MaskError, VideoError

MAX_BYTES = 256 * 2**20  # of one file
MAX_PIXELS = 64 * 2**20  # of one picture: eight times 4K
SOFT = 0.1  # more than this share of in-between values makes a PNG a picture rather than a mask
_PNG = b"\x89PNG\r\n\x1a\n"


def read_picture(file: Path) -> np.ndarray:
    """A picture as (H,W,3) uint8 RGB.

    Raises:
        VideoError: no such file, unreadable, or larger than any frame of a video.
    """
    return np.ascontiguousarray(_decode(file, cv2.IMREAD_COLOR, VideoError)[..., ::-1])


def read_mask(file: Path) -> np.ndarray:
    """A mask PNG as (H,W) bool; any value but 0 is inside, transparency does not matter.

    A photograph or drawing is refused: a tenth of its pixels or more lie between its darkest and brightest value.
    Smooth outlines and label numbers pass.

    Raises:
        MaskError: no such file, unreadable, too large, a picture, or a shape that is drawn in the transparency alone.
    """
    image = _decode(file, cv2.IMREAD_UNCHANGED, MaskError)
    if image.ndim == 3:
        if image.shape[2] == 4 and np.ptp(image[..., 3]) and not np.ptp(image[..., :3].reshape(-1, 3), axis=0).any():
            raise MaskError(f"{file}: one colour, its shape is in the transparency; expected 0 and one other value")
        image = image[..., :3].max(2)
    inside = image > 0
    if image.dtype == np.uint8:
        counts = np.bincount(image.ravel(), minlength=256)
        used = np.flatnonzero(counts)
        if len(used) > 32 and counts[used[1:-1]].sum() > SOFT * image.size:
            raise MaskError(f"{file}: {len(used)} different values: a picture, not a mask; expected 0 and one other")
    return inside


def save_mask(path: Path, mask: np.ndarray) -> None:
    """Write a (H,W) bool mask as PNG with 0 and 255; the folder must exist."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes())
    os.replace(temporary, path)


def decode_picture(data: bytes | np.ndarray, mode: int, what: str, error: type[Exception]) -> np.ndarray:
    """Pixels of an encoded picture as OpenCV orders them (BGR), refused before unpacking when it claims too many.

    Args:
        data: the file's bytes, or the same as uint8.
        mode: an `IMREAD_` flag of OpenCV.
        what, error: name of the file for the message, and the exception to raise.
    """
    width, height = _stated_size(bytes(data[: 1 << 20]))
    if width * height > MAX_PIXELS:
        raise error(f"{what}: {width}x{height} pixels; expected at most {MAX_PIXELS // 2**20} million")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), mode) if len(data) else None
    except cv2.error:
        image = None
    if image is None:
        raise error(f"{what}: not a readable picture (empty, damaged or another format)")
    return image


def _decode(file: Path, mode: int, error: type[Exception]) -> np.ndarray:
    if not file.is_file():  # pipes and devices would block
        raise error(f"{file}: no such file")
    size = file.stat().st_size
    if size > MAX_BYTES:
        raise error(f"{file}: {size / 2**20:.0f} MiB; expected at most {MAX_BYTES // 2**20}")
    return decode_picture(np.fromfile(file, np.uint8), mode, str(file), error)


def _stated_size(head: bytes) -> tuple[int, int]:
    """(width, height) that a PNG or JPEG claims before anything is unpacked; (0, 0) for other formats."""
    if head.startswith(_PNG):
        return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    at = 2
    while head.startswith(b"\xff\xd8") and at + 9 <= len(head) and head[at] == 0xFF:
        kind = head[at + 1]
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):  # a start of frame: precision, height, width
            return int.from_bytes(head[at + 7 : at + 9], "big"), int.from_bytes(head[at + 5 : at + 7], "big")
        at += 1 if kind == 0xFF else 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return 0, 0
