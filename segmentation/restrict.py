"""Prompts for a network that takes none: they choose and mend regions of its probability map, and are followed in time.

A region is a connected piece of the mask (probability over 0.5). On the frame of a prompt

    +click   keeps its region, and of the first one on all that was not clicked goes; where the network saw too little,
             the threshold falls until the region around the click holds it
    -click   drops its region; where other parts of its piece are surer to be robot, or were clicked +, it is cut
             half way between them and the click
    box      keeps what is inside; a piece that crosses it is kept or dropped whole if four fifths are on one side
    mask     is the answer, and what to follow

From frame to frame every piece takes the label, kept or dropped, of the labelled pixels it overlaps; a piece that
overlaps both is cut where they are equally near; one that overlaps neither goes with the nearest seen last. So of two
robots the clicked one stays while they move, and two that touch come apart again. Forwards and backwards alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from segmentation.prompts import Prompt

KEPT, DROPPED = 1, 2
CUT = 3  # dropped, but joined to what is kept; told apart from DROPPED inside this file only
FLOOR = 0.05  # below this probability no click brings a region back: the network sees no robot at all
LEVELS = (0.6, 0.7, 0.8, 0.9, 0.95, 0.98)  # at which a piece falls apart into what is surer and what is not
CORE_SHARE = 0.05  # of a piece: smaller sure parts do not count
MINORITY = 0.15  # of the labelled pixels that a piece overlaps: fewer are errors of the outline
RIM = 0.015  # of the diagonal: a part cut off that holds no disk of this radius is one, too
BOX_SHARE = 0.8
REACH = 0.1  # of the picture's diagonal: a new piece farther from everything belongs to nothing followed
NEAR = 0.02  # of the diagonal: how far a grown region may move from frame to frame


class Selection:
    """Labels of one probability map through time; `step` once a frame, in either direction."""

    def __init__(self) -> None:
        self.exclusive = False  # something was chosen: what is new is not part of it unless it is near
        self.threshold = 0.5  # for grown regions, near where they were
        self._labels: np.ndarray | None = None  # of the frame before
        self._seen: np.ndarray | None = None  # the same, with what has vanished since where it was last
        self._grown: np.ndarray | None = None  # kept pixels of the frame before that the network would not have

    def copy(self) -> Selection:
        """For going another way in time from here; the arrays are never written to."""
        other = Selection()
        other.__dict__.update(self.__dict__)
        return other

    def step(self, probability: np.ndarray, prompts: Sequence[Prompt] = ()) -> np.ndarray:
        """Labels (H,W) uint8 of one frame: 0 background, 1 kept, 2 dropped.

        Args:
            probability: (H,W) float32 of the network. prompts: of this frame, for this map.
        """
        mask = probability > 0.5
        if self._grown is not None and self._grown.any():
            size = 2 * max(1, round(NEAR * float(np.hypot(*mask.shape)))) + 1
            mask |= (probability > self.threshold) & (cv2.dilate(self._grown, np.ones((size, size), np.uint8)) > 0)
        labels = self._follow(mask)
        for prompt in prompts:
            labels = self._apply(prompt, probability, labels)
        self._remember(labels, probability)
        return np.minimum(labels, DROPPED)

    def _remember(self, labels: np.ndarray, probability: np.ndarray) -> None:
        seen = labels.copy()
        if self._seen is not None:
            for label in (KEPT, DROPPED, CUT):
                if not (labels == label).any():
                    seen[(self._seen == label) & (labels == 0)] = label
        self._labels, self._seen = labels, seen
        self._grown = ((labels == KEPT) & (probability <= 0.5)).astype(np.uint8)

    def _follow(self, mask: np.ndarray) -> np.ndarray:
        """Labels for the pieces of a mask from those of the frame before."""
        labels = mask.astype(np.uint8)
        if self._labels is None or self._seen is None:
            return labels
        count, pieces = cv2.connectedComponents(labels, connectivity=8)
        kept = np.bincount(pieces[self._labels == KEPT], minlength=count).astype(float)
        dropped = np.bincount(pieces[self._labels >= DROPPED], minlength=count).astype(float)
        share = dropped / np.maximum(kept + dropped, 1)
        table = np.where(share > 1 - MINORITY, DROPPED, KEPT).astype(np.uint8)
        table[0] = 0
        lonely = np.flatnonzero(kept + dropped == 0)
        lonely = lonely[lonely > 0]
        if len(lonely):
            table[lonely] = self._claim(pieces, lonely)
        labels = table[pieces]
        cut = _depth(self._labels == CUT, pieces, count) > RIM * float(np.hypot(*mask.shape))
        split = (share <= 1 - MINORITY) & ((share >= MINORITY) | cut)
        split[0] = False
        if split.any():
            distances = [_distance(self._labels == label) for label in (KEPT, DROPPED, CUT)]
            nearest = np.argmin(distances, axis=0).astype(np.uint8) + KEPT
            labels = np.where(split[pieces], nearest, labels)
        return labels

    def _claim(self, pieces: np.ndarray, lonely: np.ndarray) -> np.ndarray:
        """Labels of pieces that overlap nothing: those of the nearest seen last."""
        assert self._seen is not None
        to_kept, to_dropped = (_nearest(seen, pieces)[lonely] for seen in (self._seen == KEPT, self._seen >= DROPPED))
        reach = REACH * float(np.hypot(*pieces.shape))
        if self.exclusive:
            return np.where((to_kept <= to_dropped) & (to_kept <= reach), KEPT, DROPPED)
        return np.where((to_dropped < to_kept) & (to_dropped <= reach), DROPPED, KEPT)

    def _apply(self, prompt: Prompt, probability: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Labels after a prompt."""
        if prompt.mask is not None:
            missed = probability[prompt.mask & (probability <= 0.5)]
            if len(missed):
                self.threshold = float(np.clip(np.median(missed), FLOOR, 0.5))
            labels = np.where(labels > 0, DROPPED, 0).astype(np.uint8)
            labels[prompt.mask] = KEPT
            self.exclusive = True
        if prompt.box is not None:
            labels = self._box(prompt.box, probability, labels)
        points = np.clip(np.rint(prompt.points), 0, (labels.shape[1] - 1, labels.shape[0] - 1)).astype(int)
        inside, outside = points[prompt.labels == 1], points[prompt.labels == 0]
        if len(inside):
            labels = self._keep(inside, probability, labels)
        for point in outside:
            labels = _drop(point, inside, probability, labels)
        return labels

    def _box(self, box: tuple[float, float, float, float], probability: np.ndarray, labels: np.ndarray) -> np.ndarray:
        inside = window(box, labels.shape)
        shown = labels > 0
        if not (shown & inside).any():  # the network saw too little in there
            self.threshold = min(self.threshold, max(FLOOR, 0.5 * float(probability[inside].max(initial=0))))
            shown |= inside & (probability > self.threshold)
        count, pieces = cv2.connectedComponents(shown.astype(np.uint8), connectivity=8)
        share = np.bincount(pieces[inside], minlength=count) / np.maximum(
            np.bincount(pieces.ravel(), minlength=count), 1
        )
        whole = share[pieces]
        keep = shown & np.where(whole >= BOX_SHARE, True, np.where(whole <= 1 - BOX_SHARE, False, inside))
        self.exclusive = True
        away = np.where(whole > 1 - BOX_SHARE, CUT, DROPPED)
        return np.where(keep, KEPT, np.where(shown, away, 0)).astype(np.uint8)

    def _keep(self, points: np.ndarray, probability: np.ndarray, labels: np.ndarray) -> np.ndarray:
        chosen = np.zeros(labels.shape, bool)
        for x, y in points:
            if labels[y, x]:
                chosen |= _piece(labels == labels[y, x], x, y)
            elif probability[y, x] > FLOOR:
                level = 0.8 * float(probability[y, x])
                self.threshold = min(self.threshold, level)
                chosen |= _piece((probability > level) & (labels < DROPPED), x, y)
        if not self.exclusive:
            labels = np.where(labels > 0, DROPPED, 0).astype(np.uint8)
            self.exclusive = True
        return np.where(chosen, KEPT, labels).astype(np.uint8)


