"""A dataset version: a folder of tables and pictures, with a manifest, provenance and a card."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, get_args

import pyarrow as pa

from annotator.errors import ConfigurationError, InputError
from annotator.export.card import write_card
from annotator.export.crops import PersonCrops
from annotator.export.dealing import Grouping, assign_splits
from annotator.export.lagenda import LagendaTables
from annotator.export.llava import LlavaTables
from annotator.export.manifest import Counts, Manifest, Recipe, all_files, dataset_id, write_manifest
from annotator.export.parquet import ParquetTables
from annotator.export.pictures import ImageMode, Pictures
from annotator.export.place import replaced_folder
from annotator.export.provenance import ProvenanceWriter
from annotator.export.split import check_split
from annotator.export.spool import Spool
from annotator.export.tail import TailWeights
from annotator.images.decode import MAX_BYTES, MAX_PIXELS
from annotator.images.places import read_uri

DatasetFormat = Literal["lagenda", "llava", "parquet"]
PROVENANCE_NAME = "provenance.parquet"
IMAGES = "images"
SPOOL = ".spool"
SHARD_ROWS = {"lagenda": None, "llava": None, "parquet": 100_000}
"""Rows of one file, by format, where nothing else is said; ``None`` is no limit."""

_NO_LIMIT = 2**62


@dataclass(frozen=True, slots=True)
class Options:
    """How a dataset is written.

    Args:
        kind: ``lagenda``, ``llava`` or ``parquet``.
        images: ``link``, ``copy``, ``crop`` or ``none``. ``crop`` is the part of an image with all its people for
            ``lagenda``, a picture for each labelled person for the others. ``parquet`` holds copies and crops inside.
        split: shares by name that add up to 1; images that show the same go into one, classes are shared out evenly.
        seed: of the split.
        balance_tail: give people over 70 a sampling weight, see :class:`~annotator.export.tail.TailWeights`.
        shard_rows: most rows of one file (``llava``, ``parquet``); by default :data:`SHARD_ROWS`.
        licences: licence of the images by the beginning of their name or address, for the card.
        max_bytes: larger files are refused.
        max_pixels: larger images are refused.
    """

    kind: DatasetFormat = "lagenda"
    images: ImageMode = "link"
    split: Mapping[str, float] | None = None
    seed: int = 0
    balance_tail: bool = False
    shard_rows: int | None = None
    licences: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int = MAX_BYTES
    max_pixels: int = MAX_PIXELS

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            ConfigurationError, InputError: names the option.
        """
        if self.kind not in get_args(DatasetFormat):
            raise ConfigurationError(f"unknown format '{self.kind}'; known are: {', '.join(get_args(DatasetFormat))}")
        if self.images not in get_args(ImageMode):
            raise ConfigurationError(f"unknown images '{self.images}'; known are: {', '.join(get_args(ImageMode))}")
        if self.kind == "llava" and self.images in ("link", "copy"):
            raise InputError("a llava dataset shows each person alone; use --images crop, or none")
        if self.kind == "lagenda" and self.shard_rows is not None:
            raise InputError("LAGENDA tables are single files, readers take one; --shard-rows is for llava and parquet")
        if self.split is not None:
            check_split(self.split)

    @property
    def rows(self) -> int:
        """Most rows of one file."""
        return self.shard_rows or SHARD_ROWS[self.kind] or _NO_LIMIT


