"""Prompts as LET draws them (arXiv 2511.22950): none, a mask, a box or a click on the first frame, and corrections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

AUTOMATIC, MASK = 0.4, 0.2  # shares of batches; the rest get points
BOX = 0.5  # share of batches with points that begin with a box, not a click
CORRECTIONS = 3  # clicks on the first frame after its first mask, in batches with points
FROM_TRUTH = 0.1  # share of corrections that any pixel of the object may get
NOISE, MOST_NOISE = 0.1, 20.0  # of a box's corners: share of its side, pixels at 1024
CORNERS = (2, 3)  # sam2's labels of a box; 1 is a click on the object, 0 one beside it


@dataclass(frozen=True)
class Points:
    """Clicks (B,P,2), x and y in pixels of the network's input, and labels (B,P) int32, as sam2 takes them."""

    coords: Tensor
    labels: Tensor

    def joined(self, more: Points) -> Points:
        """These, then `more`."""
        return Points(torch.cat([self.coords, more.coords], 1), torch.cat([self.labels, more.labels], 1))

    def inputs(self) -> dict[str, Tensor]:
        """As sam2's functions take them."""
        return {"point_coords": self.coords, "point_labels": self.labels}


def draw_kind(rng: np.random.Generator, frames: int, shown: bool = True) -> str:
    """ "automatic", "mask", "box" or "click" for a batch of clips with so many frames.

    Single pictures get points instead of a mask. Where an object does not show, it cannot be pointed at: automatic.
    """
    draw, box = rng.random(2)
    if draw < AUTOMATIC or not shown:
        return "automatic"
    if draw < AUTOMATIC + MASK and frames > 1:
        return "mask"
    return "box" if box < BOX else "click"


def box_points(rng: np.random.Generator, truth: Tensor) -> Points:
    """A box around each object, its corners moved by up to a tenth of its sides; truth (B,1,H,W)."""
    height, width = truth.shape[-2:]
    boxes = []
    for mask in truth[:, 0].bool().cpu().numpy():
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = np.array([columns[0], rows[0], columns[-1], rows[-1]], float)
        sides = np.tile([box[2] - box[0], box[3] - box[1]], 2)
        reach = np.minimum(sides * NOISE, MOST_NOISE * width / 1024)
        boxes.append(np.clip(box + rng.uniform(-1, 1, 4) * reach, 0, [width - 1, height - 1] * 2).reshape(2, 2))
    return _points(boxes, [CORNERS] * len(boxes), truth.device)


def click_points(rng: np.random.Generator, truth: Tensor) -> Points:
    """A click on any pixel of each object, all alike probable; truth (B,1,H,W)."""
    masks = truth[:, 0].bool().cpu().numpy()
    return _points([_any_pixel(rng, mask) for mask in masks], [(1,)] * len(masks), truth.device)


def correction_points(rng: np.random.Generator, truth: Tensor, valid: Tensor, predicted: Tensor) -> Points:
    """A click anywhere in each object's error, labelled with the truth; now and then anywhere on the object.

    Where nothing is wrong, a click beside the object. All (B,1,H,W); `valid` is 0 where the label is unknown.
    """
    coords, labels = [], []
    from_truth = rng.random() < FROM_TRUTH
    triples = (x[:, 0].bool().cpu().numpy() for x in (truth, valid, predicted))
    for mask, known, guess in zip(*triples):
        region = mask if from_truth and mask.any() else (mask != guess) & known
        if not region.any():
            region = ~mask & known
        if not region.any():
            region = known if known.any() else np.ones_like(known)
        place = _any_pixel(rng, region)
        x, y = place[0].astype(int)
        coords.append(place)
        labels.append((int(mask[y, x]),))
    return _points(coords, labels, truth.device)


def _any_pixel(rng: np.random.Generator, region: np.ndarray) -> np.ndarray:
    """x, y (1,2) of a pixel of the region (H,W) bool."""
    inside = np.flatnonzero(region)
    y, x = divmod(int(inside[rng.integers(len(inside))]), region.shape[1])
    return np.array([[x, y]], float)


def _points(coords: list, labels: list, device: torch.device) -> Points:
    return Points(
        torch.tensor(np.stack(coords), dtype=torch.float32, device=device),
        torch.tensor(labels, dtype=torch.int32, device=device),
    )