def window(box: tuple[float, float, float, float], shape: tuple[int, ...]) -> np.ndarray:
    """(H,W) bool: the pixels whose centre is in the box, its edges included."""
    inside = np.zeros(shape, bool)
    x0, y0 = (max(0, int(np.ceil(v))) for v in box[:2])
    inside[y0 : int(np.floor(box[3])) + 1, x0 : int(np.floor(box[2])) + 1] = True
    return inside


def _drop(point: np.ndarray, inside: np.ndarray, probability: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Labels without the region of a click outside."""
    x, y = point
    if labels[y, x] != KEPT:
        return labels
    piece = _piece(labels == KEPT, x, y)
    held = [(u, v) for u, v in inside if piece[v, u]]
    size = piece.sum()
    out = labels.copy()
    for level in (0.0, *LEVELS):
        count, parts, stats, _ = cv2.connectedComponentsWithStats(
            (piece & (probability > level)).astype(np.uint8), connectivity=8
        )
        mine = parts[y, x]
        clicked = {parts[v, u] for u, v in held} - {0}
        rest = clicked or {i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= CORE_SHARE * size and i != mine}
        if (held and not clicked) or mine in clicked or not rest or (mine and not held) or (level > 0.9 and not held):
            continue  # they hang together, nothing surer is left, or the network is as sure of the click itself
        sure, doubtful = np.isin(parts, list(rest)), parts == mine if mine else np.zeros_like(piece)
        doubtful[y, x] = True
        out[piece & (_distance(doubtful) < _distance(sure))] = CUT
        return out
    if held:  # nowhere apart: half way between the clicks
        seeds = np.zeros_like(piece)
        seeds[[v for _, v in held], [u for u, _ in held]] = True
        mine_only = np.zeros_like(piece)
        mine_only[y, x] = True
        out[piece & (_distance(mine_only) < _distance(seeds))] = CUT
        return out
    out[piece] = DROPPED
    return out


def _piece(mask: np.ndarray, x: int, y: int) -> np.ndarray:
    """The connected piece of a (H,W) bool mask that holds a pixel."""
    _, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return (pieces == pieces[y, x]) & mask


def _distance(mask: np.ndarray) -> np.ndarray:
    """(H,W) pixels to the mask; infinite where it is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)


def _depth(mask: np.ndarray, pieces: np.ndarray, count: int) -> np.ndarray:
    """Radius of the largest disk of the mask around a pixel of each piece."""
    out = np.zeros(count, np.float32)
    if mask.any():
        radius = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
        np.maximum.at(out, pieces[mask], radius[mask])
    return out


def _nearest(mask: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """Smallest distance of each piece to the mask."""
    distance = _distance(mask)
    out = np.full(int(pieces.max()) + 1, np.inf, np.float32)
    np.minimum.at(out, pieces.ravel(), distance.ravel())
    return out
