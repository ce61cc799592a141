"""In which order samples are learnt from: a function of the seed and the place alone, so that it can be resumed."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray


class Order:
    """Place 0, 1, 2, ... to rows: each epoch is a permutation in which a row of weight 2.3 comes two or three times."""

    def __init__(self, weights: NDArray[np.float64], seed: int) -> None:
        self._weights, self._seed = weights, seed
        self._starts = [0]
        self._epoch: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def __getitem__(self, place: int) -> int:
        """The row at a place."""
        while place >= self._starts[-1]:
            self._starts.append(self._starts[-1] + len(self._rows(len(self._starts) - 1)))
        epoch = bisect_right(self._starts, place) - 1
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._rows(epoch))
        return int(self._epoch[1][place - self._starts[epoch]])

    def _rows(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([self._seed, 1, epoch])
        times = np.floor(self._weights + rng.random(len(self._weights))).astype(np.int64)
        rows: NDArray[np.int64] = rng.permutation(np.repeat(np.arange(len(times)), times))
        return rows
