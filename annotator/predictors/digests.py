"""What large files hashed to when they were last read, so that a 15 GB model is not read twice to learn its name.

A file is taken for unchanged while its place, size, times, inode and device are. That is enough against mistakes and
not against somebody who forges times: `annotator models verify` reads every byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

from annotator.errors import StorageError
from annotator.files import write_whole

LARGE = 16_000_000
"""Smaller files are read each time: that takes less than remembering them is worth."""
SETTLED_NS = 2_000_000_000
"""A file that changed so recently may change again within one tick of its file system's clock; it is not remembered."""


def memory_file() -> Path:
    """Where digests are kept: ``$XDG_CACHE_HOME/annotator/digests.json``."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "annotator" / "digests.json"


def file_digest(path: Path, *, fresh: bool = True) -> str:
    """The sha256 of one file, 64 hex digits; unless ``fresh``, that of a large file may be remembered.

    Raises:
        StorageError: the file cannot be read.
    """
    try:
        mark = _mark(path)
        if fresh or mark is None:
            return _read(path)
        known = _remembered()
        found = known.get(mark)
        if found is None:
            found = _read(path)
            if _mark(path) == mark:
                _remember(known | {mark: found})
        return found
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mark(path: Path) -> str | None:
    """What changes when the file does; ``None`` for one that is not remembered."""
    state = path.stat()
    if state.st_size < LARGE or time.time_ns() - max(state.st_mtime_ns, state.st_ctime_ns) < SETTLED_NS:
        return None
    parts = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev)
    return "\t".join([str(path.resolve()), *map(str, parts)])


def _remembered() -> dict[str, str]:
    """Digests by mark; none where nothing was kept, or not in this form."""
    try:
        kept = json.loads(memory_file().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(mark): str(digest) for mark, digest in kept.items()} if isinstance(kept, dict) else {}


def _remember(digests: dict[str, str]) -> None:
    """Keeps digests of files that are still there; where that is not possible the next start reads them again."""
    place = memory_file()
    alive = {mark: digest for mark, digest in digests.items() if Path(mark.split("\t")[0]).exists()}
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, (json.dumps(alive, indent=1, sort_keys=True) + "\n").encode())
    except (OSError, StorageError):
        return
