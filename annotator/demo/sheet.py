"""A contact sheet: pictures side by side with boxes, ages, and the people that a human should look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from annotator.domain import Box, Gender, ReviewReason, Truth
from annotator.predictors.base import Pixels

Color = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
PAGE: Color = (246, 246, 243)
CARD: Color = (255, 255, 255)
INK: Color = (38, 42, 48)
FAINT: Color = (112, 118, 126)
ACCEPTED: Color = (0, 118, 104)
REVIEW: Color = (214, 84, 0)
FACE: Color = (255, 255, 255)
_MARGIN, _GAP, _HEADER, _CAPTION = 28, 22, 92, 34


@dataclass(frozen=True, slots=True)
class SheetPerson:
    """One person on a sheet: boxes, the ensemble's opinion, the verdict, and the truth where it is known."""

    body: Box | None
    face: Box | None
    age: float | None
    gender: Gender | None
    review: bool = False
    reasons: tuple[ReviewReason, ...] = ()
    truth: Truth = field(default_factory=Truth)


@dataclass(frozen=True, slots=True)
class SheetPicture:
    """One picture on a sheet."""

    pixels: Pixels
    name: str
    people: tuple[SheetPerson, ...]


def draw_sheet(
    pictures: Sequence[SheetPicture], *, title: str, notice: str | None = None, columns: int = 3, tile: int = 460
) -> Pixels:
    """All pictures on one page, ``columns`` abreast, each in a square-ish cell ``tile`` pixels wide.

    Green is accepted, orange goes to review with its first reason; the truth, where known, follows in brackets.
    ``notice`` is printed under the title.
    """
    if not pictures:
        raise ValueError("a sheet needs at least one picture")
    columns = min(columns, len(pictures))
    cell = round(tile * 0.8)
    rows = -(-len(pictures) // columns)
    width = max(2 * _MARGIN + columns * tile + (columns - 1) * _GAP, 640)
    height = _HEADER + rows * (cell + _CAPTION + _GAP) + _MARGIN
    page = Image.new("RGB", (width, height), PAGE)
    _header(page, title, notice, pictures)
    for number, picture in enumerate(pictures):
        x = _MARGIN + (number % columns) * (tile + _GAP)
        y = _HEADER + (number // columns) * (cell + _CAPTION + _GAP)
        _card(page, picture, (x, y), (tile, cell))
    return np.asarray(page, np.uint8)


def write_sheet(
    path: Path, pictures: Sequence[SheetPicture], *, title: str, notice: str | None = None, columns: int = 3
) -> None:
    """Draw a sheet and write it; the suffix (.png, .jpg) chooses the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_sheet(pictures, title=title, notice=notice, columns=columns)).save(path, quality=90)


@lru_cache(maxsize=8)
def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _header(page: Image.Image, title: str, notice: str | None, pictures: Sequence[SheetPicture]) -> None:
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN, 20), title, INK, _font(26))
    if notice:
        draw.text((_MARGIN, 56), notice, FAINT, _font(15))
    everybody = [person for picture in pictures for person in picture.people]
    flagged = sum(person.review for person in everybody)
    x = float(page.width - _MARGIN)
    for color, words in ((REVIEW, f"to review: {flagged}"), (ACCEPTED, f"accepted: {len(everybody) - flagged}")):
        x -= draw.textlength(words, _font(16))
        draw.text((x, 30), words, INK, _font(16))
        draw.rounded_rectangle((x - 22, 32, x - 8, 46), 4, color)
        x -= 44


def _card(page: Image.Image, picture: SheetPicture, corner: tuple[int, int], size: tuple[int, int]) -> None:
    (x, y), (width, height) = corner, size
    draw = ImageDraw.Draw(page)
    draw.rounded_rectangle((x, y, x + width, y + height + _CAPTION), 10, CARD, outline=(224, 224, 220))
    high, wide = picture.pixels.shape[:2]
    scale = min((width - 12) / wide, (height - 12) / high)
    shown = Image.fromarray(picture.pixels).resize((round(wide * scale), round(high * scale)), Image.Resampling.LANCZOS)
    _people(shown, picture.people, scale)
    page.paste(shown, (x + (width - shown.width) // 2, y + 6 + (height - 12 - shown.height) // 2))
    flagged = sum(person.review for person in picture.people)
    note = f"{len(picture.people)} people" if len(picture.people) != 1 else "1 person"
    draw.text((x + 12, y + height + 7), picture.name, INK, _font(14))
    right = f"{note}, {flagged} to review" if flagged else note
    draw.text(
        (x + width - 12 - draw.textlength(right, _font(14)), y + height + 7),
        right,
        REVIEW if flagged else FAINT,
        _font(14),
    )


def _people(shown: Image.Image, people: Sequence[SheetPerson], scale: float) -> None:
    draw = ImageDraw.Draw(shown)
    for person in people:
        color = REVIEW if person.review else ACCEPTED
        if person.face is not None:
            draw.rectangle(_corners(person.face, scale), outline=FACE, width=1)
        if person.body is not None:
            draw.rectangle(_corners(person.body, scale), outline=color, width=3 if person.review else 2)
    taken: list[Box] = []
    for person in people:
        _label(shown, draw, person, scale, taken)


def _corners(box: Box, scale: float) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = Box(*(value * scale for value in box.as_tuple())).as_ints()
    return x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)


def _label(shown: Image.Image, draw: ImageDraw.ImageDraw, person: SheetPerson, scale: float, taken: list[Box]) -> None:
    box = person.body or person.face
    if box is None:
        return
    lines = _lines(person)
    width = max(draw.textlength(text, _font(size)) for text, size in lines) + 12
    height = sum(size + 4 for _, size in lines) + 5
    spot = _spot(_corners(box, scale), width, height, shown.size, taken)
    taken.append(spot)
    draw.rounded_rectangle(spot.as_tuple(), 4, REVIEW if person.review else ACCEPTED)
    y = spot.y0 + 2
    for text, size in lines:
        draw.text((spot.x0 + 6, y), text, (255, 255, 255), _font(size))
        y += size + 4


def _lines(person: SheetPerson) -> list[tuple[str, int]]:
    """What a label says, with the size of each line."""
    said = f"{_letter(person.gender)} {_years(person.age)}"
    if not person.truth.is_empty:
        said += f"  ({_letter(person.truth.gender)} {_years(person.truth.age)})"
    lines = [(said, 14)]
    if person.review and person.reasons:
        lines.append((person.reasons[0].value.replace("_", " "), 12))
    return lines


def _letter(gender: Gender | None) -> str:
    return gender.letter if gender is not None else "?"


def _years(age: float | None) -> str:
    return f"{age:.0f}" if age is not None else "?"


def _spot(
    corners: tuple[int, int, int, int], width: float, height: float, size: tuple[int, int], taken: Sequence[Box]
) -> Box:
    """The first of several places around a box that is inside the picture and free of other labels."""
    x0, y0, x1, y1 = corners
    wanted = [(x0, y0 - height), (x1 - width, y0 - height), (x0, y1 - height), (x1 - width, y1 - height), (x0, y0)]
    spots = []
    for x, y in wanted:
        left = min(max(0.0, x), max(0.0, size[0] - width - 1))
        top = min(max(0.0, y), max(0.0, size[1] - height - 1))
        spots.append(Box(left, top, left + width, top + height))
    return min(spots, key=lambda spot: sum(spot.intersection(other) for other in taken))
