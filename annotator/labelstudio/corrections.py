"""Whole-image annotations: which people an annotator left, moved, drew or took away. No I/O.

Boxes are compared in percent, as Label Studio keeps them, so that an untouched box stays exactly the one we know.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotator.domain import Box, Gender, Person
from annotator.labelstudio.answers import possible_age, possible_gender
from annotator.labelstudio.payload import percent_box

SAME_PERCENT = 0.02
"""Sides that differ by less, in percent of the picture, are the same: 1 pixel of 5,000."""

SAME_PERSON_IOU = 0.5
"""A redrawn box that overlaps a vanished one so much is the same person."""

Boxes = tuple[Box | None, Box | None]
"""Body and face."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One person as an annotation shows them; ``region`` is the id of the body's region, or of the face's."""

    region: str
    body: Box | None
    face: Box | None
    age: float | None
    gender: Gender | None


@dataclass(frozen=True, slots=True)
class Corrections:
    """What an annotation changes: people with other boxes or back again, new ones, and ids of those who are gone."""

    moved: Mapping[str, Boxes] = field(default_factory=dict)
    added: tuple[Boxes, ...] = ()
    closed: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing changes."""
        return not (self.moved or self.added or self.closed)


@dataclass(frozen=True, slots=True)
class _Region:
    region: str
    kind: str
    box: Box
    parent: str | None


def drawn_people(result: object, width: int, height: int) -> list[Drawn]:
    """The people of an annotation's ``result``, faces with their bodies.

    A face belongs to the person that it names as its parent or by a relation, else to the smallest person box that
    holds its centre, else to nobody. ``width`` and ``height`` are those of the image in pixels.
    """
    items = [item for item in result if isinstance(item, Mapping)] if isinstance(result, list) else []
    regions = [region for item in items if (region := _region(item, width, height))]
    bodies = [region for region in regions if region.kind == "person"]
    parents = _relations(items)
    faces: dict[str, _Region] = {}
    alone = []
    for face in (region for region in regions if region.kind == "face"):
        body = _body_of(face, bodies, parents)
        if body is None or body.region in faces:
            alone.append(face)
        else:
            faces[body.region] = face
    return [_drawn(items, body, faces.get(body.region)) for body in bodies] + [
        Drawn(face.region, None, face.box, *_said(items, face.region)) for face in alone
    ]


def says_nobody(result: object) -> bool:
    """Whether an annotation says in words that there is nobody; a result without boxes may be a slip."""
    items = [item for item in result if isinstance(item, Mapping)] if isinstance(result, list) else []
    chosen = [choice for item in items for choice in _choices(item)]
    return "no_person" in chosen or "not_a_photo" in chosen


def compare(
    people: Sequence[tuple[Person, bool]], drawn: Sequence[Drawn], width: int, height: int
) -> tuple[Corrections, dict[str, Drawn]]:
    """What must change so that ``people`` (each with whether they are active) become those who are ``drawn``.

    Also says who is who: drawn people by person id, without the new ones.
    """
    matched = _match(people, drawn)
    taken = {id(one) for one in matched.values()}
    active = {person.person_id: is_active for person, is_active in people}
    moved = {}
    for person, _ in people:
        one = matched.get(person.person_id)
        boxes = _new_boxes(person, one, width, height) if one else None
        if boxes is not None and (boxes != (person.body, person.face) or not active[person.person_id]):
            moved[person.person_id] = boxes
    added = tuple((one.body, one.face) for one in drawn if id(one) not in taken)
    closed = tuple(name for name, is_active in active.items() if is_active and name not in matched)
    return Corrections(moved, added, closed), matched


def _match(people: Sequence[tuple[Person, bool]], drawn: Sequence[Drawn]) -> dict[str, Drawn]:
    """By the region's id, which we gave; then by overlap, best first, active people before closed ones."""
    names = {person.person_id for person, _ in people}
    matched: dict[str, Drawn] = {}
    for one in drawn:
        name = one.region.removesuffix("-face")
        if name in names and name not in matched:
            matched[name] = one
    taken = {id(one) for one in matched.values()}
    pairs = [
        (is_active, _overlap(person, one), person.person_id, index)
        for person, is_active in people
        if person.person_id not in matched
        for index, one in enumerate(drawn)
        if id(one) not in taken
    ]
    used: set[int] = set()
    for _, overlap, name, index in sorted(pairs, key=lambda pair: (-pair[0], -pair[1], pair[2], pair[3])):
        if overlap >= SAME_PERSON_IOU and name not in matched and index not in used:
            matched[name] = drawn[index]
            used.add(index)
    return matched


