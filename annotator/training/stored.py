"""Arrays of pictures that are made once and kept on disk while training runs."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8]

SECONDS = 10.0
"""How often the making of an array says something."""


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
    """Whether an array of bytes of that shape is within ``max_bytes`` and fits on the disk."""
    size = math.prod(shape)
    if size > max_bytes:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    return size < shutil.disk_usage(folder).free


def keep_rows(place: Path, shape: tuple[int, ...], rows: Iterable[Array]) -> Rows:
    """The array of that shape in ``place``; filled from ``rows`` where there is none.

    A file that is there is whole: it has another name until then.

    Raises:
        OSError: the disk is full.
    """
    if not place.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f"{place.name}.{os.getpid()}.part")
        try:
            pixels = np.lib.format.open_memmap(part, "w+", np.uint8, shape)
            if hasattr(os, "posix_fallocate"):  # writing to a map of a full disk would kill the process
                with part.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
            for number, row in zip(range(len(pixels)), rows, strict=True):
                pixels[number] = row
            pixels.flush()
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
    return Rows(place)
