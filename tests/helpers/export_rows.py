"""Rows to export, for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from annotator.domain import Box, Gender, Label, LabelSource, Person
from annotator.export.dataset import Options, write_dataset
from annotator.export.dealing import Grouping
from annotator.export.manifest import Manifest, Recipe
from annotator.export.rows import ExportImage, ExportRow
from annotator.images.decode import probe


def picture(path: Path, seed: int, size: tuple[int, int] = (200, 160)) -> Path:
    """A picture file of noise tiles; the ending says the format."""
    tiles = np.random.default_rng(seed).integers(0, 255, (size[1] // 20, size[0] // 20, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(tiles).resize(size, Image.Resampling.NEAREST).save(path)
    return path


def image_of(path: Path, name: str | None = None, group: str | None = None) -> ExportImage:
    """The exporter's view of a file on disk."""
    data = path.read_bytes()
    info = probe(data)
    return ExportImage(
        hashlib.sha256(data).hexdigest(), name or path.name, str(path), info.format, info.width, info.height, group
    )


def label_of(person_id: str, age: float | None, gender: Gender | None = None) -> Label:
    """A settled label of three votes."""
    return Label(person_id, age, 1.5, gender, None if gender is None else 0.97, LabelSource.SETTLED, 3, "precision")


def row_of(
    image: ExportImage,
    index: int,
    body: Box | None,
    face: Box | None = None,
    *,
    truth: tuple[float | None, Gender | None] | None = None,
    **provenance: Any,
) -> ExportRow:
    """One person; ``truth`` is its label's age and gender."""
    person_id = Person.make_id(image.sha256, index)
    label = None if truth is None else label_of(person_id, *truth)
    return ExportRow(image, person_id, body, face, label, provenance)


def write_rows(
    out: Path, rows: Iterable[ExportRow], *, recipe: Recipe, grouping: Grouping | None = None, **options: Any
) -> Manifest:
    """A dataset of these rows, with the options by name."""
    return write_dataset(out, rows, Options(**options), recipe=recipe, grouping=grouping)
