"""Arrays of pictures that are made once and kept on disk for the training, and for the next one in the same folder."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8]
T = TypeVar("T")
R = TypeVar("R")

CROPS_NAME, PICTURES_NAME = "crops", "pictures"
"""Folders of a run that hold such arrays."""

SECONDS = 10.0
"""How often the making of an array says something."""
PAGE = 512
"""Rows that are made at a time: what waits for the disk takes no more memory than these."""


def stored_name(name: str, *facts: Any) -> str:
    """``name`` with a key of everything that decides an array, so that other facts have another file."""
    return f"{name}-{hashlib.sha256(json.dumps([*facts]).encode()).hexdigest()[:16]}"


def told(rows: Iterable[Array], total: int, say: Callable[[str], None]) -> Iterator[Array]:
    """The same rows; ``say`` hears every ten seconds how many of ``total`` there were."""
    said = time.monotonic()
    for number, row in enumerate(rows, 1):
        yield row
        if time.monotonic() - said >= SECONDS:
            said = time.monotonic()
            say(f"pictures made ready: {number:,} of {total:,}")


class Rows:
    """A kept array ``(n, ...)``, mapped; to another process goes its place, not its bytes."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._mapped: Array = np.load(place, mmap_mode="r")
        self.nbytes = int(self._mapped.nbytes)

    def __len__(self) -> int:
        return len(self._mapped)

    def __getitem__(self, row: int) -> Array:
        found: Array = self._mapped[row]
        return found

    def __reduce__(self) -> tuple[type[Rows], tuple[Path]]:
        return Rows, (self.place,)


def has_room(folder: Path, shape: tuple[int, ...], max_bytes: float) -> bool:
    """Whether an array of bytes of that shape is within ``max_bytes`` and leaves a tenth of the disk's room."""
    size = math.prod(shape)
    if size > max_bytes:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    return size <= 0.9 * shutil.disk_usage(folder).free


def in_threads(make: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """``make`` of each item in order, a page at a time: nothing is made before it is asked for, little waits."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(items), PAGE):
            yield from pool.map(make, items[start : start + PAGE])


def keep_rows(
    place: Path,
    shape: tuple[int, ...],
    rows: Iterable[Array],
    *,
    max_bytes: float = math.inf,
    say: Callable[[str], None] = lambda _: None,
) -> Rows | None:
    """The array of that shape in ``place``, filled from ``rows`` where there is none.

    A file that is there is whole: it has another name until then. Where it would be larger than ``max_bytes``, or the
    disk has no room, ``rows`` are not begun, ``say`` hears of it and there is none.
    """
    if not place.is_file() and not (has_room(place.parent, shape, max_bytes) and _made(place, shape, rows, say)):
        name, size = place.stem.rpartition("-")[0], math.prod(shape) / 1e9
        say(f"{name}: {size:.2g} GB of pictures are not kept (--cache-gb, the disk): each is read anew")
        return None
    return Rows(place)


def _made(place: Path, shape: tuple[int, ...], rows: Iterable[Array], say: Callable[[str], None]) -> bool:
    """Whether there was room; the file is whole then."""
    for stale in place.parent.glob(f"{place.name}.*part"):  # of a process that was killed
        stale.unlink()
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    try:
        if not _allocated(part, shape):
            return False
        pixels = np.load(part, mmap_mode="r+")
        for number, row in zip(range(len(pixels)), told(rows, len(pixels), say), strict=True):
            pixels[number] = row
        pixels.flush()
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)
    return True


def _allocated(part: Path, shape: tuple[int, ...]) -> bool:
    """Whether there is an array of zeros now; writing to the map of one without blocks on a full disk would kill us."""
    try:
        np.lib.format.open_memmap(part, "w+", np.uint8, shape)
        if hasattr(os, "posix_fallocate"):
            with part.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return False
        raise
    return True
