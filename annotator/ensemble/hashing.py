"""Random choices that depend on a seed and a name alone: the same in every order, on every run and machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from annotator.ensemble.evidence import Floats


def hashes(names: Sequence[str], seed: int) -> NDArray[np.uint64]:
    """``(n,)`` 64-bit hashes of ``(seed, name)``."""
    prefix = f"{seed}:".encode()
    digests = b"".join(hashlib.blake2b(prefix + name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def uniform_hash(names: Sequence[str], seed: int) -> Floats:
    """``(n,)``: a number in [0, 1) for each name.

    >>> bool(0 <= uniform_hash(["a"], 1)[0] < 1), uniform_hash(["a", "b"], 1)[1] == uniform_hash(["b"], 1)[0]
    (True, np.True_)
    """
    return (hashes(names, seed) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def short_hashes(names: Sequence[str]) -> NDArray[np.int64]:
    """``(n,)`` 32-bit hashes: two of a million names in ten thousand share one, which a comparison can bear."""
    return (hashes(names, 0) >> np.uint64(32)).astype(np.int64)
