"""Pictures of drawn people, made from a seed: the same ``(seed, index)`` gives the same picture and the same truth."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from annotator.demo.anatomy import Pose, draw_person, draw_pose
from annotator.demo.backgrounds import paint_background
from annotator.demo.looks import CLEAR, Look, Signs, draw_look
from annotator.domain import Box, Gender
from annotator.predictors.base import Pixels

SIZES = ((640, 480), (640, 427), (720, 480), (600, 600), (480, 640), (512, 640))
"""Widths and heights of pictures, in pixels."""

MIN_FACE = 14
"""A face lower than this many pixels counts as not visible."""

_FINE = 2  # pictures are drawn at twice their size and shrunk, which makes thin lines smooth
_TRUTH_COLUMNS = (
    "img_name", "age", "gender", "face_x0", "face_y0", "face_x1", "face_y1",
    "person_x0", "person_y0", "person_x1", "person_y1",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DrawnPerson:
    """The truth of one drawn person: boxes tight to the drawing and inside the picture, age in years, gender."""

    body: Box
    face: Box | None
    age: int
    gender: Gender


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a person stands: ground point in canvas pixels, canvas pixels per metre."""

    x: float
    y: float
    metre: float


def draw_image(seed: int, index: int, signs: Signs = CLEAR) -> tuple[Pixels, list[DrawnPerson]]:
    """Draw picture number ``index``: RGB pixels and its people, front ones last.

    ``signs`` says how plainly they show their gender.

    Example:
        >>> pixels, people = draw_image(0, 0)
        >>> pixels.dtype.name, 1 <= len(people) <= 5
        ('uint8', True)
    """
    rng = np.random.default_rng([seed, index])
    width, height = SIZES[int(rng.choice(len(SIZES), p=[0.4, 0.15, 0.1, 0.1, 0.15, 0.1]))]
    canvas = np.empty((height * _FINE, width * _FINE, 3), np.uint8)
    horizon = paint_background(canvas, rng)
    people: list[DrawnPerson] = []
    looks: list[Pixels | None] = []
    for place in _places(rng, width * _FINE, height * _FINE, horizon):
        drawn = _draw_one(canvas, rng, place, [person.body for person in people], signs)
        if drawn is not None:
            people.append(drawn)
            looks.append(None if drawn.face is None else _region(canvas, drawn.face).copy())
    people = [_unless_covered(canvas, person, look) for person, look in zip(people, looks, strict=True)]
    pixels = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return _grain(np.asarray(pixels, np.uint8), rng), people


def _places(rng: np.random.Generator, width: int, height: int, horizon: float) -> list[_Place]:
    """Ground points from back to front, spread over the width."""
    wide = width / height
    count = int(
        rng.choice([1, 2, 3, 4, 5], p=[0.22, 0.28, 0.24, 0.16, 0.10] if wide > 1.2 else [0.36, 0.38, 0.2, 0.06, 0.0])
    )
    close = count <= 2 and rng.random() < 0.3
    slots = (np.arange(count) + 0.5 + rng.uniform(-0.26, 0.26, count)) / count
    places = []
    for slot in rng.permutation(slots):
        depth = float(rng.uniform(0.0, 1.0))
        ground = (horizon + 0.12 + (0.97 - horizon - 0.12) * depth) * height
        metre = height * (0.30 + 0.17 * depth) * (1.0 - 0.05 * max(0, count - 3))
        if close:
            metre *= float(rng.uniform(1.35, 2.1))
            ground = height * float(rng.uniform(1.15, 1.75))
        elif rng.random() < 0.03:
            metre, ground = 0.085 * height, (horizon + 0.02) * height
        places.append(_Place(float(slot) * width, ground, metre))
    return sorted(places, key=lambda place: place.metre)


def _draw_one(
    canvas: Pixels, rng: np.random.Generator, place: _Place, before: Sequence[Box], signs: Signs
) -> DrawnPerson | None:
    """Draw a person at a place, unless too little of it would be inside or too much of another one would vanish."""
    look, pose = draw_look(rng, signs), draw_pose(rng)
    scale = place.metre * look.build.meters / look.build.heads
    ground = _ground(canvas, place, look, scale)
    sketch = _sketch(look, place.x, ground, scale)
    height, width = canvas.shape[:2]
    inside = sketch.clipped(width, height).area / sketch.area
    if inside < 0.3 or any(box.intersection(_scaled(sketch, 1 / _FINE)) > 0.35 * box.area for box in before):
        return None
    _shadow(canvas, place.x, ground, 0.9 * look.build.hip * scale)
    body, face = draw_person(canvas, look, pose, (place.x, ground), scale)
    return _truth(
        look, pose, _scaled(body, 1 / _FINE), face and _scaled(face, 1 / _FINE), width // _FINE, height // _FINE
    )


