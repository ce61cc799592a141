"""What a dataset is made of: people with boxes, some of them with a label."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from annotator.domain import Box, Label


class ExportImage(NamedTuple):
    """One image of the dataset.

    ``uri`` is what :func:`~annotator.images.places.read_uri` takes; ``width`` and ``height`` are those of the upright
    image. Images of one ``group`` (near-duplicates) always go into the same split; without one an image stands alone.
    """

    sha256: str
    name: str
    uri: str
    format: str
    width: int
    height: int
    group: str | None = None


class ExportRow(NamedTuple):
    """One person. Without a ``label`` the row is written as -1 / -1, so that readers can blank the person in others.

    ``provenance`` is JSON-able; its keys ``votes`` (each with its weight), ``predictions`` and ``interval`` (youngest
    and oldest age that are likely, in years) become columns of the provenance table, the rest goes into ``details``.
    """

    image: ExportImage
    person_id: str
    body: Box | None
    face: Box | None
    label: Label | None = None
    provenance: Mapping[str, Any] = MappingProxyType({})
