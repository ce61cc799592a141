"""How long work tells whoever waits for it; the doors decide how that looks."""

from __future__ import annotations

from typing import Protocol


class Watch(Protocol):
    """Hears what is going on."""

    def begin(self, what: str, total: int | None = None) -> None:
        """A new stretch of work with ``total`` steps (``None``: nobody knows)."""
        ...

    def step(self, count: int = 1, people: int = 0) -> None:
        """``count`` more steps are done, with so many people in them."""
        ...

    def note(self, text: str) -> None:
        """Something worth a line."""
        ...


class Silent:
    """Hears and says nothing."""

    def begin(self, what: str, total: int | None = None) -> None:
        """Nothing."""

    def step(self, count: int = 1, people: int = 0) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


SILENT = Silent()
