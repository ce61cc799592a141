"""Adience by its own five fold files, where the reference's annotations are not at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from annotator.evaluation.classes import class_of_range
from annotator.protocols.annotations import MISSING, codes, each_value, image_names
from annotator.protocols.boxes import ADIENCE
from annotator.protocols.people import People, join, make_people
from annotator.tables import read_table

FOLDS = 5
_GENDERS = {"m": 0, "f": 1, "u": -1, "none": -1} | dict.fromkeys(MISSING, -1)

_MERGED = {
    "0-2": ("2", "3"),
    "8-12": ("13", "8-23"),
    "15-20": ("22",),
    "25-32": ("23", "29", "27-32", "32", "34", "35"),
    "38-43": ("36", "38-42", "38-48", "42", "45"),
    "48-53": ("46", "55", "56"),
    "60-100": ("57", "58"),
}
"""Labels outside of the eight classes, and the class that the reference counts them to."""

_CLASS_OF = {label: name for name, labels in _MERGED.items() for label in labels}


def read_folds(folder: Path) -> People:
    """People of ``fold_0_data.txt`` to ``fold_4_data.txt``; each image is one face.

    Raises:
        StorageError: a fold file is missing.
        InputError: a column is missing, or an age or gender is not known; names the line.
    """
    return join([_read(folder / f"fold_{number}_data.txt", folder / "faces", number) for number in range(FOLDS)])


def _read(path: Path, root: Path, fold: int) -> People:
    table = read_table(path, ("user_id", "original_image", "face_id", "age", "gender"))
    table.columns["image"] = _image_column(table.columns)
    age_class = each_value(table, "age", lambda text: (_class_of(text),))[:, 0].astype(np.int64)
    return make_people(
        root,
        image_names(table, "image"),
        age_class=age_class,
        gender=codes(table, "gender", _GENDERS, "m, f or u"),
        fold=np.full(table.rows, fold, np.int64),
        rule=ADIENCE,
    )


def fold_of_images(folder: Path) -> dict[str, int]:
    """The fold of each image; empty where there are no fold files."""
    if not all((folder / f"fold_{number}_data.txt").is_file() for number in range(FOLDS)):
        return {}
    people = read_folds(folder)
    return {people.images[image]: int(fold) for image, fold in zip(people.image, people.fold, strict=True)}


def _image_column(columns: dict[str, object]) -> object:
    import pyarrow.compute as pc

    face = pc.binary_join_element_wise("coarse_tilt_aligned_face", columns["face_id"], columns["original_image"], ".")
    return pc.binary_join_element_wise(columns["user_id"], face, "/")


def _class_of(text: str) -> int:
    if text.lower() in (*MISSING, "none"):
        return -1
    label = text.strip("()").replace(", ", "-").replace(",", "-")
    return class_of_range(_CLASS_OF.get(label, label), "adience")
