"""`urdfit segment`: masks of a video in a folder of the user's, with an overlay video and a card.

    DIR/{robot,arm,gripper}/00000.png   255 where it is
    DIR/overlay.mp4                     masks and prompts drawn on the frames
    DIR/segment.json                    video, weights, prompts, coverage, and a hash of every part

The card tells the next run what is this command's own. Anything else is never replaced: neither masks from elsewhere,
nor masks that were mended by hand.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flows.errors import FlowError
from flows.files import atomic_folder, atomic_path, read_json, sha256_path, write_json
from flows.job import Job, open_source, video_hash
from flows.overlay import write_mask_overlay
from flows.progress import report
from flows.run import Runner, check_writable, run_stage
from flows.segmenting import segment_key
from flows.store import Product

CARD, OVERLAY = "segment.json", "overlay.mp4"
ADVICE = "give another folder, or move it away"


@dataclass(frozen=True)
class Segmented:
    """What a run of `segment` gave.

    Attributes:
        coverage: mean share of the picture, by part. seconds: of segmenting, when that was done.
        reused: the masks were in the store already.
    """

    folder: Path
    frames: int
    coverage: dict[str, float]
    seconds: float
    reused: bool

    @property
    def summary(self) -> str:
        """One line."""
        parts = ", ".join(f"{part} {share:.1%}" for part, share in self.coverage.items())
        speed = self.frames / max(self.seconds, 1e-3)
        rate = f"{speed:.1f} frames/s" if speed >= 1 else f"{speed:.2g} frames/s"
        return f"frames: {self.frames}; mean coverage: {parts}; {rate}{' when computed' if self.reused else ''}"


def run_masks(job: Job, out: str | Path, runner: Runner = run_stage) -> Segmented:
    """Segment a video and put the parts that the job names, or all, into `out`.

    Raises:
        FlowError: the segmenter does not give one of the parts, or `out` cannot be used or holds something else.
    """
    out = Path(out).absolute()
    if out.exists() and not out.is_dir():
        raise FlowError(f"{out}: is a file; give a folder for the masks")
    if Path(job.video).is_dir() and out.resolve().is_relative_to(Path(job.video).resolve()):
        raise FlowError(f"{out}: is in the folder of the frames; give another folder for the masks")
    check_writable(out)
    key = segment_key(job)
    old = _card(out)
    _check_ours(out, old, job.parts or ("robot", "arm", "gripper"), key)  # before the work, as far as can be known
    product = runner("segment", key, job, (), {})
    found = {folder.name: folder for folder in sorted((product.folder / "masks").iterdir())}
    missing = [part for part in job.parts if part not in found]
    if missing:
        raise FlowError(f"part {missing[0]!r}: the weights {job.weights!r} give only {', '.join(found)}")
    chosen = {part: found[part] for part in job.parts or found}
    _check_ours(out, old, tuple(chosen), key)
    return _publish(job, out, key, old, product, chosen)


def _publish(job: Job, out: Path, key: str, old: dict[str, Any], product: Product, parts: dict[str, Path]) -> Segmented:
    hashes = {part: sha256_path(folder) for part, folder in parts.items()}
    with atomic_path(out / OVERLAY) as overlay:
        frames, coverage = _draw(job, overlay, parts)
        hashes[OVERLAY] = sha256_path(overlay)
        # until everything is there the card knows both: a killed run leaves nothing that the next one would not touch
        write_json(out / CARD, {**old, "pending": hashes})
        for part, folder in parts.items():
            with atomic_folder(out / part) as temporary:
                shutil.copytree(folder, temporary, dirs_exist_ok=True)
    card = {
        "video": {"path": job.video, "sha256": video_hash(job.video)},
        "weights": job.weights,
        "masks": job.masks,
        "prompts": [f"--{kind} {text}" for kind, text in job.prompts],
        "frames": frames,
        "coverage": coverage,
        "seconds": product.seconds,
        "key": key,
        "hashes": {**old.get("hashes", {}), **hashes},
    }
    write_json(out / CARD, card)
    return Segmented(out, frames, coverage, product.seconds, product.reused)


def _card(out: Path) -> dict[str, Any]:
    """The card of an earlier run; empty when there is none or it is no card."""
    try:
        card = read_json(out / CARD)
    except FlowError:
        return {}
    if not isinstance(card, dict) or not all(isinstance(card.get(k, {}), dict) for k in ("hashes", "pending")):
        return {}
    return card


def _check_ours(out: Path, card: dict[str, Any], parts: tuple[str, ...], key: str) -> None:
    """Would writing these parts harm anything?

    Raises:
        FlowError: masks or an overlay that `segment` did not write, or parts of another video or other prompts.
    """
    known = [card.get("hashes", {}), card.get("pending", {})]
    for name in (*parts, OVERLAY):
        entry = out / name
        if not entry.exists() or (entry.is_dir() and not any(entry.iterdir())):
            continue
        if sha256_path(entry) not in [hashes.get(name) for hashes in known]:
            raise FlowError(f"{entry}: was not written by `urdfit segment`, or changed since; {ADVICE}")
    left = [n for n in known[0] if n not in parts and n != OVERLAY and (out / n).is_dir()]
    if left and card.get("key") != key:
        raise FlowError(
            f"{out / left[0]}: holds masks of another video, other prompts or other weights, which would not fit; "
            f"{ADVICE}"
        )


def _draw(job: Job, overlay: Path, parts: dict[str, Path]) -> tuple[int, dict[str, float]]:
    """Write the overlay; returns the number of frames and the mean coverage of each part."""
    from segmentation import parse_prompts
    from segmentation.masks import read_part

    reader = open_source(job.video, job.fps)
    sums = dict.fromkeys(parts, 0.0)
    total = len(list(next(iter(parts.values())).glob("*.png")))

    def pictures() -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        for frame in reader:
            masks = {part: read_part(folder, frame.index) for part, folder in parts.items()}
            for part, mask in masks.items():
                sums[part] += float((mask > 0).mean())
            yield frame.image, masks
            report("overlay", frame.index + 1, total)

    count = write_mask_overlay(overlay, reader.fps, pictures(), parse_prompts(job.prompts))
    return count, {part: value / max(count, 1) for part, value in sums.items()}
