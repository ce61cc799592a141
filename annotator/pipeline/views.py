"""People of an image as predictors get them."""

from __future__ import annotations

from collections.abc import Sequence

from annotator.domain import Person
from annotator.pipeline.loading import LoadedImage
from annotator.predictors.base import PersonView
from annotator.store import records
from annotator.store.tables import PersonRow


def views_of(image: LoadedImage, rows: Sequence[PersonRow]) -> list[tuple[PersonRow, PersonView]]:
    """Each of the people on an image, with all others in the view."""
    people = [records.to_person(row, image.row.sha256) for row in rows]
    return [(row, _view(image, person, people)) for row, person in zip(rows, people, strict=True)]


def _view(image: LoadedImage, person: Person, people: Sequence[Person]) -> PersonView:
    others = [other for other in people if other is not person]
    faces = tuple(other.face for other in others if other.face)
    bodies = tuple(other.body for other in others if other.body)
    return PersonView(person.person_id, image.pixels, person.body, person.face, (*bodies, *faces), faces)
