"""How commands talk: a progress bar on a terminal and plain lines elsewhere (both on stderr), results on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from annotator.pipeline.watch import Watch

PLAIN_SECONDS = 10.0
"""How often plain progress says something."""


class PlainWatch:
    """Progress as lines: one at the end of each stretch of work, and one every ten seconds."""

    def __init__(self) -> None:
        self._what, self._total, self._done, self._people = "", None, 0, 0  # type: tuple[str, int | None, int, int]
        self._started = self._said = time.monotonic()

    def begin(self, what: str, total: int | None = None) -> None:
        """A new stretch of work."""
        self.end()
        self._what, self._total, self._done, self._people = what, total, 0, 0
        self._started = self._said = time.monotonic()

    def step(self, count: int = 1, people: int = 0) -> None:
        """More is done."""
        self._done += count
        self._people += people
        if time.monotonic() - self._said >= PLAIN_SECONDS:
            self._say()

    def note(self, text: str) -> None:
        """A line."""
        typer.echo(text, err=True)

    def end(self) -> None:
        """The last line of a stretch of work."""
        if self._done:
            self._say()
            self._done = 0

    def _say(self) -> None:
        self._said = time.monotonic()
        seconds = max(self._said - self._started, 1e-9)
        of_all = f" of {self._total:,}" if self._total is not None else ""
        speed = f"{self._people / seconds:.1f} people/s" if self._people else f"{self._done / seconds:.1f}/s"
        left = (self._total - self._done) * seconds / self._done if self._total is not None else 0
        ahead = f", {duration(left)} left" if left > 0 else ""
        typer.echo(f"{self._what}: {self._done:,}{of_all} ({speed}{ahead})", err=True)


class BarWatch:
    """Progress as a bar on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"), TimeRemainingColumn(),
        )  # fmt: skip
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._progress.start()
        self._task: Any = None
        self._people, self._started = 0, time.monotonic()

    def begin(self, what: str, total: int | None = None) -> None:
        """A new bar."""
        self._task = self._progress.add_task(what, total=total, speed="")
        self._people, self._started = 0, time.monotonic()

    def step(self, count: int = 1, people: int = 0) -> None:
        """The bar grows."""
        self._people += people
        if self._task is not None:
            seconds = max(time.monotonic() - self._started, 1e-9)
            speed = f"{self._people / seconds:.1f} people/s" if self._people else ""
            self._progress.update(self._task, advance=count, speed=speed)

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._progress.console.print(text, highlight=False, markup=False)

    def end(self) -> None:
        """The bars stay as they are."""
        self._progress.stop()


@contextmanager
def watching() -> Iterator[Watch]:
    """Progress in the way that suits where stderr goes."""
    watch = BarWatch() if sys.stderr.isatty() else PlainWatch()
    try:
        yield watch
    finally:
        watch.end()


def duration(seconds: float) -> str:
    """A time in words, in its two largest units.

    >>> duration(7), duration(130), duration(7900)
    ('7 s', '2 min 10 s', '2 h 11 min')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def print_json(report: object) -> None:
    """A report (a dataclass or a mapping) as JSON on stdout."""
    data = asdict(report) if is_dataclass(report) and not isinstance(report, type) else report
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def counted(counts: Mapping[str, int]) -> str:
    """``{"a": 2, "b": 1000}`` as ``2 a, 1,000 b``, most first."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in ordered)


def plural(count: int, one: str, many: str | None = None) -> str:
    """``1 image``, ``1,200 images``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
