"""Sparse voxels: blocks of 8x8x8 found by a hash of their place, in memory that is bounded from the start.

Voxel (i, j, k) is a sample at (i, j, k) * voxel metres of the base frame; block b holds the voxels 8 b .. 8 b + 7.
Source: Niessner et al., Real-time 3D Reconstruction at Scale using Voxel Hashing, 2013; here the table is probed
linearly and never shrinks.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from twin.errors import TwinError

SIDE = 8  # voxels along a block's edge
CELLS = SIDE**3
REACH = 1 << 20  # block coordinates lie within +-REACH
EMPTY = np.int64(-1)
BYTES_PER_BLOCK = CELLS * (4 + 4 + 3 * 2 + 2)  # distance, weight, colour, and the surface's index


@njit(cache=True, nogil=True, inline="always")
def pack(x, y, z):
    """One number for a block's place: 21 bits a coordinate."""
    return ((np.int64(x) + REACH) << 42) | ((np.int64(y) + REACH) << 21) | (np.int64(z) + REACH)


@njit(cache=True, nogil=True, inline="always")
def _slot(key, size):
    h = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing: near places fall far apart
    return np.int64((h >> np.uint64(20)) & np.uint64(size - 1))


@njit(cache=True, nogil=True)
def find(keys: np.ndarray, values: np.ndarray, x: int, y: int, z: int) -> int:
    """Number of the block at (x, y, z), -1 where there is none."""
    key = pack(x, y, z)
    slot = _slot(key, len(keys))
    while keys[slot] != EMPTY:
        if keys[slot] == key:
            return values[slot]
        slot = (slot + 1) & (len(keys) - 1)
    return -1


@njit(cache=True, nogil=True)
def insert(keys: np.ndarray, values: np.ndarray, places: np.ndarray, count: int, x: int, y: int, z: int) -> int:
    """Make sure of the block at (x, y, z): returns the count of blocks afterwards, -1 where there is no room."""
    key = pack(x, y, z)
    slot = _slot(key, len(keys))
    while keys[slot] != EMPTY:
        if keys[slot] == key:
            return count
        slot = (slot + 1) & (len(keys) - 1)
    if count == len(places):
        return -1
    keys[slot] = key
    values[slot] = count
    places[count, 0], places[count, 1], places[count, 2] = x, y, z
    return count + 1


@njit(cache=True, nogil=True)
def insert_all(keys: np.ndarray, values: np.ndarray, places: np.ndarray, count: int, wanted: np.ndarray) -> int:
    """`insert` for every row of `wanted` (N,3); -1 where there is no room."""
    for row in wanted:
        count = insert(keys, values, places, count, row[0], row[1], row[2])
        if count < 0:
            return -1
    return count


class Blocks:
    """Voxels in blocks.

    Attributes:
        voxel: metres between samples.
        count: blocks in use; places: (capacity,3) int32, their block coordinates.
        distance: (capacity,512) float32, weight: (capacity,512) float32, color: (capacity,512,3) uint16 in 1/256 of
            a grey level; voxel (i,j,k) of a block is element (8 i + j) 8 + k.
    """

    def __init__(self, voxel: float, memory_gb: float) -> None:
        """Room for as many blocks as `memory_gb` (1e9 bytes) holds.

        Raises:
            TwinError: voxel or memory are not positive.
        """
        if not (np.isfinite(voxel) and voxel > 0):
            raise TwinError(f"a voxel's side must be positive, in metres; got {voxel}")
        capacity = int(memory_gb * 1e9 / BYTES_PER_BLOCK) if np.isfinite(memory_gb) else 0
        if not 0 < capacity < 1 << 26:
            raise TwinError(f"memory for voxels must be more than {BYTES_PER_BLOCK / 1e9:.6f} GB; got {memory_gb}")
        self.voxel = voxel
        self.memory_gb = memory_gb
        self.count = 0
        size = 1 << int(np.ceil(np.log2(2 * capacity)))
        self.keys = np.full(size, EMPTY, np.int64)
        self.values = np.zeros(size, np.int32)
        self.places = np.zeros((capacity, 3), np.int32)
        # Zeroed memory is handed out by the system page by page when it is first written: nothing is copied on
        # growth, and what no block uses costs nothing.
        self.distance = np.zeros((capacity, CELLS), np.float32)
        self.weight = np.zeros((capacity, CELLS), np.float32)
        self.color = np.zeros((capacity, CELLS, 3), np.uint16)

    @property
    def reach(self) -> float:
        """Metres from the base, along an axis, in which there can be voxels."""
        return (REACH - 2) * SIDE * self.voxel

    def add(self, wanted: np.ndarray) -> None:
        """Make sure of blocks at the block coordinates (N,3) int, within +-REACH.

        Raises:
            TwinError: more blocks than the memory holds.
        """
        self.accept(insert_all(self.keys, self.values, self.places, self.count, wanted))

    def accept(self, count: int) -> None:
        """Take over the count that a kernel made.

        Raises:
            TwinError: the kernel found no room.
        """
        if count < 0:
            self.count = len(self.places)
            raise TwinError(
                f"the scene needs more than {self.memory_gb:g} GB of voxels of {1000 * self.voxel:g} mm: "
                "take larger voxels, narrower bounds, or allow more memory"
            )
        self.count = count
