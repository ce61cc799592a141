"""Which images of a dataset show the same: groups that must not be torn apart by a split.

Candidates come from multi-index hashing (Norouzi et al., arXiv 1307.2982): 64 bits are cut into four bands, and only
hashes that agree in a band, up to one or two bits, are compared at all. Each candidate is then looked at, pixel by
pixel of a small grey copy, so that hashes that are alike by chance join nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from annotator.images.fingerprint import WINDOWS, Fingerprint, Hashes, looks_like

BANDS = 4
BAND_BITS = 16
MAX_DISTANCE = 11
"""Bits in which the hash of a cut-out may differ from that of the window nearest to it."""

THOROUGH_IMAGES = 200_000
"""Up to here bands may differ in two bits; among more images that would compare too many by chance."""

_QUERIES = 50_000

_SIZES = [(height, width) for (_, height), (_, width) in WINDOWS]
_SIZE_OF = [_SIZES.index(size) for size in _SIZES]
"""For each window the first one of its size: a look at one of them is a look at all places."""
Numbers = NDArray[np.int64]


class Fingerprints(Protocol):
    """Fingerprints by number, 0 to ``len - 1``."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Fingerprint:
        """One of them."""
        ...

    def __iter__(self) -> Iterator[Fingerprint]:
        """All of them in order."""
        ...


class Joined:
    """Disjoint sets of numbers; the smallest number of a set stands for it."""

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count, dtype=np.int64)

    def find(self, number: int) -> int:
        """The number that stands for the set of ``number``."""
        parent = self._parent
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = int(parent[number])
        return number

    def join(self, a: int, b: int) -> None:
        """Make one set of two."""
        a, b = self.find(a), self.find(b)
        self._parent[max(a, b)] = min(a, b)


class _Index:
    """The hashes of whole pictures, to be found by what is near them."""

    def __init__(self, hashes: Hashes, thorough: bool) -> None:
        self._hashes = hashes
        self._flips = _flips(2 if thorough else 1)
        self._orders: list[Numbers] = []
        self._starts: list[Numbers] = []
        for band in range(BANDS):
            keys = _band(hashes, band)
            order = np.argsort(keys, kind="stable")
            self._orders.append(order)
            self._starts.append(np.searchsorted(keys[order], np.arange(2**BAND_BITS + 1)))

    def near(self, queries: Hashes) -> Iterator[tuple[Numbers, Numbers]]:
        """Pairs ``(query, hash)`` within `MAX_DISTANCE`, some of them more than once."""
        for band in range(BANDS):
            keys, starts = _band(queries, band), self._starts[band]
            for flip in self._flips:
                wanted = keys ^ flip
                first, count = starts[wanted], starts[wanted + 1] - starts[wanted]
                asked = np.repeat(np.arange(len(queries)), count)
                if not len(asked):
                    continue
                place = np.arange(len(asked)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
                found = self._orders[band][place]
                close = np.bitwise_count(queries[asked] ^ self._hashes[found]) <= MAX_DISTANCE
                yield asked[close], found[close]


def _band(hashes: Hashes, band: int) -> Numbers:
    return ((hashes >> np.uint64(BAND_BITS * band)) & np.uint64(2**BAND_BITS - 1)).astype(np.int64)


def _flips(most: int) -> list[int]:
    """Masks with at most that many bits set."""
    bits = range(BAND_BITS)
    return [sum(1 << bit for bit in chosen) for count in range(most + 1) for chosen in combinations(bits, count)]


def near_groups(fingerprints: Fingerprints) -> list[int]:
    """For each image the number of the first one that shows the same: recompressed, mirrored, or cut to 70 % or more.

    Memory grows by about 100 bytes an image. Two cut-outs of a picture that is not there itself are found where one
    holds most of the other.
    """
    joined = Joined(len(fingerprints))
    owners, hashes = _whole(fingerprints)
    index = _Index(hashes, len(fingerprints) <= THOROUGH_IMAGES)
    for images, windows, queries in _queries(fingerprints):
        seen: set[tuple[int, int, int]] = set()
        for asked, found in index.near(queries):
            for query, row in zip(asked.tolist(), found.tolist(), strict=True):
                whole, part, window = int(images[query]), int(owners[row]), int(windows[query])
                key = (whole, row, _SIZE_OF[window])
                if whole == part or key in seen or joined.find(whole) == joined.find(part):
                    continue
                seen.add(key)
                if _same(fingerprints[part], fingerprints[whole], window, mirrored=bool(row % 2)):
                    joined.join(whole, part)
    return [joined.find(number) for number in range(len(fingerprints))]


def _whole(fingerprints: Iterable[Fingerprint]) -> tuple[Numbers, Hashes]:
    """Owner and hash of each picture (even rows) and of its mirror image (odd rows); flat ones have none."""
    owners: list[int] = []
    hashes: list[Hashes] = [np.empty(0, np.uint64)]
    for number, one in enumerate(fingerprints):
        owners += [number] * len(one.own)
        hashes.append(one.own)
    return np.array(owners, np.int64), np.concatenate(hashes)


def _queries(fingerprints: Iterable[Fingerprint]) -> Iterator[tuple[Numbers, Numbers, Hashes]]:
    """Windows of many images at a time: image, window and hash of each."""
    images: list[int] = []
    windows: list[NDArray[np.uint8]] = []
    hashes: list[Hashes] = []
    for number, one in enumerate(fingerprints):
        images += [number] * len(one.windows)
        windows.append(one.window_numbers)
        hashes.append(one.windows)
        if len(images) >= _QUERIES:
            yield _stacked(images, windows, hashes)
            images, windows, hashes = [], [], []
    if images:
        yield _stacked(images, windows, hashes)


def _stacked(
    images: Sequence[int], windows: Sequence[NDArray[np.uint8]], hashes: Sequence[Hashes]
) -> tuple[Numbers, Numbers, Hashes]:
    return np.array(images, np.int64), np.concatenate(windows).astype(np.int64), np.concatenate(hashes)


def _same(part: Fingerprint, whole: Fingerprint, window: int, *, mirrored: bool) -> bool:
    grey = np.ascontiguousarray(part.grey[:, ::-1]) if mirrored else part.grey
    return looks_like(grey, whole.grey, window)
