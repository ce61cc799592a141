"""Benchmarks by the labels that they are published with, where the reference's annotations are not at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from annotator.domain import MAX_AGE
from annotator.errors import InputError, StorageError
from annotator.evaluation.classes import class_of_range
from annotator.protocols.annotations import GENDERS, codes, corners, each_value, image_names
from annotator.protocols.boxes import FAIRFACE, BoxRule
from annotator.protocols.people import People, make_people
from annotator.tables import read_table

_OLDEST = {"more than 70": "70-120"}


def read_fairface(path: Path, root: Path) -> People:
    """FairFace's ``fairface_label_val.csv``: ``file``, ``age`` (a class) and ``gender``.

    Raises:
        StorageError, InputError: as `read_annotations`.
    """
    table = read_table(path, ("file", "age", "gender"))
    age_class = each_value(table, "age", lambda text: (class_of_range(_OLDEST.get(text, text), "fairface"),))[:, 0]
    return make_people(
        root,
        image_names(table, "file"),
        age_class=age_class.astype(np.int64),
        gender=codes(table, "gender", GENDERS, "Male or Female"),
        rule=FAIRFACE,
    )


def read_imdb_clean(path: Path, root: Path) -> People:
    """IMDB-clean's own ``imdb_test_new.csv``: ``filename``, ``age``, ``gender`` and a face box, without bodies.

    Raises:
        StorageError, InputError: as `read_annotations`.
    """
    table = read_table(path, ("filename", "age", "gender", "x_min", "y_min", "x_max", "y_max"))
    return make_people(
        root,
        image_names(table, "filename"),
        age=table.numbers("age", 0, MAX_AGE),
        gender=codes(table, "gender", GENDERS, "M or F"),
        face=corners(table, ("x_min", "y_min", "x_max", "y_max")),
    )


def read_facebase(path: Path, root: Path, rule: BoxRule, folders: frozenset[int] | None = None) -> People:
    """CACD and AgeDB by the splits of the Facial Age Estimation Benchmark: a JSON list of ``img_path``, ``age``,
    ``gender`` and ``folder``; only the ``folders`` that are asked for, which become folds.

    Raises:
        StorageError: the file cannot be read.
        InputError: it is not such a list; names the entry.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(entries, list):
        raise InputError(f"{path}: expected a list of images, found a {type(entries).__name__}")
    rows = [_entry(path, number, entry) for number, entry in enumerate(entries)]
    if folders is not None:
        rows = [row for row in rows if row[3] in folders]
    if not rows:
        raise InputError(f"{path} has no images of the wanted folders; is it the right file?")
    names, age, gender, fold = zip(*rows, strict=True)
    return make_people(
        root, names, age=np.array(age), gender=np.array(gender, np.int64), fold=np.array(fold, np.int64), rule=rule
    )


def _entry(path: Path, number: int, entry: Any) -> tuple[str, float, int, int]:
    try:
        age = float(entry["age"])
        gender = GENDERS[str(entry.get("gender", "")).lower().replace("u", "")]
        name, fold = Path(str(entry["img_path"])).name, int(entry["folder"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}, entry {number}: {type(error).__name__} {error}; expected img_path, age, gender and folder"
        ) from error
    if age != -1 and not 0 <= age <= MAX_AGE:
        raise InputError(f"{path}, entry {number}: age {age:g} is not between 0 and {MAX_AGE}")
    return name, np.nan if age == -1 else age, gender, fold
