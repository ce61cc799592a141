"""Addresses of image bytes: absolute paths, ``file://``, ``zip://`` and object storages, and how they are read."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from annotator.errors import ImageError
from annotator.images.decode import MAX_BYTES
from annotator.storage_options import SCHEMES

FILE_SCHEME = "file://"
ZIP_SCHEME = "zip://"


def safe_text(name: str) -> str:
    """``name`` as valid Unicode: bytes of a file name that are not UTF-8 become U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


def file_uri(path: Path) -> str:
    """The absolute path itself, or a percent-encoded ``file://`` URI where its bytes are not UTF-8."""
    text = str(path)
    return text if safe_text(text) == text else FILE_SCHEME + quote(os.fsencode(path), safe="/")


def zip_uri(archive: Path, member: str) -> str:
    """``zip:///absolute/path.zip!member``, both parts percent-encoded, so that ``!`` separates without doubt.

    >>> zip_uri(Path("/tmp/a!.zip"), "b c.jpg")
    'zip:///tmp/a%21.zip!b%20c.jpg'
    """
    return ZIP_SCHEME + quote(os.fsencode(archive), safe="/") + "!" + quote(member, safe="/")


def is_file(uri: str) -> bool:
    """Whether a URI is a file of its own, which can be linked to.

    >>> is_file("/a/b.jpg"), is_file("zip:///a.zip!b.jpg"), is_file("http://example.com/b.jpg")
    (True, False, False)
    """
    return uri.startswith(FILE_SCHEME) or "://" not in uri


def read_uri(uri: str, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes at ``uri``, read up to ``max_bytes``.

    Raises:
        ImageError: reasons ``missing_file``, ``no_permission``, ``read_error``, ``too_many_bytes``,
            ``unsafe_path`` (a link or an escaping path in an archive) and ``unknown_place``.
    """
    if uri.startswith(ZIP_SCHEME):
        return _read_member(uri, max_bytes)
    if uri.partition("://")[0] in SCHEMES:
        from annotator.images.remote import read_remote  # loads fsspec, which most projects do not need

        return read_remote(uri, max_bytes)
    if uri.startswith(FILE_SCHEME):
        uri = os.fsdecode(unquote_to_bytes(uri[len(FILE_SCHEME) :]))
    elif "://" in uri:
        raise ImageError("unknown_place", f"cannot read from {uri.split('://', 1)[0]}:// places")
    return _read_file(Path(uri), max_bytes)


def unsafe_member(info: zipfile.ZipInfo) -> str | None:
    """Why an archive's member is refused, ``None`` where it is not: absolute, escaping, a link, encrypted."""
    name = info.filename
    if name.startswith("/") or "\\" in info.orig_filename or (len(name) > 1 and name[1] == ":"):
        return "its name is absolute or not portable"
    if ".." in name.split("/"):
        return "its name leads out of the archive"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG}:
        return "it is a link or a device, not a file"
    return "it is encrypted" if info.flag_bits & 1 else None


def open_archive(path: Path) -> zipfile.ZipFile:
    """The archive, kept open and shared within a process for as long as the file does not change.

    Raises:
        OSError, zipfile.BadZipFile: it cannot be opened.
    """
    status = path.stat()
    return _open_archive(path, status.st_mtime_ns, status.st_size, os.getpid())


@lru_cache(maxsize=4)
def _open_archive(path: Path, _changed: int, _size: int, _process: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def _read_file(path: Path, max_bytes: int) -> bytes:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # a pipe must not block
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageError("read_error", f"{path} is not a regular file")
            _check_length(status.st_size, max_bytes)
            data: bytes = file.read(max_bytes + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError("missing_file", f"there is no file {path}") from error
    except PermissionError as error:
        raise ImageError("no_permission", f"no permission to read {path}") from error
    except (OSError, ValueError) as error:
        raise ImageError("read_error", f"cannot read {path}: {error}") from error
    _check_length(len(data), max_bytes)
    return data


def _check_length(length: int, max_bytes: int) -> None:
    if length > max_bytes:
        raise ImageError("too_many_bytes", f"{length:,} bytes or more; {max_bytes:,} are allowed (max_image_bytes)")


def _read_member(uri: str, max_bytes: int) -> bytes:
    place, _, member = uri[len(ZIP_SCHEME) :].partition("!")
    path = Path(os.fsdecode(unquote_to_bytes(place)))
    name = unquote_to_bytes(member).decode("utf-8", "surrogateescape")
    try:
        archive = open_archive(path)
        info = archive.getinfo(name)
        refusal = unsafe_member(info)
        if refusal:
            raise ImageError("unsafe_path", f"refused '{safe_text(name)}' of {path.name}: {refusal}")
        _check_length(info.file_size, max_bytes)
        with archive.open(info) as file:
            data: bytes = file.read(max_bytes + 1)
    except (FileNotFoundError, KeyError) as error:
        raise ImageError("missing_file", f"there is no '{safe_text(name)}' in {path}") from error
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise ImageError("read_error", f"cannot read '{safe_text(name)}' of {path}: {error}") from error
    _check_length(len(data), max_bytes)
    return data
