"""What the backend needs of the rest of the project, in its own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from annotator.domain import Box
from annotator.labelstudio.payload import ShownImage, ShownPerson


class Prelabeller(Protocol):
    """Pre-labels images and keeps the results.

    ``version`` is the ensemble's version: the ``model_version`` of ``/setup`` and of every prediction. It must be known
    without loading a model. Every method may be called from several threads at once.
    """

    @property
    def version(self) -> str:
        """The version of what ``prelabel`` would answer now."""
        ...

    def prelabel(self, data: bytes, *, name: str, uri: str) -> ShownImage:
        """The people on one image, from the store where this version has seen the same bytes before.

        Raises:
            ImageError: the image cannot be used.
        """
        ...

    def judge(self, data: bytes, box: Box) -> ShownPerson:
        """A person whom nobody found, by a box in pixels that an annotator drew; nothing is stored.

        Raises:
            ImageError: the image cannot be used, or the box holds nothing of it.
        """
        ...

    def record_failure(self, *, subject: str, name: str, reason: str, message: str) -> None:
        """Keep what went wrong with one image: Label Studio shows nobody."""
        ...

    def record_event(self, kind: str, subject: str, data: Mapping[str, Any]) -> None:
        """Keep that something happened in Label Studio."""
        ...
