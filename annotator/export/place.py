"""Putting a finished dataset where it belongs in one step, and taking away only what is ours."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from annotator.errors import InputError, StorageError
from annotator.export.manifest import MANIFEST_NAME, read_manifest


@contextmanager
def replaced_folder(out: Path) -> Iterator[Path]:
    """A new folder beside ``out`` that takes its place when the block ends well, and vanishes when it does not.

    ``out`` may be missing, empty, or an earlier dataset of ours without foreign files in it.

    Raises:
        InputError: ``out`` is something else.
        StorageError: there is no permission or no space; nothing is left behind.
    """
    out = Path(os.path.abspath(out))  # noqa: PTH100 - a link is replaced, not what it points to
    try:
        check_replaceable(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    except OSError as error:
        raise _storage_error(out, error) from error
    try:
        work.chmod(0o777 & ~_umask())
        yield work
        _swap(work, out)
    except (OSError, duckdb.OperationalError) as error:
        raise _storage_error(out, error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def check_replaceable(out: Path) -> None:
    """Refuse a place that holds anything but an earlier dataset of ours.

    Raises:
        InputError: names what is in the way.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(f"{out} is not a folder; name another place for the dataset")
    if not out.exists() or not any(out.iterdir()):
        return
    manifest = read_manifest(out)
    if manifest is None:
        raise InputError(f"{out} is not empty and holds no dataset of ours; name another folder or empty it yourself")
    known = {MANIFEST_NAME, *manifest.get("files", {})}
    for folder, _, names in os.walk(out):
        for name in names:
            path = (Path(folder) / name).relative_to(out).as_posix()
            if path not in known:
                raise InputError(f"{out} holds a file that is not the dataset's ({path}); move it away or name another")


def _swap(work: Path, out: Path) -> None:
    """Two renames; the old dataset is deleted only when the new one is in its place."""
    if not out.exists():
        work.rename(out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".old", dir=out.parent))
    out.rename(old)
    try:
        work.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _storage_error(out: Path, error: Exception) -> StorageError:
    full = getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT} or "full" in str(error)
    if full:
        return StorageError(f"no space left for {out}; free some, name another place, or use --images link")
    cause = getattr(error, "strerror", None) or error
    return StorageError(f"cannot write {out}: {cause}")
