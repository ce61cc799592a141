"""The ensemble's opinion on people with votes, for settling where the setting ``ensemble_votes`` asks for it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.domain import Gender
from annotator.pipeline.truths import in_the_draw
from annotator.settings import Settings
from annotator.store.tables import PersonRow, PreLabelRow, VoteRow
from annotator.voting.machine import with_ensemble
from annotator.voting.tables import ControlTable, VoteTable, gender_code

Opinion = tuple[str, float | None, float | None, bool]


def add_ensemble(session: Session, settings: Settings, votes: VoteTable) -> VoteTable:
    """The votes with the current pre-label of each voted person as one more, where the settings want that.

    People in the audit's draw keep human votes alone: fits learn from their labels, and would learn from themselves.
    People whose truth is given are voted on, so that the ensemble's errors are known; their label is that truth anyway.
    """
    if not settings.ensemble_votes or not len(votes):
        return votes
    said = _opinions(session, settings)
    opinions = ControlTable.from_columns(
        [name for name, *_ in said],
        [age for _, age, _, _ in said],
        [gender_code(Gender.from_probability(female)) for _, _, female, _ in said],
    )
    return with_ensemble(votes, opinions)


def _opinions(session: Session, settings: Settings) -> Sequence[Opinion]:
    given = PersonRow.truth_age.is_not(None) | PersonRow.truth_gender.is_not(None)
    voted = select(VoteRow.person_key).where(VoteRow.counts)
    query = (
        select(PersonRow.person_id, PreLabelRow.age, PreLabelRow.female_probability, given)
        .join(PreLabelRow, (PreLabelRow.person_key == PersonRow.id) & PreLabelRow.is_current)
        .where(PersonRow.active, PersonRow.id.in_(voted))
    )
    rows = [(name, age, female, bool(known)) for name, age, female, known in session.execute(query)]
    drawn = in_the_draw([name for name, *_ in rows], settings)
    return [row for row, audited in zip(rows, drawn, strict=True) if row[3] or not audited]
