"""Writing a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from annotator.errors import StorageError


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` beside its place and move it there when it is complete and on disk.

    Raises:
        StorageError: there is no space, no permission or no such folder; what was there before is still there.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