class Tables(Protocol):
    """The format's own files."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def add(self, lines: Any) -> None:
        """People: :data:`~annotator.export.spool.LINES` and ``sampling_weight``, how often training should draw one."""
        ...


def write_dataset(
    out: Path,
    people: Iterable[Any],
    options: Options,
    *,
    recipe: Recipe,
    grouping: Grouping | None = None,
    read: Callable[[str], bytes] | None = None,
) -> Manifest:
    """Write a dataset version to ``out``; the same people in any order give the same bytes anywhere.

    Args:
        out: a new or empty folder, or an earlier dataset of ours, which is replaced in one step.
        people: tables of :data:`~annotator.export.rows.PEOPLE`, in any order; read once and not held in memory.
        options: what to write.
        recipe: what goes into the manifest beside the counts.
        grouping: how images that show the same are found, and an earlier dataset to follow; by default only images of
            one ``group`` are kept together.
        read: gives the bytes at an image's ``uri``; without it files and archives are read, but nothing from the web.

    Raises:
        InputError: there is nobody, a person comes twice, an image is gone or has changed, ``out`` is taken.
        StorageError: no permission or no space; nothing is left behind.
    """
    options.check()
    grouping = grouping or Grouping()
    read = read or partial(read_uri, max_bytes=options.max_bytes)
    with replaced_folder(out) as folder, _spooled(folder / SPOOL, people) as spool:
        alone = assign_splits(spool, options.split, options.seed, grouping, read, options.max_pixels)
        _gather(folder, spool, options, read)
        counts = _write_tables(folder, spool, options)
        _drop_inner_pictures(folder, options)
        write_card(folder, spool, counts, options.kind, options.split, recipe, _licences(spool, options))
        identity = dataset_id(_files(folder, spool, options))
        manifest = Manifest(
            identity, counts, recipe, options.kind, options.images, options.split, options.seed, options.balance_tail,
            unread_images=alone,
        )  # fmt: skip
        write_manifest(folder, manifest, _files(folder, spool, options))
        spool.close()
        shutil.rmtree(folder / SPOOL)
    return manifest


@contextmanager
def _spooled(path: Path, people: Iterable[Any]) -> Iterator[Spool]:
    spool = Spool(path)
    try:
        spool.fill(people)
        yield spool
    finally:
        spool.close()


def _gather(folder: Path, spool: Spool, options: Options, read: Callable[[str], bytes]) -> None:
    limits = (options.max_bytes, options.max_pixels, read)
    if options.kind == "llava" or (options.kind == "parquet" and options.images == "crop"):
        PersonCrops(folder / IMAGES, options.images == "crop", *limits).gather(spool)
        return
    pictures = Pictures(options.images, folder / IMAGES, folder / ".loose", *limits)
    pictures.gather(spool)
    pictures.arrange(spool)
    pictures.loose.rmdir()


def _has_pictures_inside(options: Options) -> bool:
    return options.kind == "parquet" and options.images in ("copy", "crop")


def _drop_inner_pictures(folder: Path, options: Options) -> None:
    if _has_pictures_inside(options):
        shutil.rmtree(folder / IMAGES, ignore_errors=True)


def _files(folder: Path, spool: Spool, options: Options) -> Iterator[tuple[str, str, int]]:
    is_written = options.images != "none" and not _has_pictures_inside(options)
    return all_files(folder, spool.files() if is_written else ())


def _licences(spool: Spool, options: Options) -> dict[str, tuple[str, int]]:
    """Licence and number of images by the beginning of their names."""
    return {start: (text, spool.named_like(start)) for start, text in sorted(options.licences.items())}


def _tables(folder: Path, options: Options) -> Tables:
    splits = tuple(options.split or ())
    if options.kind == "llava":
        return LlavaTables(folder, splits, options.rows)
    if options.kind == "parquet":
        pictures = folder / IMAGES if _has_pictures_inside(options) else None
        return ParquetTables(folder, splits, options.rows, pictures)
    return LagendaTables(folder, splits)


def _write_tables(folder: Path, spool: Spool, options: Options) -> Counts:
    first = next(iter(options.split or ()), None)
    weights = TailWeights()
    if options.balance_tail:
        weights = TailWeights.of((age, people) for split, age, _, people in spool.ages() if split == first)
    with _tables(folder, options) as tables, ProvenanceWriter(folder / PROVENANCE_NAME) as provenance:
        for batch in spool.lines():
            lines = batch.append_column("sampling_weight", pa.array(_sampling_weights(batch, weights, first)))
            tables.add(lines)
            provenance.add(lines)
    counts = spool.counts()
    if not counts.people:
        raise InputError("there is nobody to export; run `annotator prelabel` and `annotator settle` first")
    return counts


def _sampling_weights(lines: Any, weights: TailWeights, first: str | None) -> list[float]:
    """How often to draw each person: by age in the split that is trained on, 1 everywhere else."""
    if not weights.by_group:
        return [1.0] * len(lines)
    people = zip(lines["split"].to_pylist(), lines["whole_age"].to_pylist(), strict=True)
    return [weights.weight(age) if split == first else 1.0 for split, age in people]
