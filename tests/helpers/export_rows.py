"""Rows to export, for tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image

from annotator.demo.figures import draw_image, encode_jpeg
from annotator.demo.looks import SUBTLE
from annotator.domain import Box, Gender, Label, LabelSource, Person
from annotator.export.dataset import Options, write_dataset
from annotator.export.dealing import Grouping
from annotator.export.manifest import Manifest, Recipe
from annotator.export.rows import PEOPLE
from annotator.images.decode import probe


class ExportImage(NamedTuple):
    """One image, as the columns of an export have it."""

    sha256: str
    name: str
    uri: str
    format: str
    width: int
    height: int
    group: str | None = None


class ExportRow(NamedTuple):
    """One person, with ``votes``, ``predictions``, ``interval`` and details of the label in ``provenance``."""

    image: ExportImage
    person_id: str
    body: Box | None
    face: Box | None
    label: Label | None = None
    provenance: Mapping[str, Any] = MappingProxyType({})


def tables_of(rows: Iterable[ExportRow]) -> Iterator[Any]:
    """The rows as the exporter takes them, seven at a time."""
    iterator = iter(rows)
    while some := list(islice(iterator, 7)):
        yield pa.Table.from_pylist(list(map(_columns, some)), schema=PEOPLE)


def _columns(row: ExportRow) -> dict[str, Any]:
    columns: dict[str, Any] = {**row.image._asdict(), "person_id": row.person_id}
    for kind, box in (("face", row.face), ("body", row.body)):
        if box is not None:
            columns |= {f"{kind}_{corner}": getattr(box, corner) for corner in ("x0", "y0", "x1", "y1")}
    if row.label is not None:
        details = dict(row.provenance)
        low, high = details.pop("interval", None) or (None, None)
        said = {name: json.dumps(details.pop(name, [])) for name in ("votes", "predictions")}
        label = row.label
        columns |= {"age": label.age, "age_sd": label.age_sd, "age_low": low, "age_high": high}
        columns |= {"gender": label.gender and label.gender.value, "gender_probability": label.gender_probability}
        columns |= {"source": label.source.value, "method": label.method, "vote_count": label.votes}
        columns |= {**said, "details": json.dumps(details, sort_keys=True)}
    return columns


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
    return write_dataset(out, tables_of(rows), Options(**options), recipe=recipe, grouping=grouping)


def figure_rows(folder: Path, seed: int, count: int) -> list[ExportRow]:
    """The people of ``count`` drawn pictures, which are written to ``folder``, with their true age and gender."""
    rows: list[ExportRow] = []
    for number in range(count):
        pixels, people = draw_image(seed, number, SUBTLE)
        path = folder / f"{number}.jpg"
        path.write_bytes(encode_jpeg(pixels))
        image = image_of(path)
        rows += [row_of(image, i, p.body, p.face, truth=(float(p.age), p.gender)) for i, p in enumerate(people)]
    return rows
