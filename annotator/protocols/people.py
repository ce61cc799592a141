"""People of a benchmark as columns: where they are, which boxes they have, what is known of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotator.domain import Box
from annotator.evaluation.metrics import Floats, Ints
from annotator.protocols.boxes import BoxRule

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class People:
    """All rows of a benchmark, those without a truth too: their boxes are blanked in the crops of others.

    ``image`` is each row's place in ``images`` (names relative to ``root``), ``index`` its number among the rows of
    that image. ``face`` and ``body`` are ``(n, 4)`` pixels ``x0 y0 x1 y1``, NaN where missing; with a ``rule`` they
    follow from the image's size instead. ``age`` in years, NaN where unknown; ``age_class`` -1 where unknown or where
    the benchmark has no classes; ``gender`` 1 female, 0 male, -1 unknown; ``fold`` -1 where there are no folds.
    """

    root: Path
    images: tuple[str, ...]
    image: Ints
    index: Ints
    face: Floats
    body: Floats
    age: Floats
    age_class: Ints
    gender: Ints
    fold: Ints
    rule: BoxRule | None = None

    def __len__(self) -> int:
        return len(self.image)

    @property
    def known(self) -> Bools:
        """``(n,)``: who counts, because an age, a class or a gender is known."""
        return ~np.isnan(self.age) | (self.age_class >= 0) | (self.gender >= 0)

    def person_id(self, row: int) -> str:
        """``<image name>#<number on that image>``: the same wherever the benchmark lies."""
        return f"{self.images[self.image[row]]}#{self.index[row]}"

    def boxes(self, row: int, width: int, height: int) -> tuple[Box | None, Box | None]:
        """Face and body of a row on its image of that size."""
        if self.rule is not None:
            return self.rule.face(width, height), self.rule.body(width, height)
        return as_box(self.face[row]), as_box(self.body[row])

    def image_rows(self) -> list[Ints]:
        """The rows of each image, in their order."""
        order = np.argsort(self.image, kind="stable")
        ends = np.cumsum(np.bincount(self.image, minlength=len(self.images)))
        return np.split(order, ends[:-1]) if len(self.images) else []

    def unlabelled(self, rows: Bools) -> People:
        """The same people with the truth of ``rows`` taken away; they still are there to be blanked."""
        return replace(
            self,
            age=np.where(rows, np.nan, self.age),
            age_class=np.where(rows, -1, self.age_class),
            gender=np.where(rows, -1, self.gender),
        )

    def on_images(self, kept: Bools) -> People:
        """The people on the images where ``kept``, ``(images,)``."""
        rows = kept[self.image]
        place = np.cumsum(kept) - 1
        columns = ("index", "face", "body", "age", "age_class", "gender", "fold")
        return replace(
            self,
            images=tuple(name for name, keep in zip(self.images, kept, strict=True) if keep),
            image=place[self.image[rows]],
            **{name: getattr(self, name)[rows] for name in columns},
        )


def make_people(
    root: Path,
    names: Sequence[str],
    *,
    age: Floats | None = None,
    age_class: Ints | None = None,
    gender: Ints | None = None,
    face: Floats | None = None,
    body: Floats | None = None,
    fold: Ints | None = None,
    rule: BoxRule | None = None,
) -> People:
    """People from one entry per row; what is not given is missing. Images come in order of appearance."""
    n = len(names)
    place = {name: number for number, name in enumerate(dict.fromkeys(names))}
    image = np.fromiter((place[name] for name in names), np.int64, n)
    missing, none = np.full((n, 4), np.nan), np.full(n, -1, np.int64)
    return People(
        root=root,
        images=tuple(place),
        image=image,
        index=_number_within(image),
        face=missing if face is None else face,
        body=missing if body is None else body,
        age=np.full(n, np.nan) if age is None else age,
        age_class=none if age_class is None else age_class,
        gender=none if gender is None else gender,
        fold=none if fold is None else fold,
        rule=rule,
    )


def join(parts: Sequence[People]) -> People:
    """The people of several files over one root; an image may be in several files."""
    first = parts[0]
    names = [part.images[number] for part in parts for number in part.image]
    columns = ("age", "age_class", "gender", "face", "body", "fold")
    return make_people(
        first.root,
        names,
        rule=first.rule,
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in columns},
    )


def as_box(corners: Floats) -> Box | None:
    """A row of ``face`` or ``body`` as a box."""
    return None if np.isnan(corners).any() else Box(*(float(corner) for corner in corners))


def row_key(people: People, row: int, seed: int) -> bytes:
    """A pseudo-random key of a row that depends on the seed and on who it is, not on the order or the machine."""
    boxes = [int(corner) if corner == corner else -1 for corner in (*people.face[row], *people.body[row])]
    text = f"{seed}|{people.images[people.image[row]]}|{boxes}"
    return hashlib.sha256(text.encode()).digest()


def _number_within(image: Ints) -> Ints:
    """How many rows of the same image came before each row."""
    order = np.argsort(image, kind="stable")
    counts = np.bincount(image)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    index = np.empty(len(image), np.int64)
    index[order] = np.arange(len(image)) - starts
    return index
