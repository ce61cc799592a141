"""Crops of people, made once by the functions that the predictor uses, and kept on disk."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator.errors import InputError
from annotator.files import write_whole
from annotator.images.crops import face_crop, letterbox, person_crop
from annotator.images.decode import decode
from annotator.predictors.base import Pixels
from annotator.training.people import KnownPerson
from annotator.training.stored import Rows, in_threads, keep_rows, stored_name, told

Crops = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class CropStore:
    """``pixels`` is ``(n, 2, side, side, 3)`` uint8 RGB, face then body, black where there is none.

    ``seen`` is ``(n, 2)``: which of them there are. Without ``pixels`` a crop is cut when it is asked for.
    """

    people: Sequence[KnownPerson]
    side: int
    pixels: Rows | None
    seen: NDArray[np.bool_]

    def __getitem__(self, row: int) -> tuple[Crops, NDArray[np.bool_]]:
        """Crops ``(2, side, side, 3)`` of a person, and which of them there are."""
        if self.pixels is None:
            return cut(self.people[row], self.side)
        return self.pixels[row], self.seen[row]

    @property
    def kept_bytes(self) -> int:
        """Bytes of the file of crops."""
        return 0 if self.pixels is None else self.pixels.nbytes

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
    say: Callable[[str], None] = lambda _: None,
) -> CropStore:
    """All crops in a file of ``folder`` where they fit into ``max_bytes``, made once for each dataset.

    Without that room, or where the disk has less, each is cut when it is asked for. Which of them there are is found
    out either way, because it takes the pixels: somebody may be hidden by the others.
    """
    key = stored_name(name, dataset, name, side, len(people))
    place, known = folder / f"{key}.npy", folder / f"{key}.seen.npy"
    folder.mkdir(parents=True, exist_ok=True)
    shape = (len(people), 2, side, side, 3)
    seen = np.zeros((len(people), 2), np.bool_)

    def crops_of_all() -> Iterator[Crops]:
        for row, (crops, there) in enumerate(in_threads(lambda person: cut(person, side), people)):
            seen[row] = there
            yield crops
        buffer = io.BytesIO()
        np.save(buffer, seen)
        write_whole(known, buffer.getvalue())

    if not known.is_file():  # crops without it are of no use
        place.unlink(missing_ok=True)
    pixels = keep_rows(place, shape, crops_of_all(), max_bytes=max_bytes, say=say)
    if not known.is_file():
        deque(told(crops_of_all(), len(people), say), maxlen=0)
    return CropStore(people, side, pixels, np.load(known))


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
