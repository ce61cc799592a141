"""Image names of a dataset: portable, unique, and the ones people know wherever possible."""

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import PurePosixPath

KNOWN_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp"))
"""Endings under which every reader of a dataset opens a picture, whatever its bytes are."""

MAX_PART_BYTES = 150
_FORBIDDEN = set('\\:*?"<>|')


def dataset_name(name: str, suffix: str, *, converted: bool) -> str:
    """The name of an image in a dataset: relative, without anything that a file system or reader could misread.

    Folders keep their names, except that none may end like a picture (a file could have that name). A converted
    picture, and one whose ending no reader knows, gets ``suffix``.

    >>> dataset_name("trip/IMG 1.HEIC", ".jpg", converted=True)
    'trip/IMG 1.jpg'
    >>> dataset_name("../../etc/passwd", ".png", converted=False)
    'etc/passwd.png'
    """
    parts = [_safe_part(part) for part in name.replace("\\", "/").split("/")]
    parts = [part for part in parts if part not in {"", ".", ".."}] or ["image"]
    *folders, last = parts
    path = PurePosixPath(last)
    if converted and path.suffix:
        last = path.stem + suffix
    elif path.suffix.lower() not in KNOWN_SUFFIXES:
        last += suffix
    folders = [part + "_" if PurePosixPath(part).suffix.lower() in KNOWN_SUFFIXES else part for part in folders]
    return "/".join(_short(part) for part in (*folders, last))


def is_safe(name: str) -> bool:
    """Whether a name can stand as it is: relative, within its folder, printable."""
    return name.isprintable() and all(part not in {"", ".", ".."} for part in name.split("/"))


def name_key(name: str) -> str:
    """What two names must not share: they would be one file on some system (case, Unicode composition)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def with_digest(name: str, sha256: str, digits: int) -> str:
    """``name`` with the beginning of its image's sha256 before the ending.

    >>> with_digest("a/b.jpg", "0123456789", 8)
    'a/b-01234567.jpg'
    """
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}-{sha256[:digits]}{path.suffix}"))


def _safe_part(part: str) -> str:
    part = "".join("_" if char in _FORBIDDEN or not char.isprintable() else char for char in part)
    return part.strip().rstrip(".") if part not in {".", ".."} else ""


def _short(part: str) -> str:
    """At most ``MAX_PART_BYTES`` of UTF-8, the ending kept; what is cut off is replaced by its hash."""
    data = part.encode()
    if len(data) <= MAX_PART_BYTES:
        return part
    suffix = PurePosixPath(part).suffix if len(PurePosixPath(part).suffix) < 10 else ""
    tail = "-" + hashlib.sha256(data).hexdigest()[:12] + suffix
    return data[: MAX_PART_BYTES - len(tail.encode())].decode("utf-8", "ignore") + tail