def _ground(canvas: Pixels, place: _Place, look: Look, scale: float) -> float:
    """Where the feet are: lower for small people in close-ups, so that their heads stay in the picture."""
    height = float(canvas.shape[0])
    tall = look.build.heads * scale * (0.72 if look.build.seated else 1.0)
    top = place.y - tall
    highest, lowest = 0.04 * height, 0.45 * height
    if place.y > height:
        return tall + min(max(top, highest), lowest)
    return max(place.y, tall + highest)


def _sketch(look: Look, x: float, y: float, scale: float) -> Box:
    """About where the person will be, in canvas pixels."""
    half = (look.build.shoulder + 0.25) * scale
    return Box(x - half, y - look.build.heads * scale, x + half, y)


def _scaled(box: Box, factor: float) -> Box:
    return Box(*(value * factor for value in box.as_tuple()))


def _truth(look: Look, pose: Pose, body: Box, face: Box | None, width: int, height: int) -> DrawnPerson | None:
    seen = body.clipped(width, height)
    if seen.width < 8 or seen.height < 8:
        return None
    if face is not None:
        visible = face.clipped(width, height)
        small = visible.height < MIN_FACE or pose.hidden != ""
        face = None if small or visible.area < 0.5 * face.area else visible
    return DrawnPerson(seen, face, look.age, look.gender)


def _region(canvas: Pixels, box: Box) -> Pixels:
    x0, y0, x1, y1 = (value * _FINE for value in box.as_ints())
    return canvas[y0:y1, x0:x1]


def _unless_covered(canvas: Pixels, person: DrawnPerson, look: Pixels | None) -> DrawnPerson:
    """Forget a face of which people further in front, drawn later, cover the most."""
    if person.face is None or look is None:
        return person
    changed = float(np.any(_region(canvas, person.face) != look, axis=2).mean())
    return DrawnPerson(person.body, None if changed > 0.5 else person.face, person.age, person.gender)


def _shadow(canvas: Pixels, x: float, y: float, radius: float) -> None:
    x0, x1 = int(max(0, x - 1.6 * radius)), int(min(canvas.shape[1], x + 1.6 * radius))
    y0, y1 = int(max(0, y - 0.35 * radius)), int(min(canvas.shape[0], y + 0.35 * radius))
    if x1 <= x0 or y1 <= y0:
        return
    region = canvas[y0:y1, x0:x1]
    dark = region.copy()
    cv2.ellipse(
        dark,
        (int(x) - x0, int(y) - y0),
        (int(1.4 * radius), int(0.28 * radius)),
        0,
        0,
        360,
        (40, 40, 48),
        -1,
        cv2.LINE_AA,
    )
    region[:] = cv2.addWeighted(region, 0.68, dark, 0.32, 0)


@lru_cache(maxsize=1)
def _noise() -> Pixels:
    rng = np.random.default_rng(20240302)
    return np.clip(np.rint(rng.normal(8.0, 2.2, (800, 900, 1))), 0, 16).astype(np.uint8).repeat(3, axis=2)


def _grain(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Film grain and a little change of exposure."""
    height, width = pixels.shape[:2]
    y, x = (int(value) for value in rng.integers(0, 150, 2))
    exposed = cv2.convertScaleAbs(pixels, alpha=float(rng.uniform(0.92, 1.04)), beta=0)
    noisy = cv2.subtract(cv2.add(exposed, _noise()[y : y + height, x : x + width]), np.full(4, 8.0))
    return np.ascontiguousarray(noisy, np.uint8)


def encode_jpeg(pixels: Pixels, quality: int = 90) -> bytes:
    """RGB pixels as JPEG bytes."""
    done, data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError("the picture could not be written as JPEG")
    return data.tobytes()


def read_back(pixels: Pixels) -> Pixels:
    """The picture as it comes back from a JPEG file."""
    decoded = cv2.imdecode(np.frombuffer(encode_jpeg(pixels), np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(np.asarray(decoded)[:, :, ::-1], np.uint8)


def write_pictures(folder: Path, count: int, seed: int, first: int = 0, signs: Signs = CLEAR) -> Path:
    """Write ``count`` JPEG pictures and ``truth.csv`` (LAGENDA columns) into ``folder``; returns the CSV's path."""
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "truth.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_TRUTH_COLUMNS)
        for index in range(first, first + count):
            pixels, people = draw_image(seed, index, signs)
            name = f"figures-{seed}-{index:05d}.jpg"
            (folder / name).write_bytes(encode_jpeg(pixels))
            writer.writerows(_row(name, person) for person in people)
    return table


def _row(name: str, person: DrawnPerson) -> tuple[str | int, ...]:
    face = person.face.as_ints() if person.face is not None else (-1, -1, -1, -1)
    return (name, person.age, person.gender.letter, *face, *person.body.as_ints())
