"""``manifest.json``: what a dataset version is, and the sha256 of every file in it."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from annotator.predictors.digests import file_digest

MANIFEST_NAME = "manifest.json"
KIND = "annotator-dataset"
SCHEMA_VERSION = 2

FileEntry = tuple[str, str, int]
"""Path relative to the dataset, sha256, bytes."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a dataset was made with, as far as the rows do not say it.

    ``predictors`` maps each predictor's version to its weights' sha256 (or ``None``), ``method`` is the aggregation of
    the votes, ``settings`` are those worth knowing (JSON-able, no secrets, no paths), ``parent`` the ``id`` of the
    dataset that this one follows.
    """

    predictors: Mapping[str, str | None]
    method: str | None
    settings: Mapping[str, Any]
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How much of what a dataset holds; ``without_box`` people could not be written."""

    images: int
    people: int
    labels: int
    ages: int
    genders: int
    without_box: int
    by_source: Mapping[str, int]
    by_split: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest without its list of files; ``id`` is the sha256 over that list.

    ``unread_images`` could not be compared with others when the split was made.
    """

    id: str
    counts: Counts
    recipe: Recipe
    format: str
    images: str
    split: Mapping[str, float] | None
    seed: int
    balance_tail: bool = False
    unread_images: int = 0
    schema_version: int = SCHEMA_VERSION

    def as_dict(self) -> dict[str, Any]:
        """The JSON object, without ``files``."""
        return {
            "kind": KIND,
            "schema_version": self.schema_version,
            "id": self.id,
            "parent": self.recipe.parent,
            "counts": asdict(self.counts),
            "format": self.format,
            "images": self.images,
            "unread_images": self.unread_images,
            "balance_tail": self.balance_tail,
            "split": self.split and dict(self.split),
            "seed": self.seed,
            "method": self.recipe.method,
            "predictors": dict(self.recipe.predictors),
            "settings": dict(self.recipe.settings),
        }


def own_files(folder: Path) -> Iterator[FileEntry]:
    """The tables and texts of a dataset, by path, without the manifest, pictures and what begins with a dot."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.glob("*") if path.is_file()}
    found |= {path.relative_to(folder).as_posix(): path for path in folder.glob("data/*")}
    for name, path in sorted(found.items()):
        if name != MANIFEST_NAME and not path.name.startswith("."):
            yield (name, file_digest(path), path.stat().st_size)


def all_files(folder: Path, pictures: Iterable[tuple[str, str, int]]) -> Iterator[FileEntry]:
    """Every file of a dataset by path: its own, and the pictures as the spool lists them."""
    below = ((f"images/{name}", digest, size) for name, digest, size in pictures)
    return heapq.merge(own_files(folder), below)


def dataset_id(files: Iterable[FileEntry]) -> str:
    """The sha256 over ``path NUL sha256 LF`` of every file, by path."""
    total = hashlib.sha256()
    for path, digest, _ in files:
        total.update(f"{path}\0{digest}\n".encode())
    return total.hexdigest()


def write_manifest(folder: Path, manifest: Manifest, files: Iterable[FileEntry]) -> None:
    """Write ``manifest.json``, the files one by one so that a million of them need no memory."""
    head = json.dumps(manifest.as_dict(), indent=2, sort_keys=True, ensure_ascii=False)
    with (folder / MANIFEST_NAME).open("w", encoding="utf-8", newline="\n") as out:
        out.write(head.removesuffix("\n}") + ',\n  "files": {')
        separator = "\n"
        for path, digest, size in files:
            entry = json.dumps({"bytes": size, "sha256": digest}, sort_keys=True)
            out.write(f"{separator}    {json.dumps(path, ensure_ascii=False)}: {entry}")
            separator = ",\n"
        out.write("\n  }\n}\n")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a dataset of ours; ``None`` where ``folder`` is none."""
    try:
        found = json.loads((folder / MANIFEST_NAME).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("kind") == KIND else None
