"""Which frames of which clips make a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FRAMES = 7


def bidirectional(rng: np.random.Generator, length: int, frames: int = FRAMES) -> list[int]:
    """Frames forth and back, so that the only labelled frame is seen first and last: 0, s, 2s, 3s, 2s, s, 0.

    The sampler of LET (arXiv 2511.22950). The step s is drawn so that the peak is within the clip; an even number of
    frames stays on the peak for two.

    Args:
        length: frames of the clip. frames: at most so many are drawn.

    Raises:
        ValueError: a clip without frames.
    """
    if length < 1:
        raise ValueError("a clip of no frames")
    count = min(frames, length)
    half = (count + 1) // 2
    step = int(rng.integers(1, max(1, (length - 1) // max(1, half - 1)) + 1))
    forth = [i * step for i in range(half)]
    return forth + forth[: count - half][::-1]


class Order:
    """An endless sequence of batches from several sources, each sample once per round.

    Batch n depends on the seed and n alone. A source contributes as many batches as its samples fill, so sources mix
    in proportion to their batches; what does not fill a batch is left out of a round, by chance.

    Args:
        counts: samples of every source. sizes: samples per batch of every source.
    """

    def __init__(self, counts: Sequence[int], sizes: Sequence[int], seed: int):
        self.counts, self.seed = list(counts), seed
        self.sizes = [min(size, count) for size, count in zip(sizes, counts)]
        self.batches = sum(count // size for count, size in zip(self.counts, self.sizes) if count)
        if not self.batches:
            raise ValueError("no samples in any source")
        self._round: tuple[int, list[tuple[int, list[int]]]] = -1, []

    def __getitem__(self, number: int) -> tuple[int, list[int]]:
        """Source and its samples in batch `number`."""
        round_, place = divmod(number, self.batches)
        if self._round[0] != round_:
            self._round = round_, self._shuffled(round_)
        return self._round[1][place]

    def _shuffled(self, round_: int) -> list[tuple[int, list[int]]]:
        rng = np.random.default_rng((self.seed, round_))
        batches = []
        for source, (count, size) in enumerate(zip(self.counts, self.sizes)):
            order = rng.permutation(count).tolist()
            batches += [(source, order[i : i + size]) for i in range(0, count - size + 1, size or 1) if count]
        return [batches[i] for i in rng.permutation(len(batches))]
