"""How each benchmark's folder is read: by the reference's annotations where they are, else by its own labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from annotator.errors import StorageError
from annotator.protocols.adience import fold_of_images, read_folds
from annotator.protocols.annotations import read_annotations
from annotator.protocols.boxes import AGEDB, CACD
from annotator.protocols.labels import read_facebase, read_fairface, read_imdb_clean
from annotator.protocols.people import People, join

ANNOTATION_FOLDERS = ("annotations", "annotation")
TEST_FOLDER = 2
"""The split of CACD2000.json that is its test split."""


def read_lagenda(folder: Path) -> People:
    """``lagenda_annotation.csv`` beside ``lag_benchmark/``."""
    path = _first_file(folder, ("lagenda_annotation.csv", "annotations/lagenda_annotation.csv"))
    return _at_images(read_annotations(path, folder), _roots(folder, "images", "lagenda_benchmark_images"))


def read_imdb(folder: Path) -> People:
    """The reference's annotations with bodies, else IMDB-clean's own test file with faces alone."""
    roots = _roots(folder, "imdb", "images", "data/imdb", "imdb-clean-1024", "data/imdb-clean-1024")
    prepared = _annotations(folder, "test")
    if prepared:
        return _at_images(_join(prepared, folder), roots)
    names = ("imdb_test_new.csv", "csvs/imdb_test_new.csv", "imdb_test_new_1024.csv", "csvs/imdb_test_new_1024.csv")
    return _at_images(read_imdb_clean(_first_file(folder, names), folder), roots)


def read_adience(folder: Path) -> People:
    """The reference's annotations with refined faces, else the fold files with the whole crop as the face."""
    prepared = _annotations(folder, "adience")
    if not prepared:
        return read_folds(folder)
    people = _join(prepared, folder / "faces", classes="adience")
    folds = fold_of_images(folder)
    fold = np.array([folds.get(name, -1) for name in people.images], np.int64)
    return replace(people, fold=fold[people.image])


def read_fairface_folder(folder: Path) -> People:
    """The reference's validation annotations with bodies, else ``fairface_label_val.csv`` with the margin's face."""
    root = folder / "fairface-img-margin125-trainval"
    prepared = _annotations(folder, "val")
    if prepared:
        return _join(prepared, root, classes="fairface")
    return read_fairface(_first_file(folder, ("fairface_label_val.csv",)), root)


def read_cacd(folder: Path) -> People:
    """The reference's test annotations, else ``CACD2000.json`` with a padding of 0.2."""
    root = folder / "CACD2000"
    prepared = _annotations(folder, "test")
    if prepared:
        return _join(prepared, root)
    return read_facebase(_first_file(folder, ("CACD2000.json",)), root, CACD, frozenset({TEST_FOLDER}))


def read_agedb(folder: Path) -> People:
    """The reference's annotations of all ten splits, else ``AgeDB.json`` with a padding of 0.1."""
    root = folder / "AgeDB"
    prepared = _annotations(folder, "agedb")
    if prepared:
        return join([read_annotations(path, root, fold=_number(path)) for path in prepared])
    return read_facebase(_first_file(folder, ("AgeDB.json",)), root, AGEDB)


def read_own(annotations: Path, images: Path | None, classes: str | None = None) -> People:
    """Any file in LAGENDA columns; images lie in ``images``, beside the file, or in ``images/`` there."""
    people = read_annotations(annotations, annotations.parent, classes=classes)
    if images is not None:
        return replace(people, root=images)
    return _at_images(people, _roots(annotations.parent, "images"))


def _annotations(folder: Path, split: str) -> list[Path]:
    """Prepared files whose name holds the split, as the reference picks them."""
    found = [path for name in ANNOTATION_FOLDERS for path in (folder / name).glob("*.csv") if split in path.name]
    return sorted(found)


def _join(paths: Sequence[Path], root: Path, classes: str | None = None) -> People:
    return join([read_annotations(path, root, classes=classes) for path in paths])


def _first_file(folder: Path, names: Sequence[str]) -> Path:
    """The first of several places where there is a file.

    Raises:
        StorageError: there is none.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise StorageError(
        f"there is no {' or '.join(names[:2])} in {folder}; `annotator evaluate --list` says what goes there"
    )


def _roots(folder: Path, *names: str) -> tuple[Path, ...]:
    return (folder, *(folder / name for name in names))


def _at_images(people: People, roots: Sequence[Path]) -> People:
    """With the first root under which the first images lie; the first of all where none is found."""
    for root in roots:
        if any((root / name).is_file() for name in people.images[:20]):
            return replace(people, root=root)
    return replace(people, root=roots[0])


def _number(path: Path) -> int:
    found = re.search(r"\d+", path.name)
    return int(found[0]) if found else -1
