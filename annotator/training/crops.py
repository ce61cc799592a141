"""Crops of people, made once by the functions that the predictor uses, and kept on disk while training runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator.errors import InputError
from annotator.images.crops import face_crop, letterbox, person_crop
from annotator.images.decode import decode
from annotator.predictors.base import Pixels
from annotator.training.people import KnownPerson

Crops = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class CropStore:
    """``pixels`` is ``(n, 2, side, side, 3)`` uint8 RGB, face then body, black where there is none.

    ``seen`` is ``(n, 2)``: which of them there are. Without ``pixels`` every crop is cut when it is asked for.
    """

    people: Sequence[KnownPerson]
    side: int
    pixels: Crops | None
    seen: NDArray[np.bool_]

    def __getitem__(self, row: int) -> tuple[Crops, NDArray[np.bool_]]:
        """Crops ``(2, side, side, 3)`` of a person, and which of them there are."""
        if self.pixels is None:
            return cut(self.people[row], self.side)
        return self.pixels[row], self.seen[row]

    def usable(self) -> NDArray[np.int64]:
        """Rows with a face or a body."""
        return np.flatnonzero(self.seen.any(axis=1))


def store_crops(
    people: Sequence[KnownPerson],
    side: int,
    folder: Path,
    name: str,
    dataset: str,
    *,
    max_bytes: float,
    step: Callable[[int], None] = lambda _: None,
) -> CropStore:
    """All crops in a file of ``folder`` where they fit into ``max_bytes``, else none; made once for each dataset."""
    key = hashlib.sha256(json.dumps([dataset, name, side, len(people)]).encode()).hexdigest()[:16]
    place, known = folder / f"{name}-{key}.npy", folder / f"{name}-{key}.seen.npy"
    size = len(people) * 2 * side * side * 3
    if size > max_bytes:
        # whether a crop is usable is then found out when it is asked for
        boxes = [[person.face is not None, person.body is not None] for person in people]
        return CropStore(people, side, None, np.array(boxes, np.bool_).reshape(-1, 2))
    if not known.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.lib.format.open_memmap(place, "w+", np.uint8, (len(people), 2, side, side, 3))
        seen = np.zeros((len(people), 2), np.bool_)
        with ThreadPoolExecutor() as pool:
            for row, (crops, there) in enumerate(pool.map(lambda person: cut(person, side), people)):
                pixels[row], seen[row] = crops, there
                step(1)
        pixels.flush()
        np.save(known, seen)
    return CropStore(people, side, np.load(place, mmap_mode="r"), np.load(known))


def cut(person: KnownPerson, side: int) -> tuple[Crops, NDArray[np.bool_]]:
    """Letterboxed crops of one person, ``(2, side, side, 3)``, by the rule of inference.

    Raises:
        ImageError: the picture cannot be read.
    """
    image = _picture(person.image)
    face = face_crop(image, person.face) if person.face else None
    faces = person.faces if person.face is None else (person.face, *person.faces)
    body = person_crop(image, person.body, faces=faces, bodies=person.bodies) if person.body else None
    crops = np.zeros((2, side, side, 3), np.uint8)
    for slot, crop in enumerate((face, body)):
        if crop is not None:
            crops[slot] = letterbox(crop, side)
    return crops, np.array([face is not None, body is not None])


@lru_cache(maxsize=8)
def _picture(path: Path) -> Pixels:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    return decode(data).pixels
