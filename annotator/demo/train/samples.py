"""Training material from drawn pictures: whole pictures for the detector, crops of people for the two predictors.

Crops are made by the very functions that the predictors use. Boxes are shaken a little first, because at inference
they come from a detector and not from the pen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from annotator.demo import figures
from annotator.demo.figures import DrawnPerson, draw_image, read_back
from annotator.demo.looks import SUBTLE
from annotator.domain import Box, Gender
from annotator.images.crops import face_crop, letterbox, person_crop
from annotator.predictors.base import PersonView, Pixels
from annotator.predictors.llava.crops import crop_person
from annotator.predictors.llava.preprocess import preprocess

TRAINING_SEEDS = 900_000_000
"""Training pictures come from seeds above this one, so that every smaller seed gives unseen pictures."""

MAX_PEOPLE = 5
Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sides, in pixels, of the squares that the three models see."""

    detector: int = 256
    mivolo: int = 64
    mllm: int = 112


def detection_samples(seed: int, count: int, side: int) -> Arrays:
    """``pixels (n, side, side, 3)``; per picture ten relative ``boxes`` (cx cy w h) and ``classes`` (-1 is no box)."""
    pixels = np.zeros((count, side, side, 3), np.uint8)
    boxes = np.zeros((count, 2 * MAX_PEOPLE, 4), np.float32)
    classes = np.full((count, 2 * MAX_PEOPLE), -1, np.int8)
    for index in range(count):
        picture, people = draw_image(TRAINING_SEEDS + seed, index, SUBTLE)
        height, width = picture.shape[:2]
        pixels[index] = cv2.resize(read_back(picture), (side, side), interpolation=cv2.INTER_AREA)
        for slot, (kind, box) in enumerate(_kinds(people)):
            classes[index, slot] = kind
            boxes[index, slot] = _relative(box, width, height)
    return {"pixels": pixels, "boxes": boxes, "classes": classes}


def _kinds(people: Sequence[DrawnPerson]) -> list[tuple[int, Box]]:
    bodies = [(0, person.body) for person in people]
    return bodies + [(1, person.face) for person in people if person.face is not None]


def _relative(box: Box, width: int, height: int) -> tuple[float, float, float, float]:
    return (
        (box.x0 + box.x1) / 2 / width, (box.y0 + box.y1) / 2 / height, box.width / width, box.height / height,
    )  # fmt: skip


def people_samples(seed: int, count: int, sizes: Sizes) -> Arrays:
    """Everybody on ``count`` pictures: crops ``face``, ``body``, ``whole``; ``age``, ``female``; ``has_face/body``.

    ``face`` and ``body`` are MiVOLO's letterboxed squares (black where there is none), ``whole`` is the MLLM's square.
    """
    rows: list[tuple[Pixels, Pixels, Pixels, int, bool, bool, bool]] = []
    for index in range(count):
        picture, people = draw_image(TRAINING_SEEDS + seed, index, SUBTLE)
        rng = np.random.default_rng([seed, index, 1])
        picture = read_back(picture)
        shaken = [_shaken(person, rng, picture) for person in people]
        for number, person in enumerate(shaken):
            rows.append(_row(picture, person, [other for k, other in enumerate(shaken) if k != number], sizes))
    names = ("face", "body", "whole", "age", "female", "has_face", "has_body")
    return {name: np.stack([row[column] for row in rows]) for column, name in enumerate(names)}


def _row(
    picture: Pixels, person: DrawnPerson, others: Sequence[DrawnPerson], sizes: Sizes
) -> tuple[Pixels, Pixels, Pixels, int, bool, bool, bool]:
    boxes = tuple(box for other in others for box in (other.body, other.face) if box is not None)
    faces = [other.face for other in (person, *others) if other.face is not None]
    face = None if person.face is None else face_crop(picture, person.face)
    body = person_crop(picture, person.body, faces=faces, bodies=[other.body for other in others])
    seen = crop_person(PersonView("", picture, person.body, person.face, boxes), "body")
    black = np.zeros((sizes.mivolo, sizes.mivolo, 3), np.uint8)
    return (
        black if face is None else letterbox(face, sizes.mivolo),
        black if body is None else letterbox(body, sizes.mivolo),
        np.zeros((sizes.mllm, sizes.mllm, 3), np.uint8) if seen is None else preprocess(seen[0], sizes.mllm),
        person.age,
        person.gender is Gender.FEMALE,
        face is not None,
        body is not None,
    )


def _shaken(person: DrawnPerson, rng: np.random.Generator, picture: Pixels) -> DrawnPerson:
    return DrawnPerson(
        _shake(person.body, rng, picture), person.face and _shake(person.face, rng, picture), person.age, person.gender
    )


def _shake(box: Box, rng: np.random.Generator, picture: Pixels, share: float = 0.025) -> Box:
    dx0, dy0, dx1, dy1 = rng.normal(0.0, share, 4)
    moved = Box(
        box.x0 + dx0 * box.width, box.y0 + dy0 * box.height, box.x1 + dx1 * box.width, box.y1 + dy1 * box.height
    )
    return moved.clipped(picture.shape[1], picture.shape[0])


def cached(folder: Path | None, name: str, make: Callable[[], Arrays]) -> Arrays:
    """``make()``, kept as ``.npy`` files in ``folder`` and read from there the next time; ``None`` keeps nothing.

    The key holds the source of the drawing modules, so that changed figures are drawn anew.
    """
    if folder is None:
        return make()
    place = folder / f"{name}-{_drawing_version()}"
    if not (place / "complete").is_file():
        place.mkdir(parents=True, exist_ok=True)
        for key, array in make().items():
            np.save(place / f"{key}.npy", array)
        (place / "complete").touch()
    return {path.stem: np.load(path, mmap_mode="r") for path in sorted(place.glob("*.npy"))}


def _drawing_version() -> str:
    home = Path(figures.__file__).parent
    names = ("anatomy", "backgrounds", "clothes", "figures", "hair", "head", "looks", "pen", "portrait")
    sources = b"".join((home / f"{name}.py").read_bytes() for name in (*names, "train/samples"))
    return hashlib.sha256(sources).hexdigest()[:12]
