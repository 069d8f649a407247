"""The loop of the still background: a few explanations a pixel, each with its depth, colour and votes."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

MODES = 3  # explanations that a pixel keeps


@njit(cache=True, parallel=True, nogil=True)
def vote(votes, depth, color, inside, known, seen, blind, image, mask, noise, shade):
    """Take one picture into every pixel's explanations.

    votes (H,W,M) float32, depth (H,W,M) mean metres or 0 without, color (H,W,M,3), inside (H,W,M) votes for the mask,
    known (H,W) pictures in which the pixel was not hidden. seen (H,W) depth or 0; blind (H,W) hidden now; image
    (H,W,3) float32; mask (H,W) bool. Two depths agree within noise * z^2 + 5 mm, two colours within `shade` levels.

    A pixel that agrees with none takes the place of the explanation with the fewest votes once that is voted out: each
    newcomer takes a vote from it (Boyer and Moore's majority vote, over MODES candidates).
    """
    height, width = seen.shape
    for v in prange(height):
        for u in range(width):
            if blind[v, u]:
                continue
            known[v, u] += 1
            z = seen[v, u]
            best, closest = -1, 1e9
            for m in range(MODES):
                if votes[v, u, m] <= 0:
                    continue
                if z > 0 and depth[v, u, m] > 0:
                    gap = abs(z - depth[v, u, m]) / (noise * z * z + 0.005)
                elif z > 0 or depth[v, u, m] > 0:
                    continue  # with and without depth are explanations of their own
                else:
                    gap = 0.0
                    for channel in range(3):
                        gap = max(gap, abs(image[v, u, channel] - color[v, u, m, channel]) / shade)
                if gap < closest:
                    best, closest = m, gap
            if closest > 1:
                best = 0
                for m in range(1, MODES):
                    if votes[v, u, m] < votes[v, u, best]:
                        best = m
                if votes[v, u, best] >= 1:
                    votes[v, u, best] -= 1
                    continue
                votes[v, u, best], inside[v, u, best] = 0, 0
                depth[v, u, best] = 0
            n = votes[v, u, best] + 1
            votes[v, u, best] = n
            # a mean that never stops following by more than a hundredth: light changes slowly
            share = max(1 / n, 0.01)
            depth[v, u, best] += (z - depth[v, u, best]) / n
            inside[v, u, best] += mask[v, u]
            for channel in range(3):
                color[v, u, best, channel] += share * (image[v, u, channel] - color[v, u, best, channel])


@njit(cache=True, parallel=True, nogil=True)
def choose(votes, depth, known, least, part):
    """The explanation that is the still background, (H,W) int8, -1 for none.

    With depth the farthest that has `least` votes and `part` of what the pixel saw: who looks through proves that
    nothing stands before it always. Without, the one with most votes.
    """
    height, width = known.shape
    chosen = np.full((height, width), -1, np.int8)
    for v in prange(height):
        for u in range(width):
            best, most = -1, 0.0
            farthest = 0.0
            for m in range(MODES):
                n = votes[v, u, m]
                if n < least or n < part * known[v, u]:
                    continue
                if depth[v, u, m] > farthest:
                    farthest, best = depth[v, u, m], m
                if farthest == 0 and n > most:
                    most, best = n, m
            chosen[v, u] = best
    return chosen
