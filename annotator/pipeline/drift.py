"""Whether the ensemble's intervals still hold what they promise: coverage of the truths of one week."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.ensemble.coverage import Coverage
from annotator.ensemble.hashing import short_hashes
from annotator.ensemble.published import UNCALIBRATED
from annotator.ensemble.trees import Ints
from annotator.errors import InputError
from annotator.pipeline.truths import settled_in_the_draw
from annotator.settings import Settings
from annotator.store.session import Store
from annotator.store.tables import FitRow, LabelRow, PersonRow, PreLabelRow, VoteRow

WEEK = timedelta(days=7)
CHUNK = 500
"""Keys in one query."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How many true ages of the week that ended with the newest truth lay inside their 90 % interval.

    ``rate`` is ``None`` where no such person was judged by a calibration; ``alarm`` is below 87 % on 500 or more.
    """

    until: datetime | None
    people: int
    rate: float | None
    alarm: bool


@dataclass(frozen=True, slots=True)
class _Known:
    key: int
    person_id: str
    age: float
    at: datetime


def drift(store: Store, settings: Settings) -> Drift:
    """Judge the last week's trusted truths by the intervals of fits that had not seen them.

    A person's interval is that of the latest calibrated pre-label whose fit did not learn from the person. When a truth
    arrived is the time of the last vote, or of the person's registration where it was given.
    """
    with store.read() as session:
        return drift_of(session, settings)


def drift_of(session: Session, settings: Settings) -> Drift:
    """What `drift` says, within somebody's reading of the database."""
    known = _this_week(list(_known(session, settings)))
    intervals = _intervals(session, known)
    inside = [low <= one.age <= high for one, (low, high) in intervals]
    found = Coverage(len(inside), sum(inside))
    return Drift(max((one.at for one in known), default=None), found.people, found.rate, found.alarm)


def _known(session: Session, settings: Settings) -> Iterator[_Known]:
    given = select(PersonRow.id, PersonRow.person_id, PersonRow.truth_age, PersonRow.created_at)
    for row in session.execute(given.where(PersonRow.active, PersonRow.truth_age.is_not(None))):
        yield _Known(row[0], row[1], row[2] or 0.0, row[3])
    last = func.max(VoteRow.created_at, type_=VoteRow.created_at.type)
    settled = (
        select(PersonRow.id, PersonRow.person_id, LabelRow.age, last)
        .join(LabelRow, LabelRow.person_key == PersonRow.id)
        .join(VoteRow, (VoteRow.person_key == PersonRow.id) & VoteRow.counts)
        .where(PersonRow.truth_age.is_(None), LabelRow.age.is_not(None))
        .group_by(PersonRow.id, PersonRow.person_id, LabelRow.age)
    )
    for keys in _chunks(settled_in_the_draw(session, settings)):
        for row in session.execute(settled.where(PersonRow.id.in_(keys))):
            yield _Known(row[0], row[1], row[2] or 0.0, row[3])


def _this_week(known: Sequence[_Known]) -> list[_Known]:
    newest = max((one.at for one in known), default=None)
    return [one for one in known if newest and one.at > newest - WEEK]


def _intervals(session: Session, known: Sequence[_Known]) -> list[tuple[_Known, tuple[float, float]]]:
    """The people who have an interval by a fit that did not see them, with it."""
    people = {one.key: one for one in known}
    hashed = dict(zip(people, short_hashes([one.person_id for one in people.values()]).tolist(), strict=True))
    seen: dict[str, Ints | None] = {}
    found: dict[int, tuple[float, float]] = {}
    columns = (PreLabelRow.person_key, PreLabelRow.fit, PreLabelRow.age_low, PreLabelRow.age_high)
    for keys in _chunks(sorted(people)):
        query = select(*columns).where(
            PreLabelRow.person_key.in_(keys), PreLabelRow.fit != UNCALIBRATED, PreLabelRow.age_low.is_not(None)
        )
        for key, fit, low, high in session.execute(query.order_by(PreLabelRow.id)):
            if fit not in seen:
                seen[fit] = _seen_by(session, fit)
            if not _is_among(hashed[key], seen[fit]):
                found[key] = (float(low or 0.0), float(high or 0.0))
    return [(people[key], interval) for key, interval in found.items()]


def _seen_by(session: Session, version: str) -> Ints | None:
    """Sorted hashes of the people that a fit learned from; ``None`` where the fit can no longer be read."""
    from annotator.ensemble.codec import fit_from_dict  # SciPy comes with it, half a second of `annotator status`

    parameters = session.scalar(select(FitRow.parameters).where(FitRow.version == version))
    try:
        return fit_from_dict(parameters or {}).seen
    except InputError:
        return None


def _is_among(hashed: int, seen: Ints | None) -> bool:
    """Whether the fit may have learned from this person."""
    if seen is None:
        return True
    place = int(np.searchsorted(seen, hashed))
    return place < len(seen) and int(seen[place]) == hashed


def _chunks(keys: Sequence[int]) -> Iterator[Sequence[int]]:
    return (keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK))
