"""Boxes that came with the image: the detector that looks nothing up and misses nobody."""

from __future__ import annotations

from collections.abc import Sequence

from annotator.domain import Box, Person
from annotator.images.items import GivenPerson

GIVEN_VERSION = "given"
"""The detector's version for people whose boxes were ingested."""


def given_people(image_sha256: str, persons: Sequence[GivenPerson], width: int, height: int) -> list[Person]:
    """People of a ``width`` x ``height`` image with the boxes as given, clipped to it, in the order given.

    Someone whose boxes lie wholly outside keeps neither and is left out; the numbering counts those who stay.
    """
    clipped = ((_clipped(p.body, width, height), _clipped(p.face, width, height), p.truth) for p in persons)
    kept = [found for found in clipped if found[0] is not None or found[1] is not None]
    return [
        Person(Person.make_id(image_sha256, index), image_sha256, index, body, face, truth=truth)
        for index, (body, face, truth) in enumerate(kept)
    ]


def _clipped(box: Box | None, width: int, height: int) -> Box | None:
    if box is None or not box.is_usable:
        return None
    inside = box.clipped(width, height)
    return inside if inside.is_usable else None
