"""Images in object storages (``s3://``, ``gs://``, ``az://``), by fsspec."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

import fsspec

from annotator.errors import ConfigurationError, ImageError, InputError, StorageError
from annotator.images.items import SourceItem, is_offered
from annotator.storage_options import SCHEMES, StorageOptions

Result = TypeVar("Result")


def is_remote(uri: str) -> bool:
    """Whether an address leads into an object storage.

    >>> is_remote("s3://bucket/a.jpg"), is_remote("/a.jpg")
    (True, False)
    """
    return uri.split("://", 1)[0] in SCHEMES and "://" in uri


def file_system(uri: str, **options: Any) -> tuple[Any, str]:
    """The storage of an address and the path in it.

    Raises:
        ConfigurationError: the package for that kind of storage is not installed.
    """
    scheme, _, path = uri.partition("://")
    try:
        # a worker lives long: what it listed yesterday is not what is there today
        return fsspec.filesystem(scheme, use_listings_cache=False, **options), path
    except ImportError as error:
        raise ConfigurationError(f"{scheme}:// needs a package: pip install 'annotator[{scheme}]'") from error


def read_remote(uri: str, max_bytes: int) -> bytes:
    """The bytes at ``uri``.

    Raises:
        ImageError: reasons ``missing_file``, ``no_permission``, ``read_error`` and ``too_many_bytes``.
    """
    storage, path = file_system(uri)
    try:
        data = bytes(storage.cat_file(path, start=0, end=max_bytes + 1))
    except FileNotFoundError as error:
        raise ImageError("missing_file", f"there is no {uri}") from error
    except PermissionError as error:
        raise ImageError("no_permission", f"no permission to read {uri}") from error
    except Exception as error:
        raise ImageError("read_error", f"cannot read {uri}: {error}") from error
    if len(data) > max_bytes:
        raise ImageError("too_many_bytes", f"more than the {max_bytes:,} bytes that are allowed (max_image_bytes)")
    return data


def remote_items(place: str, max_bytes: int) -> Iterator[SourceItem]:
    """Every image below a prefix (or the one at an address), folder by folder, sorted within each.

    Raises:
        InputError: the place does not exist, or may not be listed.
    """
    storage, path = file_system(place.rstrip("/"))
    scheme = place.split("://", 1)[0]
    if not _asked(place, lambda: storage.exists(path)):
        raise InputError(f"there is nothing at {place}")
    if _asked(place, lambda: storage.isfile(path)):
        return iter([_item(scheme, path, path.rsplit("/", 1)[-1], max_bytes)])
    return _below(storage, scheme, path, path, max_bytes)


def write_remote(uri: str, data: bytes) -> None:
    """Write an object whole.

    Raises:
        StorageError: it cannot be written.
    """
    storage, path = file_system(uri)
    try:
        storage.pipe_file(path, data)
    except Exception as error:
        raise StorageError(f"cannot write {uri}: {error}") from error


def exists_remote(uri: str) -> bool:
    """Whether there is an object.

    Raises:
        StorageError: the storage does not say.
    """
    storage, path = file_system(uri)
    try:
        return bool(storage.exists(path))
    except Exception as error:
        raise StorageError(f"cannot look for {uri}: {error}") from error


def delete_remote(uri: str) -> bool:
    """Delete an object; whether there was one.

    Raises:
        StorageError: it cannot be deleted.
    """
    if not exists_remote(uri):
        return False
    storage, path = file_system(uri)
    try:
        storage.rm_file(path)
    except Exception as error:
        raise StorageError(f"cannot delete {uri}: {error}") from error
    return True


def signed_url(uri: str, seconds: int, storages: Mapping[str, StorageOptions]) -> str:
    """An address that a browser can open without an account for so long.

    Raises:
        StorageError: the storage cannot sign, for lack of a key.
    """
    scheme = uri.split("://", 1)[0]
    options = storages.get(scheme, StorageOptions())
    public = options.public_endpoint_url is not None
    storage, path = file_system(uri, **(options.arguments(scheme, public=True) if public else {}))
    try:
        return str(storage.sign(path, expiration=seconds))
    except Exception as error:
        raise StorageError(f"cannot sign an address for {uri}: {error}") from error


def _below(storage: Any, scheme: str, folder: str, top: str, max_bytes: int) -> Iterator[SourceItem]:
    entries = sorted(_asked(folder, lambda: storage.ls(folder, detail=True)), key=lambda entry: str(entry["name"]))
    for entry in entries:
        path = str(entry["name"]).rstrip("/")
        name = path[len(top) :].lstrip("/")
        if not name or path == folder or not is_offered(name):
            continue
        if entry["type"] == "directory":
            yield from _below(storage, scheme, path, top, max_bytes)
        elif int(entry.get("size") or 0) > 0 or not path.endswith("/"):
            yield _item(scheme, path, name, max_bytes)


def _item(scheme: str, path: str, name: str, max_bytes: int) -> SourceItem:
    uri = f"{scheme}://{path}"
    return SourceItem(name, uri, partial(read_remote, uri, max_bytes))


def _asked(place: str, question: Callable[[], Result]) -> Result:
    try:
        return question()
    except Exception as error:
        raise InputError(f"cannot list {place}: {error}") from error
