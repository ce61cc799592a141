"""Where images come from: folders, single files, LAGENDA CSV files and zip archives, one after another, lazily."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from annotator.errors import InputError
from annotator.images.archive import zip_items
from annotator.images.decode import MAX_BYTES
from annotator.images.items import GivenPerson, SourceItem, file_item, is_offered
from annotator.images.lagenda import csv_items
from annotator.images.places import read_uri, safe_text
from annotator.images.remote import is_remote, remote_items

__all__ = ["GivenPerson", "SourceItem", "iter_sources", "read_uri"]


def iter_sources(
    sources: Sequence[str], *, max_bytes: int = MAX_BYTES, leave_out: Collection[Path] = ()
) -> Iterator[SourceItem]:
    """Every image of ``sources``, in a fixed order, without reading one.

    A source is a folder (searched to the bottom, sorted by name; hidden files and side files such as ``.txt`` are
    passed over), a file, a ``.csv`` in LAGENDA columns, a ``.zip``, or a place in an object storage. All of them are
    looked at, and a CSV is checked to its last row, before the first image is given. Files and folders of ``leave_out``
    (absolute, without links) are passed over where a search comes upon them.

    Raises:
        InputError: a source does not exist or is of no known kind, a CSV row is broken (names its line), an archive is
            damaged or unpacks to too much.
    """
    yield from (item for items in [_opened(source, max_bytes, leave_out) for source in sources] for item in items)


def _opened(source: str, max_bytes: int, leave_out: Collection[Path]) -> Iterator[SourceItem]:
    if is_remote(source):
        return remote_items(source, max_bytes)
    if "://" in source:
        scheme = source.split("://", 1)[0]
        raise InputError(
            f"cannot ingest from {scheme}:// places; give a folder, a file, a .csv, a .zip, s3://, gs:// or az://"
        )
    path = Path(os.path.abspath(source))  # noqa: PTH100 - resolve() would replace links that the user named
    if path.is_dir():
        return _folder_items(path, max_bytes, leave_out)
    if not path.exists():
        raise InputError(f"no such file or folder: {source}")
    if path.suffix.lower() == ".csv":
        return csv_items(path, max_bytes)
    if path.suffix.lower() == ".zip":
        return zip_items(path, max_bytes)
    return iter([file_item(path, safe_text(path.name), max_bytes)])


def _folder_items(folder: Path, max_bytes: int, leave_out: Collection[Path]) -> Iterator[SourceItem]:
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise InputError(f"cannot list {folder}: {error.strerror}") from error
    real = folder.resolve()  # links inside are not followed, so places below it differ by this alone
    passed = {folder / path.relative_to(real) for path in leave_out if path.is_relative_to(real)}
    return (
        file_item(path, safe_text(path.relative_to(folder).as_posix()), max_bytes) for path in _walk(folder, passed)
    )


def _walk(folder: Path, passed: Collection[Path]) -> Iterator[Path]:
    """Offered files below ``folder``, sorted within each folder; links to folders are not followed (they may loop)."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_dir(follow_symlinks=False), entry.is_dir()) for entry in entries)
    except OSError as error:
        raise InputError(f"cannot list {folder}: {error.strerror}; mend its permissions or leave it out") from error
    for name, is_folder, leads_to_folder in found:
        if name.startswith(".") or folder / name in passed:
            continue
        if is_folder:
            yield from _walk(folder / name, passed)
        elif not leads_to_folder and is_offered(name):
            yield folder / name
