"""Softmax attention to memories on a grid, with a third of the usual arithmetic. Nothing is approximated.

sam2's memories have 64 numbers a token, its attention 256. With rotary position encoding a query's score with the key
at column x and row y of a frame is the sum of a part that depends on x and one that depends on y (Heo et al., "Rotary
Position Embedding for Vision Transformer", 2024: axial frequencies). Both parts are linear in the key's 64 numbers, so
the projection of keys and the rotation can be moved to the queries once and for all:

    score(i, (x, y, f)) = (u[x, i] + w[y, i]) . z[x, y, f] + b[x, i] + c[y, i]

with 64 numbers in u, w and z; memories of several frames f share x and y. And as weights sum to one, the values'
projection can follow the sum over keys. A step costs 64 + 64 multiplications a pair instead of 256 + 256.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from segmentation.robotseg.vectors import LANES, WIDTH, score_tile, value_tile

# As many keys at once as there are registers for; so many frames of one place share the reading of u and w.
MOST = 8 if LANES == 16 else 4
_score1, _score2, _score3, _score4, _score5, _score6, _score7, _score8 = (score_tile(rows) for rows in range(1, 9))
_values = value_tile(MOST)
LOWEST = np.float32(-1e30)


@njit(fastmath={"contract", "nnan", "ninf", "nsz"})  # terms stay in their order, else the two parts of ln 2 become one
def _exp(x):  # type: ignore[no-untyped-def]
    """e^x of x <= 0 to 1e-7: 2^n times a polynomial (Cody and Waite); unlike the library's, it becomes vector code."""
    x = max(x, np.float32(-87.0))
    n = np.floor(x * np.float32(1.4426950408889634) + np.float32(0.5))
    f = x - n * np.float32(0.693359375)
    f = f + n * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * f + np.float32(1.3981999507e-3)
    p = p * f + np.float32(8.3334519073e-3)
    p = p * f + np.float32(4.1665795894e-2)
    p = p * f + np.float32(1.6666665459e-1)
    p = p * f + np.float32(5.0000001201e-1)
    p = p * f * f + f + np.float32(1.0)
    return p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@njit(fastmath=True)
def _absorb(scores, top, total, sums):  # type: ignore[no-untyped-def]
    """Scores (k,WIDTH) become weights; `top`, `total` and `sums` of earlier keys are put on the same scale."""
    old = top.copy()
    for k in range(scores.shape[0]):
        for q in range(WIDTH):
            top[q] = max(top[q], scores[k, q])
    risen = False
    for q in range(WIDTH):
        risen |= top[q] > old[q]
    if risen:  # seldom, after the first rows
        for q in range(WIDTH):
            old[q] = _exp(old[q] - top[q])
            total[q] *= old[q]
        for d in range(sums.shape[0]):
            for q in range(WIDTH):
                sums[d, q] *= old[q]
    for k in range(scores.shape[0]):
        for q in range(WIDTH):
            weight = _exp(scores[k, q] - top[q])
            scores[k, q] = weight
            total[q] += weight


@njit(fastmath=True, inline="always")
def _score(u, x, w, y, b, c, z, first, scores, row, count):  # type: ignore[no-untyped-def]
    """Scores of `count` keys at column x and row y, from frame `first` on, to rows of scores from `row` on."""
    # a tile's height is fixed when it is compiled, so there is one for each
    depth, frames = z.shape[1], z.shape[2]
    u0, w0, z0 = x * depth * WIDTH, y * depth * WIDTH, (y * u.shape[0] + x) * depth * frames + first
    if count == 8:
        _score8(u, u0, w, w0, b, x * WIDTH, c, y * WIDTH, z, z0, scores, row * WIDTH, depth, frames)
    elif count == 7:
        _score7(u, u0, w, w0, b, x * WIDTH, c, y * WIDTH, z, z0, scores, row * WIDTH, depth, frames)
    elif count == 6:
        _score6(u, u0, w, w0, b, x * WIDTH, c, y * WIDTH, z, z0, scores, row * WIDTH, depth, frames)
    elif count == 5:
        _score5(u, u0, w, w0, b, x * WIDTH, c, y * WIDTH, z, z0, scores, row * WIDTH, depth, frames)
    elif count == 4:
        _score4(u, u0, w, w0, b, x * WIDTH, c, y * WIDTH, z, z0, scores, row * WIDTH, depth, frames)
    elif count == 3:
        _score3(u, u0, w, w0, b, x * WIDTH, c, y * WIDTH, z, z0, scores, row * WIDTH, depth, frames)
    elif count == 2:
        _score2(u, u0, w, w0, b, x * WIDTH, c, y * WIDTH, z, z0, scores, row * WIDTH, depth, frames)
    else:
        _score1(u, u0, w, w0, b, x * WIDTH, c, y * WIDTH, z, z0, scores, row * WIDTH, depth, frames)


@njit(fastmath=True)
def _some_queries(u, w, b, c, z, m, pointer_scores, pointer_values, sums):  # type: ignore[no-untyped-def]
    """One block of WIDTH queries; see `attend`."""
    columns, rows = u.shape[0], w.shape[0]
    frames, channels, keys = z.shape[2], m.shape[1], m.shape[2]
    scores = np.empty((keys, WIDTH), np.float32)
    top, total = np.full(WIDTH, LOWEST), np.zeros(WIDTH, np.float32)
    for y in range(rows):
        for x in range(columns):
            for f in range(0, frames, MOST):
                _score(u, x, w, y, b, c, z, f, scores, x * frames + f, min(MOST, frames - f))
        _absorb(scores, top, total, sums)
        for d in range(0, channels, MOST):
            _values(scores, 0, m, (y * channels + d) * keys, sums, d * WIDTH, keys, keys)
    _absorb(pointer_scores, top, total, sums)
    for k in range(pointer_scores.shape[0]):
        for d in range(channels):
            for q in range(WIDTH):
                sums[d, q] += pointer_scores[k, q] * pointer_values[k, d]
    for d in range(channels):
        for q in range(WIDTH):
            sums[d, q] /= total[q]


@njit(fastmath=True, parallel=True, cache=True)
def attend(u, w, b, c, z, m, pointer_scores, pointer_values, out):  # type: ignore[no-untyped-def]
    """Weighted means of memories, for n blocks of WIDTH queries; all float32, C-contiguous.

    Args:
        u, b: (n,columns,64,WIDTH) and (n,columns,WIDTH). w, c: the same by rows.
        z: keys (rows*columns,64,frames). m: values (rows,64,columns*frames), frames side by side.
        pointer_scores, pointer_values: (n,p,WIDTH), overwritten, and (p,64), of keys without a place.
        out: (n,64,WIDTH), zeros.
    """
    for i in prange(out.shape[0]):
        _some_queries(u[i], w[i], b[i], c[i], z, m, pointer_scores[i], pointer_values, out[i])
