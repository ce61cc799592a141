"""Images in a zip archive, read where they lie: nothing is unpacked, so nothing can escape."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from annotator.errors import InputError
from annotator.images.items import SourceItem, is_offered
from annotator.images.places import open_archive, read_uri, safe_text, zip_uri

MAX_TOTAL_BYTES = 500_000_000_000
MAX_MEMBERS = 10_000_000
MAX_RATIO = 200
"""An archive that unpacks to more than this many times its size (and more than 1 GB) is a bomb, not photos."""

_BOMB_FLOOR = 1_000_000_000


def zip_items(path: Path, max_bytes: int) -> Iterator[SourceItem]:
    """Each offered member of the archive, sorted by name; a refused one fails when it is read.

    Raises:
        InputError: the archive cannot be opened, or unpacks to more than an archive of photos can.
    """
    try:
        archive = open_archive(path)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(f"cannot open {path}: {error}") from error
    members = archive.infolist()
    _check_total(path, sum(info.file_size for info in members), len(members))
    names = sorted({info.filename for info in members if not info.is_dir() and is_offered(info.filename)})
    return (_member_item(path, name, max_bytes) for name in names)


def _member_item(path: Path, name: str, max_bytes: int) -> SourceItem:
    uri = zip_uri(path, name)
    return SourceItem(safe_text(name), uri, partial(read_uri, uri, max_bytes))


def _check_total(path: Path, total: int, members: int) -> None:
    limit = min(MAX_TOTAL_BYTES, max(_BOMB_FLOOR, MAX_RATIO * path.stat().st_size))
    if total > limit or members > MAX_MEMBERS:
        raise InputError(f"{path} would unpack to {total:,} bytes in {members:,} files; unpack it yourself and look")
