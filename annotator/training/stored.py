"""Arrays of pictures that are made once and kept on disk while training runs."""

from __future__ import annotations

import hashlib
import json
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


def keep_rows(place: Path, shape: tuple[int, ...], rows: Iterable[Array]) -> Array:
    """The array of that shape in ``place``, as a map of the file; filled from ``rows`` where there is none.

    A file that is there is whole: it has another name until then.
    """
    if not place.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f"{place.name}.part")
        pixels = np.lib.format.open_memmap(part, "w+", np.uint8, shape)
        for number, row in enumerate(rows):
            pixels[number] = row
        pixels.flush()
        part.replace(place)
    mapped: Array = np.load(place, mmap_mode="r")
    return mapped