def _overlap(person: Person, one: Drawn) -> float:
    known, shown = person.body or person.face, one.body or one.face
    return known.iou(shown) if known and shown else 0.0


def _new_boxes(person: Person, one: Drawn, width: int, height: int) -> Boxes:
    """The person's boxes after the annotation; what was not touched stays what it was to the last digit.

    Of somebody with a face alone we show a person box of the face's size: untouched, it stays none.
    """
    if one.body is not None and person.body is None and _same(one.body, person.face, width, height):
        body = None
    else:
        body = person.body if _same(one.body, person.body, width, height) else one.body
    return body, person.face if _same(one.face, person.face, width, height) else one.face


def _same(a: Box | None, b: Box | None, width: int, height: int) -> bool:
    first, second = percent_box(a, width, height), percent_box(b, width, height)
    if first is None or second is None:
        return first is second
    return all(abs(first[side] - second[side]) <= SAME_PERCENT for side in ("x", "y", "width", "height"))


def _region(item: Mapping[str, Any], width: int, height: int) -> _Region | None:
    value = item.get("value")
    if not isinstance(value, Mapping):
        return None
    labels = value.get("rectanglelabels")
    kind = str(labels[0]) if isinstance(labels, list) and labels else ""
    sides = [value.get(side) for side in ("x", "y", "width", "height")]
    if kind not in ("person", "face") or not item.get("id"):
        return None
    if not all(isinstance(side, int | float) and not isinstance(side, bool) for side in sides):
        return None
    x, y, across, down = (float(side) for side in sides if side is not None)
    box = Box(x * width / 100, y * height / 100, (x + across) * width / 100, (y + down) * height / 100)
    if not all(map(math.isfinite, box.as_tuple())):
        return None
    box = box.clipped(width, height)
    parent = item.get("parentID")
    return _Region(str(item["id"]), kind, box, str(parent) if parent else None) if box.is_usable else None


def _relations(items: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Each end of an arrow by the other one, in both directions: annotators draw it either way."""
    ends = [(str(item.get("from_id")), str(item.get("to_id"))) for item in items if item.get("type") == "relation"]
    return {a: b for pair in ends for a, b in (pair, pair[::-1])}


def _body_of(face: _Region, bodies: Sequence[_Region], parents: Mapping[str, str]) -> _Region | None:
    for name in (face.parent, parents.get(face.region), face.region.removesuffix("-face")):
        found = next((body for body in bodies if body.region == name), None)
        if found:
            return found
    x, y = (face.box.x0 + face.box.x1) / 2, (face.box.y0 + face.box.y1) / 2
    around = [one for one in bodies if one.box.x0 <= x <= one.box.x1 and one.box.y0 <= y <= one.box.y1]
    return min(around, key=lambda one: (one.box.area, one.region), default=None)


def _drawn(items: Sequence[Mapping[str, Any]], body: _Region, face: _Region | None) -> Drawn:
    return Drawn(body.region, body.box, face.box if face else None, *_said(items, body.region))


def _said(items: Sequence[Mapping[str, Any]], region: str) -> tuple[float | None, Gender | None]:
    """Age and gender of a region."""
    age, gender = None, None
    for item in items:
        value = item.get("value")
        if item.get("id") == region and isinstance(value, Mapping):
            age = possible_age(value.get("number")) if item.get("from_name") == "age" else age
            gender = possible_gender(value.get("choices")) if item.get("from_name") == "gender" else gender
    return age, gender


def _choices(item: Mapping[str, Any]) -> list[Any]:
    value = item.get("value")
    found = value.get("choices") if isinstance(value, Mapping) else None
    return found if isinstance(found, list) else []
