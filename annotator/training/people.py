"""The people of an exported LAGENDA dataset, as training sees them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from annotator.domain import Box
from annotator.errors import InputError
from annotator.export.reading import checked_manifest
from annotator.images.lagenda import BODY_COLUMNS, FACE_COLUMNS


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """One labelled person: ``age`` in years and ``female``, either of them ``None`` where unknown, not both.

    ``faces`` and ``bodies`` are the boxes of everybody else on the image. ``weight`` says how often to draw the person.
    """

    image: Path
    body: Box | None
    face: Box | None
    faces: tuple[Box, ...]
    bodies: tuple[Box, ...]
    age: float | None
    female: bool | None
    weight: float


@dataclass(frozen=True, slots=True)
class Dataset:
    """The labelled people of each split, and the dataset's id."""

    id: str
    splits: dict[str, list[KnownPerson]]


def read_dataset(folder: Path) -> Dataset:
    """Read a dataset that `annotator export --format lagenda` wrote with a split.

    Raises:
        InputError: it is none, has no pictures or no split, or a picture is gone.
    """
    manifest = checked_manifest(folder)
    if manifest.get("format", "lagenda") != "lagenda":
        raise InputError(f"{folder} is a {manifest['format']} dataset; this takes one of --format lagenda")
    if manifest["images"] == "none":
        raise InputError(f"{folder} has no pictures; export it again with --images link or copy")
    if not manifest["split"]:
        raise InputError(f"{folder} has no split; export it again with --split train=.8,val=.1,test=.1")
    weights = _weights(folder)
    return Dataset(manifest["id"], {name: list(_people(folder, name, weights)) for name in manifest["split"]})


def _weights(folder: Path) -> dict[str, float]:
    """Sampling weight by image and age; in older datasets there is none."""
    table = pq.read_table(folder / "provenance.parquet")
    if "sampling_weight" not in table.column_names:
        return {}
    columns = (table[name].to_pylist() for name in ("img_name", "age", "sampling_weight"))
    return {
        f"{name}\0{max(0, round(age))}": weight for name, age, weight in zip(*columns, strict=True) if age is not None
    }


def _people(folder: Path, split: str, weights: dict[str, float]) -> Iterator[KnownPerson]:
    with (folder / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    by_image: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_image.setdefault(row["img_name"], []).append(row)
    for name, there in by_image.items():
        path = folder / "images" / name
        if not path.is_file():
            raise InputError(f"{path} is gone; export the dataset again")
        boxes = [(_box(row, BODY_COLUMNS), _box(row, FACE_COLUMNS)) for row in there]
        for number, row in enumerate(there):
            age, gender = int(row["age"]), row["gender"]
            if age < 0 and gender == "-1":
                continue
            others = [both for k, both in enumerate(boxes) if k != number]
            yield KnownPerson(
                path,
                *boxes[number],
                tuple(face for _, face in others if face),
                tuple(body for body, _ in others if body),
                float(age) if age >= 0 else None,
                None if gender == "-1" else gender == "F",
                weights.get(f"{name}\0{age}", 1.0),
            )


def _box(row: dict[str, str], columns: tuple[str, ...]) -> Box | None:
    x0, y0, x1, y1 = (int(row[column]) for column in columns)
    return None if (x0, y0, x1, y1) == (-1, -1, -1, -1) else Box(x0, y0, x1, y1)
