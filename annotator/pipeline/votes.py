"""Votes into the store."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from annotator.domain import Vote
from annotator.errors import InputError
from annotator.store import records
from annotator.store.session import Store
from annotator.store.tables import PersonRow, VoteRow
from annotator.store.upsert import upsert

CHUNK = 500


def record_votes(store: Store, votes: Sequence[Vote]) -> int:
    """Writes votes under (source, annotation id): a repeated one takes over the new answer. Returns how many.

    Raises:
        InputError: a vote is about a person that does not exist; the votes before it are written.
    """
    for start in range(0, len(votes), CHUNK):
        part = votes[start : start + CHUNK]
        with store.write() as session:
            wanted = PersonRow.person_id.in_({vote.person_id for vote in part})
            keys = dict(session.execute(select(PersonRow.person_id, PersonRow.id).where(wanted)).all())
            missing = [vote.person_id for vote in part if vote.person_id not in keys]
            if missing:
                raise InputError(f"there is no person '{missing[0]}' to vote on")
            rows = [records.vote_values(keys[vote.person_id], vote) for vote in part]
            upsert(session, VoteRow, rows, keys=("source", "annotation_id"))
    return len(votes)
