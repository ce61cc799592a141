"""A person's history as sentences in the order in which things happened, told from rows and events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.pipeline.decisions import DECIDED, EXPERT
from annotator.store.tables import EventRow, FitRow, PersonRow, PredictionRow, PreLabelRow, VoteRow

EXPORTED = "exported"
"""Kind of the event that an export leaves; its subject is the dataset's id."""

TOLD_ELSEWHERE = ("prelabelled", "box_replaced")
"""Kinds of events of which a fusion or a correction tells more."""

PLAIN = {
    "unlabelled": "label taken away: its grounds are gone",
    "corrections_withdrawn": "people of the picture as before the corrections: their annotations were deleted",
    "decision_withdrawn": "the expert's decision taken back",
}
"""Kinds of events that need no more than these words."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened, and when."""

    at: datetime
    words: str


def history(session: Session, person: PersonRow, events: Sequence[EventRow]) -> list[Moment]:
    """Registration, predictions, fits, fusions, votes, corrections, labels and exports that concern a person.

    ``events`` are those of the person and of the image.
    """
    found = [
        Moment(person.created_at, f"registered, boxes {person.source.value}, revision {person.revision} by now"),
        *_opinions(session, person),
        *_votes(session, person, events),
        *_exports(session, person),
    ]
    for event in events:
        words = _words(event, person.person_id)
        found += [Moment(event.at, words)] if words else []
    return sorted(found, key=lambda moment: moment.at)


def _opinions(session: Session, person: PersonRow) -> Iterator[Moment]:
    said = session.scalars(select(PredictionRow).where(PredictionRow.person_key == person.id))
    for row in said.all():
        outcome = said_words(row.age, row.female_probability) if row.age is not None else row.status.value
        because = f" ({row.reason})" if row.reason else ""
        yield Moment(row.created_at, f"{row.version} said {outcome}{because}")
    fits: set[str] = set()
    rows = session.scalars(select(PreLabelRow).where(PreLabelRow.person_key == person.id).order_by(PreLabelRow.id))
    for pre_label in rows.all():
        yield Moment(pre_label.created_at, _fused(pre_label))
        if pre_label.fit not in fits:
            fits.add(pre_label.fit)
            yield from _fit(session, pre_label.fit)


def _fused(row: PreLabelRow) -> str:
    interval = "" if row.age_low is None else f" ({row.age_low:.0f} to {row.age_high or 0:.0f})"
    return f"fused by {row.fit} to {said_words(row.age, row.female_probability)}{interval} as {row.version}"


def _fit(session: Session, version: str) -> Iterator[Moment]:
    row = session.scalar(select(FitRow).where(FitRow.version == version))
    if row is not None:
        mae = row.scores.get("fused_mae")
        figures = f", MAE {mae:.2f} years out of fold" if isinstance(mae, float) else ""
        yield Moment(row.created_at, f"{version} was fitted on {row.people:,} people{figures}")


def _votes(session: Session, person: PersonRow, events: Sequence[EventRow]) -> Iterator[Moment]:
    """Votes that left no event of their own, such as those of the demo's simulated annotators."""
    told = {(event.data.get("source"), event.data.get("annotation")) for event in events if event.kind == "voted"}
    votes = select(VoteRow).where(VoteRow.person_key == person.id, VoteRow.source != EXPERT)
    for row in session.scalars(votes.order_by(VoteRow.id)):
        if (row.source, row.annotation_id) not in told:
            gender = row.gender.value if row.gender else None
            yield Moment(row.created_at, _vote(row.annotator_id, row.age, gender, None if row.counts else row.remark))


def _exports(session: Session, person: PersonRow) -> Iterator[Moment]:
    """Every dataset that was exported since the person is known; its manifest says which labels it took."""
    query = select(EventRow).where(EventRow.kind == EXPORTED, EventRow.at >= person.created_at).order_by(EventRow.id)
    for event in session.scalars(query):
        which = "labels by people only" if event.data.get("only") == "settled" else "all labels"
        yield Moment(event.at, f"exported in dataset {event.subject[:12]} to {event.data.get('out')}, {which}")


def _words(event: EventRow, person_id: str) -> str | None:
    data = event.data
    if event.kind == "detected":
        return f"{data.get('detector')} found {data.get('people')} on the picture"
    if event.kind == "voted":
        remark = None if data.get("counts") else str(data.get("remark"))
        return _vote(str(data.get("by")), data.get("age"), data.get("gender"), remark)
    if event.kind == "vote_withdrawn":
        return f"vote by {data.get('by')} withdrawn"
    if event.kind == "corrected":
        return _corrected(data, person_id)
    if event.kind == "labelled":
        age = data.get("age")
        years = "no age" if age is None else f"{age:.1f} years"
        votes = f" from {data.get('votes')} votes" if data.get("votes") else ""
        return f"labelled {years}, {data.get('gender') or 'no gender'}: {data.get('source')}{votes}, {data.get('by')}"
    if event.kind in TOLD_ELSEWHERE:
        return None
    if event.kind == DECIDED:
        return f"decided by {data.get('by')}: {data.get('age'):g} years, {data.get('gender')}"
    return PLAIN.get(event.kind) or f"{event.kind.replace('_', ' ')} {data or ''}".rstrip()


def _vote(by: str, age: float | None, gender: str | None, remark: str | None) -> str:
    said = f"{'no age' if age is None else f'{age:g} years'}, {gender or 'no gender'}"
    return f"vote by {by}: {said}" + (f" (does not count: {remark})" if remark else "")


def _corrected(data: Mapping[str, Any], person_id: str) -> str:
    if person_id in data.get("closed", ()):
        return f"closed by a human in annotation {data.get('annotation')}"
    if person_id in data.get("moved", {}):
        return f"boxes moved by a human in annotation {data.get('annotation')}"
    return f"other boxes of the picture corrected by a human in annotation {data.get('annotation')}"


def said_words(age: float | None, female: float | None) -> str:
    """An opinion in words."""
    years = "no age" if age is None else f"{age:.1f} years"
    return f"{years}, no gender" if female is None else f"{years}, P(female) {female:.2f}"
