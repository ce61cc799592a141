"""A dataset version in the LAGENDA format: a folder that the MiVOLO reference code loads unchanged."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from annotator.errors import InputError
from annotator.export.manifest import Counts, Manifest, Recipe, all_files, dataset_id, write_manifest
from annotator.export.pictures import ImageMode, Pictures
from annotator.export.place import replaced_folder
from annotator.export.provenance import ProvenanceWriter
from annotator.export.rows import ExportRow
from annotator.export.split import check_split
from annotator.export.spool import Line, Spool
from annotator.images.decode import MAX_BYTES, MAX_PIXELS
from annotator.images.lagenda import BODY_COLUMNS, FACE_COLUMNS
from annotator.images.places import read_uri

COLUMNS = ("img_name", "age", "gender", *FACE_COLUMNS, *BODY_COLUMNS)
ANNOTATIONS_NAME = "annotations.csv"
PROVENANCE_NAME = "provenance.parquet"


def write_dataset(
    out: Path,
    rows: Iterable[ExportRow],
    *,
    recipe: Recipe,
    images: ImageMode = "link",
    split: Mapping[str, float] | None = None,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
    max_pixels: int = MAX_PIXELS,
    read: Callable[[str], bytes] | None = None,
) -> Manifest:
    """Write a dataset version to ``out``; the same rows in any order give the same bytes anywhere.

    ``annotations.csv`` has everybody: people without a label as -1 / -1, so that the reference blanks them in others'
    crops. Everything in it is an integer, nothing is blank. Beside it lie one CSV for each split, ``images/``,
    ``provenance.parquet`` and ``manifest.json``.

    Args:
        out: a new or empty folder, or an earlier dataset of ours, which is replaced in one step.
        rows: the people, in any order; they are read once and not held in memory.
        recipe: what goes into the manifest beside the counts.
        images: ``link``, ``copy``, ``crop`` or ``none``, see :class:`~annotator.export.pictures.Pictures`.
        split: shares by name that add up to 1; each image goes into one.
        seed: of the split.
        max_bytes: larger files are refused.
        max_pixels: larger images are refused.
        read: gives the bytes at an image's ``uri``; without it files and archives are read, but nothing from the web.

    Raises:
        InputError: there are no rows, a person comes twice, an image is gone or has changed, ``out`` is taken.
        StorageError: no permission or no space; nothing is left behind.
    """
    shares = dict(split) if split else None
    if shares is not None:
        check_split(shares)
    with replaced_folder(out) as folder, _spooled(folder / ".spool.db", rows) as spool:
        reading = read or partial(read_uri, max_bytes=max_bytes)
        pictures = Pictures(images, folder / "images", folder / ".loose", max_bytes, max_pixels, reading)
        pictures.gather(spool, shares, seed)
        pictures.arrange(spool)
        counts = _write_tables(folder, spool, shares)
        pictures.loose.rmdir()
        identity = dataset_id(_files(folder, spool))
        manifest = Manifest(identity, counts, recipe, images, shares, seed)
        write_manifest(folder, manifest, _files(folder, spool))
        spool.close()
        (folder / ".spool.db").unlink()
    return manifest


def format_line(line: Line) -> tuple[str | int, ...]:
    """One CSV row; every number is an integer, -1 stands for missing."""
    return (line.img_name, line.age, line.gender, *line.face, *line.body)


@contextmanager
def _spooled(path: Path, rows: Iterable[ExportRow]) -> Iterator[Spool]:
    spool = Spool(path)
    try:
        spool.fill(rows)
        yield spool
    finally:
        spool.close()


def _files(folder: Path, spool: Spool) -> Iterator[tuple[str, str, int]]:
    found = all_files(folder, spool.files())
    return (entry for entry in found if not entry[0].startswith("."))


class _Tally:
    """Counts while rows go by; images come in one run each."""

    def __init__(self) -> None:
        self.numbers: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.splits: Counter[str] = Counter()
        self._last: str | None = None

    def add(self, line: Line) -> None:
        self.numbers["people"] += 1
        if line.sha256 != self._last:
            self._last = line.sha256
            self.numbers["images"] += 1
            if line.split is not None:
                self.splits[line.split] += 1
        if line.label is not None:
            self.numbers["labels"] += 1
            self.numbers["ages"] += line.age >= 0
            self.numbers["genders"] += line.gender != "-1"
            self.sources[line.label["source"]] += 1

    def counts(self, without_box: int) -> Counts:
        n = self.numbers
        return Counts(
            *(n["images"], n["people"], n["labels"], n["ages"], n["genders"], without_box),
            by_source=dict(sorted(self.sources.items())),
            by_split=dict(sorted(self.splits.items())),
        )


def _write_tables(folder: Path, spool: Spool, shares: Mapping[str, float] | None) -> Counts:
    tally = _Tally()
    with ExitStack() as stack:
        everything = _writer(stack, folder / ANNOTATIONS_NAME)
        parts = {name: _writer(stack, folder / f"{name}.csv") for name in shares or {}}
        provenance = stack.enter_context(ProvenanceWriter(folder / PROVENANCE_NAME))
        for line in spool.lines():
            tally.add(line)
            row = format_line(line)
            everything.writerow(row)
            if line.split is not None:
                parts[line.split].writerow(row)
            if line.label is not None:
                provenance.add(line, line.label)
    if not tally.numbers["people"]:
        raise InputError("there is nobody to export; run `annotator prelabel` and `annotator settle` first")
    return tally.counts(spool.without_box())


def _writer(stack: ExitStack, path: Path) -> Any:
    file = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    return writer
