"""Rows into files of a bounded number of rows each, named as Hugging Face names them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar


class Part(Protocol):
    """One file in the making."""

    def close(self) -> None:
        """Finish it."""
        ...


File = TypeVar("File", bound=Part)


class Shards(Generic[File]):
    """The files of one split: ``NAME.SUFFIX`` where one is enough, else ``NAME-00000-of-00003.SUFFIX`` and so on.

    How many there are is known only at the end, so names are given then.
    """

    def __init__(self, folder: Path, name: str, suffix: str, rows: int, make: Callable[[Path], File]) -> None:
        self._folder, self._name, self._suffix, self._rows, self._make = folder, name, suffix, rows, make
        self._parts: list[Path] = []
        self._open: File | None = None
        self._count = 0

    def next(self) -> File:
        """The file that takes the next row."""
        return self.share(1)[0]

    def share(self, wanted: int) -> tuple[File, int]:
        """The file that takes the next rows, and how many of the ``wanted`` ones it takes."""
        if self._open is None or self._count >= self._rows:
            self._finish()
            path = self._folder / f".{self._name}-{len(self._parts)}"
            self._open, self._count = self._make(path), 0
            self._parts.append(path)
        taken = min(wanted, self._rows - self._count)
        self._count += taken
        return self._open, taken

    def close(self) -> None:
        """Finish the last file and give all of them their names; a split without rows has one empty file."""
        if not self._parts:
            self.next()
        self._finish()
        total = len(self._parts)
        for number, path in enumerate(self._parts):
            middle = "" if total == 1 else f"-{number:05d}-of-{total:05d}"
            path.rename(self._folder / f"{self._name}{middle}.{self._suffix}")

    def _finish(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = None
