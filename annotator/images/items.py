"""What a source gives: one image with its address, and the people that came with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from annotator.domain import Box, Truth
from annotator.images.places import file_uri, read_uri

SIDE_FILES = frozenset(
    (
        *(".aae", ".csv", ".db", ".htm", ".html", ".ini", ".json", ".jsonl", ".log", ".md"),
        *(".parquet", ".py", ".toml", ".tsv", ".txt", ".xml", ".xmp", ".yaml", ".yml"),
    )
)
"""Endings of files that lie beside pictures; in folders and archives they are passed over, like hidden files."""


NOTHING_KNOWN = Truth()


@dataclass(frozen=True, slots=True)
class GivenPerson:
    """A person that came with the image: boxes in pixels of the upright image, and what is known beforehand."""

    body: Box | None
    face: Box | None
    truth: Truth = NOTHING_KNOWN


@dataclass(frozen=True, slots=True)
class SourceItem:
    """One image to ingest.

    ``name`` is its relative name where it came from, ``uri`` what :func:`~annotator.images.places.read_uri` takes,
    ``read`` gives the bytes or raises ``ImageError`` (a missing or unreadable file, too many bytes). ``persons`` is
    not empty where boxes were given.
    """

    name: str
    uri: str
    read: Callable[[], bytes]
    persons: tuple[GivenPerson, ...] = ()


def file_item(path: Path, name: str, max_bytes: int, persons: tuple[GivenPerson, ...] = ()) -> SourceItem:
    """The item of one file on disk, whether it exists or not."""
    uri = file_uri(path)
    return SourceItem(name, uri, partial(read_uri, uri, max_bytes), persons)


def is_offered(name: str) -> bool:
    """Whether a file of a folder or archive is tried as an image: no part of its path is hidden, and no side file.

    A path that climbs is tried too, so that it is refused with a reason and not passed over.

    >>> [is_offered(name) for name in ("a/b.jpg", "../b.jpg", "notes.txt", "a/.hidden/b.jpg", "__MACOSX/b.jpg")]
    [True, True, False, False, False]
    """
    parts = name.split("/")
    if any(part.startswith(".") and part not in (".", "..") for part in parts) or parts[0] == "__MACOSX":
        return False
    return Path(name).suffix.lower() not in SIDE_FILES
